"""The base class of all converters: a dataset's facts, needs, keypoint names, and two reading methods.

See docs/data.md, "Adding a dataset". For all converters, unsafe names, outside points, the report, resuming
and checking are handled here and in `pipeline.py`.
"""

from __future__ import annotations

import functools
import hashlib
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from xpose.data.datasets.sources import SourceFolder, box_of_points, safe_name
from xpose.errors import DataError, UnmappedKeypointError, did_you_mean, quote
from xpose.records import Category, Instance, LeftRight, Picture, Point, Record, Skipped, Taxonomy, replaced
from xpose.vocabulary import find_category, list_categories, load_skeleton

# How well the layout is known. "loader only": known only from public code that reads the files.
Status = Literal["seen", "loader only", "format unverified"]

T = TypeVar("T")
R = TypeVar("R")

NOT_STATED, HOME = "not stated", "the home page"
EDGE = 2.0  # pixels; points up to this far outside are moved to the edge, others become "not labelled"
MARGIN = 0.1  # of the points' extent, on each side of a box that is made from points
TABLES, SETS = Path(__file__).with_name("tables"), Path(__file__).with_name("sets.toml")
FORMATS = Path(__file__).parents[1] / "importers" / "formats.toml"


@dataclass(frozen=True, slots=True)
class Need:
    """A file or folder of the original that must be fetched by hand."""

    path: str  # relative to the root
    where: str  # where to get it, as a text or URL
    splits: tuple[str, ...] = ()  # the splits that require it; empty: all


@dataclass(frozen=True, slots=True)
class PictureEntry:
    """One picture of the original, not yet opened."""

    name: str
    data: Any = None  # plain Python values, for the converter; a resumed run compares the repr
    stamp: Any = None  # of the annotation file of this one picture (`SourceFolder.stamped`), if there is one


@dataclass(frozen=True)
class NameTable:
    """The keypoint names of an original, in its own order, with unified names (None: excluded on purpose)."""

    skeleton: str
    names: Mapping[str, str | None]
    own_edges: tuple[tuple[str, str], ...] | None = None  # None: those of the skeleton

    @classmethod
    def underscored(cls, skeleton: str) -> NameTable:
        """For originals that use the skeleton's names and order, with underscores."""
        return cls(skeleton, {name.replace(" ", "_"): name for name in load_skeleton(skeleton).keypoints})

    @classmethod
    def from_skeleton(cls, skeleton: str) -> NameTable:
        """The source names in a skeleton file with their unified names, in the order of the file."""
        points = load_skeleton(skeleton).points
        return cls(skeleton, {(*point.source_names, point.name)[0]: point.name for point in points})

    @classmethod
    def from_file(cls, skeleton: str, file: str, table: str = "names") -> NameTable:
        """A table of `tables/FILE.toml`, in the file's order; `false` there excludes a keypoint."""
        names = tomllib.loads((TABLES / f"{file}.toml").read_text("utf-8"))[table]
        return cls(skeleton, {name: unified or None for name, unified in names.items()})

    @cached_property
    def unified(self) -> tuple[str, ...]:
        """The unified names, in the original's order."""
        return tuple(name for name in self.names.values() if name is not None)

    def category(self, name: str, taxonomy: Taxonomy = Taxonomy()) -> Category:  # noqa: B008 (frozen)
        """A category whose objects have these keypoints, with the skeleton's edges between them."""
        return Category(name, self.skeleton, self.unified, self._edges, taxonomy)

    @cached_property
    def _edges(self) -> tuple[tuple[str, str], ...]:
        if self.own_edges is not None:
            return self.own_edges
        return tuple(edge for edge in load_skeleton(self.skeleton).edges if {*edge} <= {*self.unified})

    def unify(self, points: Mapping[str, Point]) -> dict[str, Point]:
        """Convert points by the original's names to unified names, omitting unlabelled ones."""
        self.check(points)
        named = ((self.names[name], point) for name, point in points.items())
        return {name: point for name, point in named if name is not None and point[2]}

    def by_order(self, points: Iterable[Point]) -> dict[str, Point]:
        """The same for originals without names: one point per name, in the table's order."""
        if len(ordered := list(points)) != len(self.names):
            raise DataError(f"there are {len(ordered)} points, but must be {len(self.names)}")
        return self.unify(dict(zip(self.names, ordered, strict=True)))

    def check(self, names: Iterable[str]) -> None:
        """Refuse names that are not in the table."""
        for name in names:
            if name not in self.names:
                raise UnmappedKeypointError(
                    f"The source keypoint {quote(name)} has no unified name.{did_you_mean(name, self.names)} Add it to "
                    '"tables" of the converter, with None to leave it out.'
                )


