"""The base of all converters: what a dataset is and needs, its keypoint names, and the two methods that read it.

See docs/data.md, "Adding a dataset". Names that leave the folder, points outside, the report, resuming and checking
are done here and in `pipeline.py` for all of them.
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

# How well the layout is known. "loader only": nobody here has seen the files, only public code that reads them.
Status = Literal["seen", "loader only", "format unverified"]

T = TypeVar("T")
R = TypeVar("R")

NOT_STATED, HOME = "not stated", "the home page"
EDGE = 2.0  # pixels; a point no further outside is moved to the picture's edge, any other becomes "not labelled"
MARGIN = 0.1  # of the points' extent, on each side of a box that is made from points
TABLES, SETS = Path(__file__).with_name("tables"), Path(__file__).with_name("sets.toml")
FORMATS = Path(__file__).parents[1] / "importers" / "formats.toml"


@dataclass(frozen=True, slots=True)
class Need:
    """A file or folder of the original that has to be fetched by hand."""

    path: str  # relative to the root
    where: str  # where to get it, in words or as an address
    splits: tuple[str, ...] = ()  # the splits that cannot be made without it; empty: all


@dataclass(frozen=True, slots=True)
class PictureEntry:
    """One picture of the original before it is opened."""

    name: str
    data: Any = None  # plain Python in a form of the converter's choice; an interrupted run compares its repr
    stamp: Any = None  # of the annotation file of this one picture (`SourceFolder.stamped`), where it has its own


@dataclass(frozen=True)
class NameTable:
    """The keypoint names of an original, in its own order, with their unified names (None: left out on purpose)."""

    skeleton: str
    names: Mapping[str, str | None]
    own_edges: tuple[tuple[str, str], ...] | None = None  # None: those of the skeleton

    @classmethod
    def underscored(cls, skeleton: str) -> NameTable:
        """For originals that write the skeleton's names, in its order, with underscores."""
        return cls(skeleton, {name.replace(" ", "_"): name for name in load_skeleton(skeleton).keypoints})

    @classmethod
    def from_skeleton(cls, skeleton: str) -> NameTable:
        """The source names in a skeleton file with their unified names, in the order of the file."""
        points = load_skeleton(skeleton).points
        return cls(skeleton, {(*point.source_names, point.name)[0]: point.name for point in points})

    @classmethod
    def from_file(cls, skeleton: str, file: str, table: str = "names") -> NameTable:
        """A table of `tables/FILE.toml`, in the file's order; `false` there leaves a keypoint out on purpose."""
        names = tomllib.loads((TABLES / f"{file}.toml").read_text("utf-8"))[table]
        return cls(skeleton, {name: unified or None for name, unified in names.items()})

    @cached_property
    def unified(self) -> tuple[str, ...]:
        """The unified names, in the original's order."""
        return tuple(name for name in self.names.values() if name is not None)

    def category(self, name: str, taxonomy: Taxonomy = Taxonomy()) -> Category:  # noqa: B008 (frozen)
        """A category whose objects have these keypoints; the edges are those of the skeleton between them."""
        return Category(name, self.skeleton, self.unified, self._edges, taxonomy)

    @cached_property
    def _edges(self) -> tuple[tuple[str, str], ...]:
        if self.own_edges is not None:
            return self.own_edges
        return tuple(edge for edge in load_skeleton(self.skeleton).edges if {*edge} <= {*self.unified})

    def unify(self, points: Mapping[str, Point]) -> dict[str, Point]:
        """Points by the original's names as points by unified names, the unlabelled ones left out."""
        self.check(points)
        named = ((self.names[name], point) for name, point in points.items())
        return {name: point for name, point in named if name is not None and point[2]}

    def by_order(self, points: Iterable[Point]) -> dict[str, Point]:
        """The same for originals that give points by position only: one per name, in the table's order."""
        if len(ordered := list(points)) != len(self.names):
            raise DataError(f"there are {len(ordered)} points, but must be {len(self.names)}")
        return self.unify(dict(zip(self.names, ordered, strict=True)))

    def check(self, names: Iterable[str]) -> None:
        """Refuse names that the table does not have."""
        for name in names:
            if name not in self.names:
                raise UnmappedKeypointError(
                    f"The source keypoint {quote(name)} has no unified name.{did_you_mean(name, self.names)} Add it to "
                    '"tables" of the converter, with None to leave it out.'
                )


