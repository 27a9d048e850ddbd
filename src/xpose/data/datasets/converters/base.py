"""The base of all converters: what a dataset is and needs, its keypoint names, and the two methods that read it.

Adding a dataset is one small file: see docs/data.md, "Adding a dataset". A converter

1. describes the set: `splits` and `needs`, and in `sets.toml` its title, licence, home page and the like;
2. maps the original's keypoint names to the unified ones: `tables`;
3. lists the pictures, cheaply: `entries`;
4. turns one entry into one record: `record`, raising `DataError` for an entry that is wrong.

Everything else (names that leave the folder, points outside, the report, resuming, checking) is done for it.
"""

from __future__ import annotations

import functools
import hashlib
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
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

NOT_STATED = "not stated"
EDGE = 2.0  # pixels; a point no further outside is moved to the picture's edge, any other becomes "not labelled"
MARGIN = 0.1  # of the points' extent, on each side of a box that is made from points
TABLES, SETS = Path(__file__).with_name("tables"), Path(__file__).with_name("sets.toml")


@dataclass(frozen=True, slots=True)
class Need:
    """A file or folder of the original that has to be fetched by hand."""

    path: str  # relative to the root
    where: str  # where to get it, in words or as an address
    splits: tuple[str, ...] = ()  # the splits that cannot be made without it; empty: all


@dataclass(frozen=True, slots=True)
class Expected:
    """Published counts to compare with; None where neither the papers nor the set's own page state them."""

    unikpt: int | None = None  # pictures that the papers used
    images: int | None = None  # pictures in the whole original
    instances: int | None = None
    splits: Mapping[str, int] = field(default_factory=dict)  # pictures per split


@dataclass(frozen=True, slots=True)
class PictureEntry:
    """One picture of the original before it is opened.

    `data` is plain Python: an interrupted run continues if its repr is unchanged. `file` is the annotation file of
    this one picture, where a set has one per picture.
    """

    name: str
    data: Any = None  # each converter chooses its own form
    file: str | None = None


@dataclass(frozen=True)
class NameTable:
    """The keypoint names of an original, in its own order, with their unified names (None: left out on purpose)."""

    skeleton: str
    names: Mapping[str, str | None]
    own_edges: tuple[tuple[str, str], ...] | None = None  # None: those of the skeleton

    @classmethod
    def underscored(cls, skeleton: str, renamed: Mapping[str, str] | None = None) -> NameTable:
        """For originals that write the skeleton's names, in its order, with underscores.

        `renamed` gives the original's name for each unified name where it is another.
        """
        names = load_skeleton(skeleton).keypoints
        return cls(skeleton, {(renamed or {}).get(name, name.replace(" ", "_")): name for name in names})

    @classmethod
    def from_skeleton(cls, skeleton: str) -> NameTable:
        """The source names in a skeleton file with their unified names, in the order of the file."""
        return cls(
            skeleton, {(*point.source_names, point.name)[0]: point.name for point in load_skeleton(skeleton).points}
        )

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
        """Points by the original's names as points by unified names, the unlabelled ones left out.

        Raises:
            UnmappedKeypointError: the table does not have one of the names; this stops the build.
        """
        self.check(points)
        named = ((self.names[name], point) for name, point in points.items())
        return {name: point for name, point in named if name is not None and point[2]}

    def by_order(self, points: Iterable[Point]) -> dict[str, Point]:
        """The same for originals that give points by position only: one per name, in the table's order."""
        ordered = list(points)
        if len(ordered) != len(self.names):
            raise DataError(f"there are {len(ordered)} points, but must be {len(self.names)}")
        return self.unify(dict(zip(self.names, ordered, strict=True)))

    def check(self, names: Iterable[str]) -> None:
        """Refuse names that the table does not have."""
        for name in names:
            if name not in self.names:
                raise UnmappedKeypointError(
                    f"The source keypoint {quote(name)} has no unified name.{did_you_mean(name, self.names)} "
                    f'Every keypoint of a source is mapped, or left out with None: add {quote(name)} to "tables" '
                    "of the converter."
                )


def category_of(name: str) -> str:
    """The vocabulary's name of a category, also where an original leaves the blanks out ("arcticwolf").

    A category that the vocabulary does not have keeps the original's own words.
    """
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
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def stem_of(name: str) -> str:
    """A file's relative name without its ending."""
    return name.rpartition(".")[0]