def category_of(name: str) -> str:
    """The vocabulary's name of a category, even for "arcticwolf"; other categories keep the original's name."""
    category = find_category(name)
    return category.name if category else _joined_names().get(_letters(name), " ".join(name.split()))


@functools.cache
def _joined_names() -> dict[str, str]:
    joined: dict[str, str] = {}
    for category in list_categories():
        published = (text for texts in category.published.values() for text in texts)
        for spelling in (category.name, *category.also, *published):
            joined.setdefault(_letters(spelling), category.name)
    return joined


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def stem_of(name: str) -> str:
    """A file's relative name without its suffix."""
    return name.rpartition(".")[0]


@functools.cache
def _stated_facts() -> dict[str, dict[str, Any]]:
    """The facts in `sets.toml` and `formats.toml`, by converter or importer class."""
    facts: dict[str, dict[str, Any]] = {}
    for file in (SETS, FORMATS):
        facts |= tomllib.loads(file.read_text("utf-8"))
    for stated in facts.values():
        where = stated.pop("where", HOME)
        needs = [(path, split) for split, path in stated.get("annotation_files", {}).items()]
        needs += [(path, split) for split, paths in stated.get("needs", {}).items() for path in paths]
        if needs:
            stated["needs"] = tuple(Need(path, where, () if split == "all" else (split,)) for path, split in needs)
    return facts


class Converter:
    """One dataset in its authors' own layout. See the module's docstring and docs/data.md."""

    # Facts from `sets.toml`; other classes set them.
    name: ClassVar[str]
    title: ClassVar[str]
    licence: ClassVar[str] = NOT_STATED
    terms: ClassVar[str] = NOT_STATED  # further terms of use
    homepage: ClassVar[str] = NOT_STATED
    status: ClassVar[Status] = "format unverified"
    left_right: ClassVar[LeftRight] = "not stated"
    origin: ClassVar[str] = NOT_STATED
    visibility: ClassVar[str] = NOT_STATED
    boxes: ClassVar[str] = NOT_STATED
    evaluation: ClassVar[str] = NOT_STATED
    expected: ClassVar[Mapping[str, Any]] = {}  # published counts; empty if unknown
    needs: ClassVar[tuple[Need, ...]] = ()
    splits: ClassVar[Mapping[str, str]] = {}  # name -> what it is
    # Set by a converter.
    version: ClassVar[int] = 1  # raise it when the same original gives other records
    choices_digest: str = ""  # of a user's choices that change the records
    tables: ClassVar[Mapping[str, NameTable]] = {}

    def __init_subclass__(cls) -> None:
        if cls.__module__.startswith("xpose."):  # other classes state their facts as class attributes
            for name, value in _stated_facts().get(cls.__name__, {}).items():
                setattr(cls, name, value)

    def entries(self, source: SourceFolder, split: str) -> Iterable[PictureEntry | Skipped]:
        """The pictures of the split, in a fixed order, without opening them."""
        raise NotImplementedError

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        """The record of one entry (`self.make` builds it).

        `DataError` skips and reports the entry; `UnmappedKeypointError` stops the build.
        """
        raise NotImplementedError

    def missing(self, source: SourceFolder, split: str) -> list[Need]:
        """The missing needs of a split."""
        return [need for need in self.needs if split in (need.splits or self.splits) and not source.has(need.path)]

    def unlisted(
        self, source: SourceFolder, folder: str, listed: Iterable[str], *, deep: bool = False
    ) -> Iterator[Skipped]:
        """A folder's pictures without annotation; yield them from `entries` so that they are reported."""
        named = set(listed)
        for name in source.pictures(folder, deep=deep):
            if name not in named:
                yield Skipped(name, "no annotation names this picture")

    @staticmethod
    def paired(
        source: SourceFolder, pictures: Iterable[str], files: Iterable[str], key: Callable[[str], str] = stem_of
    ) -> Iterator[PictureEntry | Skipped]:
        """An entry for each picture and the annotation file with the same `key`; unpaired files are reported."""
        partners = {key(file): file for file in files}
        for picture in pictures:
            if (file := partners.pop(key(picture), None)) is None:
                yield Skipped(picture, "no annotation file belongs to it")
            else:
                yield PictureEntry(picture, file, source.stamped([file]))
        yield from (Skipped(file, "no picture belongs to it") for file in partners.values())

    @staticmethod
    def entry_of(folder: str, name: str, data: object, where: str) -> PictureEntry | Skipped:
        """The entry of the picture named in a table's line, or a report of the line if the name is unsafe."""
        try:
            return PictureEntry(f"{folder}/{safe_name(name)}", data)
        except DataError as error:
            return Skipped(name or where, str(error))

    @staticmethod
    def read_each(file: str, values: Iterable[T], read: Callable[[T, int], R]) -> tuple[list[R], list[Skipped]]:
        """The objects of one picture, read from `values` (numbered from 1), and a report of invalid values."""
        objects, dropped = [], []
        for number, value in enumerate(values, start=1):
            try:
                objects.append(read(value, number))
            except UnmappedKeypointError:
                raise
            except DataError as error:
                dropped.append(Skipped(file, str(error), "object"))
        return objects, dropped

    @staticmethod
    def object_around(
        table: NameTable, name: str, points: Mapping[str, Point], picture: Picture, source_id: str | None = None
    ) -> Instance:
        """An object without a box: it gets its points' extent plus `MARGIN`, clipped to the picture."""
        box = box_of_points(points.values(), MARGIN, picture)
        return Instance(table.category(name), box, points, source_id=source_id)

    def make(
        self,
        picture: Picture,
        instances: Iterable[Instance],
        split: str,
        *,
        licence: str | None = None,
        style: str | None = None,
        group: str | None = None,
        source_id: str | None = None,
        dropped: Iterable[Skipped] = (),
    ) -> Record:
        """A record of this set; `licence` is the picture's own, if the original gives one."""
        return Record(
            picture,
            tuple(instances),
            source=self.name,
            split=split,
            licence=licence or self.licence,
            left_right=self.left_right,
            style=style,
            group=group,
            source_id=source_id,
            dropped=tuple(dropped),
        )

    def read(self, source: SourceFolder, split: str) -> Iterator[Record | Skipped]:
        """Yield a split's valid records, and everything that was skipped."""
        for entry in self.entries(source, split):
            yield from self.convert(source, split, entry)

    def convert(self, source: SourceFolder, split: str, entry: PictureEntry | Skipped) -> Iterator[Record | Skipped]:
        """Yield an entry's valid record followed by its skipped items, or one `Skipped`."""
        if isinstance(entry, Skipped):
            yield entry
            return
        try:
            record = settle(self.record(source, split, entry))
        except UnmappedKeypointError:
            raise
        except (DataError, OSError) as error:
            yield Skipped(entry.name, str(error))
            return
        yield record
        yield from record.dropped