def category_of(name: str) -> str:
    """The vocabulary's name of a category, also of "arcticwolf"; other categories keep the original's own words."""
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
    """A file's relative name without its ending."""
    return name.rpartition(".")[0]


@functools.cache
def _stated_facts() -> dict[str, dict[str, Any]]:
    """What `sets.toml` and `formats.toml` state, by the class of the converter or importer."""
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

    # What `sets.toml` states; other classes set it themselves.
    name: ClassVar[str]
    title: ClassVar[str]
    licence: ClassVar[str] = NOT_STATED
    terms: ClassVar[str] = NOT_STATED  # what else binds who uses it
    homepage: ClassVar[str] = NOT_STATED
    status: ClassVar[Status] = "format unverified"
    left_right: ClassVar[LeftRight] = "not stated"
    origin: ClassVar[str] = NOT_STATED
    visibility: ClassVar[str] = NOT_STATED
    boxes: ClassVar[str] = NOT_STATED
    evaluation: ClassVar[str] = NOT_STATED
    expected: ClassVar[Mapping[str, Any]] = {}  # published counts; nothing where they are not stated
    needs: ClassVar[tuple[Need, ...]] = ()
    splits: ClassVar[Mapping[str, str]] = {}  # name -> what it is
    # What a converter states.
    version: ClassVar[int] = 1  # raise it when the same original gives other records
    choices_digest: str = ""  # of a user's choices that change the records
    tables: ClassVar[Mapping[str, NameTable]] = {}

    def __init_subclass__(cls) -> None:
        if cls.__module__.startswith("xpose."):  # other classes state their facts as class attributes
            for name, value in _stated_facts().get(cls.__name__, {}).items():
                setattr(cls, name, value)

    def entries(self, source: SourceFolder, split: str) -> Iterable[PictureEntry | Skipped]:
        """The pictures of the split, in an order that never changes, without opening them."""
        raise NotImplementedError

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        """The record of one entry (`self.make` builds it).

        `DataError` skips and reports the entry; `UnmappedKeypointError` stops the build.
        """
        raise NotImplementedError

    def missing(self, source: SourceFolder, split: str) -> list[Need]:
        """The needs of a split that are not there."""
        return [need for need in self.needs if split in (need.splits or self.splits) and not source.has(need.path)]

    def unlisted(
        self, source: SourceFolder, folder: str, listed: Iterable[str], *, deep: bool = False
    ) -> Iterator[Skipped]:
        """The pictures of a folder that no annotation names; yield them from `entries` so that none goes unnoticed."""
        named = set(listed)
        for name in source.pictures(folder, deep=deep):
            if name not in named:
                yield Skipped(name, "no annotation names this picture")

    @staticmethod
    def paired(
        source: SourceFolder, pictures: Iterable[str], files: Iterable[str], key: Callable[[str], str] = stem_of
    ) -> Iterator[PictureEntry | Skipped]:
        """An entry for each picture with the annotation file of the same `key`; what has no partner is reported."""
        partners = {key(file): file for file in files}
        for picture in pictures:
            if (file := partners.pop(key(picture), None)) is None:
                yield Skipped(picture, "no annotation file belongs to it")
            else:
                yield PictureEntry(picture, file, source.stamped([file]))
        yield from (Skipped(file, "no picture belongs to it") for file in partners.values())

    @staticmethod
    def entry_of(folder: str, name: str, data: object, where: str) -> PictureEntry | Skipped:
        """The entry of the picture that a line of a table names; a report of the line if the name is unsafe."""
        try:
            return PictureEntry(f"{folder}/{safe_name(name)}", data)
        except DataError as error:
            return Skipped(name or where, str(error))

    @staticmethod
    def read_each(file: str, values: Iterable[T], read: Callable[[T, int], R]) -> tuple[list[R], list[Skipped]]:
        """The objects of one picture, read from `values` (numbered from 1), and a report of those that are wrong."""
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
        """An object without a box: it gets the extent of its points and `MARGIN`, cut to the picture."""
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
        """A record of this set; `licence` is that of the single picture where the original states it."""
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
        """All of a split: valid records, and everything that was skipped."""
        for entry in self.entries(source, split):
            yield from self.convert(source, split, entry)

    def convert(self, source: SourceFolder, split: str, entry: PictureEntry | Skipped) -> Iterator[Record | Skipped]:
        """One entry as a valid record followed by whatever of it had to be left out, or as one `Skipped`."""
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
    """The record in its final form: points outside reported and unlabelled, faulty objects left out and reported."""
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