@functools.cache
def _stated_facts() -> dict[str, dict[str, Any]]:
    """What `sets.toml` states about the shipped datasets, by the class of the converter."""
    facts: dict[str, dict[str, Any]] = tomllib.loads(SETS.read_text("utf-8"))
    return {
        name: stated | ({"expected": Expected(**stated["expected"])} if "expected" in stated else {})
        for name, stated in facts.items()
    }


class Converter:
    """One dataset in its authors' own layout. See the module's docstring and docs/data.md."""

    name: ClassVar[str]  # as in `xpose data prepare NAME`
    title: ClassVar[str]
    licence: ClassVar[str] = NOT_STATED
    terms: ClassVar[str] = NOT_STATED  # what else binds who uses it
    homepage: ClassVar[str] = NOT_STATED
    status: ClassVar[Status] = "format unverified"
    version: ClassVar[int] = 1  # raise it when the same original gives other records
    left_right: ClassVar[LeftRight] = "not stated"
    origin: ClassVar[str] = NOT_STATED  # 0-based or 1-based pixels, and what was done about it
    visibility: ClassVar[str] = NOT_STATED  # what v = 1 and v = 2 mean here
    boxes: ClassVar[str] = NOT_STATED  # where the boxes come from
    evaluation: ClassVar[str] = NOT_STATED  # split and metric that the papers report
    expected: ClassVar[Expected] = Expected()
    needs: ClassVar[tuple[Need, ...]] = ()
    splits: ClassVar[Mapping[str, str]] = {}  # name -> what it is
    tables: ClassVar[Mapping[str, NameTable]] = {}

    def __init__(self) -> None:
        for base in reversed(type(self).__mro__):
            if base.__module__.startswith(f"{__package__}."):  # other classes state their facts as class attributes
                vars(self).update(_stated_facts().get(base.__name__, {}))

    def entries(self, source: SourceFolder, split: str) -> Iterable[PictureEntry | Skipped]:
        """The pictures of the split, in an order that never changes, without opening them.

        Raises:
            DataError: an annotation file as a whole is missing or damaged.
        """
        raise NotImplementedError

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        """The record of one entry (`self.make` builds it).

        Raises:
            DataError: the entry is wrong; it is skipped and reported with this message.
            UnmappedKeypointError: a keypoint without a unified name; the build stops.
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

    def paired(
        self, source: SourceFolder, pictures: Iterable[str], files: Iterable[str], key: Callable[[str], str] = stem_of
    ) -> Iterator[PictureEntry | Skipped]:
        """An entry for each picture with the annotation file of the same `key`; what has no partner is reported."""
        partners = {key(file): file for file in files}
        for picture in pictures:
            if (file := partners.pop(key(picture), None)) is None:
                yield Skipped(picture, "no annotation file belongs to it")
            else:
                yield PictureEntry(picture, file, file)
        yield from (Skipped(file, "no picture belongs to it") for file in partners.values())

    @staticmethod
    def entry_of(folder: str, name: str, data: object, where: str) -> PictureEntry | Skipped:
        """The entry of the picture that a line of a table names; a report of the line if the name is unsafe."""
        try:
            return PictureEntry(f"{folder}/{safe_name(name)}", data)
        except DataError as error:
            return Skipped(name or where, str(error))

    @staticmethod
    def read_each(
        file: str, values: Iterable[T], read: Callable[[T, int], R], where: str = ""
    ) -> tuple[list[R], list[Skipped]]:
        """The objects of one picture, read from `values` (numbered from 1), and a report of those that are wrong.

        `where` precedes each message, with the object's number in the place of `{}`.

        Raises:
            UnmappedKeypointError: a keypoint without a unified name.
        """
        objects, dropped = [], []
        for number, value in enumerate(values, start=1):
            try:
                objects.append(read(value, number))
            except UnmappedKeypointError:
                raise
            except DataError as error:
                dropped.append(Skipped(file, f"{where.format(number)}{error}", "object"))
        return objects, dropped

    @staticmethod
    def object_around(
        table: NameTable, name: str, points: Mapping[str, Point], picture: Picture, source_id: str | None = None
    ) -> Instance:
        """An object without a box: it gets the extent of its points and `MARGIN`, cut to the picture."""
        return Instance(
            table.category(name), box_of_points(points.values(), MARGIN, picture), points, source_id=source_id
        )

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
    """The record in its final form: points outside reported and unlabelled, faulty objects left out and reported.

    Raises:
        DataError: the picture itself is faulty, or none of the objects it had is left.
    """
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