def digest_of(entries: Iterable[object]) -> str:
    """A digest of the printed form of the entries."""
    state = hashlib.sha256()
    for entry in entries:
        state.update(repr(entry).encode("utf-8", "backslashreplace"))
    return state.hexdigest()


def settle(record: Record) -> Record:
    """The record in its final form: points outside become unlabelled, faulty objects are dropped; all reported."""
    dropped = list(record.dropped)
    file = record.picture.file
    valid = []
    for number, instance in enumerate(record.instances, start=1):
        if faults := instance.faults(record.picture):
            dropped.append(Skipped(file, f"object {instance.source_id or number}: {'; '.join(faults)}", "object"))
        else:
            points = dict(_inside(instance.keypoints, record.picture, dropped))
            valid.append(instance if points == instance.keypoints else replaced(instance, keypoints=points))
    if not valid and any(item.what == "object" for item in dropped):
        raise DataError("none of its objects can be used: " + "; ".join(item.reason for item in dropped))
    return replace(record, instances=tuple(valid), dropped=tuple(dropped)).check()


def _inside(points: Mapping[str, Point], picture: Picture, dropped: list[Skipped]) -> Iterator[tuple[str, Point]]:
    for name, (x, y, v) in points.items():
        if not v:
            continue
        near_x, near_y = min(max(x, 0.0), picture.width), min(max(y, 0.0), picture.height)
        if (near_x, near_y) == (x, y):
            yield name, (x, y, v)
            continue
        place = f"{quote(name)} at ({x:.6g}, {y:.6g}) lies outside the {picture.width}x{picture.height} picture"
        if max(abs(near_x - x), abs(near_y - y)) <= EDGE:
            dropped.append(Skipped(picture.file, f"{place} and was moved to its edge", "point"))
            yield name, (near_x, near_y, v)
        else:
            dropped.append(Skipped(picture.file, f"{place} and counts as not labelled", "point"))
