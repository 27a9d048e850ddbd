"""The base of all importers: a converter made at run time for one file or folder of a user.

An importer says what its format is (class attributes), finds out what the source holds (`open`: the splits and the
kinds of objects) and gives pictures with their objects (`listing`, `look`). Names, skeletons, boxes where the source
has none, and everything that `Converter` does are done for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from xpose.data.collection.manifest import LOCATION, MANIFEST, REPORT
from xpose.data.datasets.converters.base import EDGE, NOT_STATED, Converter, Entry, read_each
from xpose.data.datasets.importers.names import Named, ObjectKind, read_map, readable, settle_names
from xpose.data.datasets.importers.places import PictureFinder
from xpose.data.datasets.journal import digest_of
from xpose.data.datasets.sources import Source, whole_file_fault
from xpose.errors import DataError, quote
from xpose.records import Box, Instance, Picture, Point, Record, Skipped

OBJECT = "object"  # the category of objects that the source does not name
MARGIN = 0.1  # of the longer side of the points' extent, on all sides of a box made from points
OWN_FILES = tuple(name.removesuffix(".json") for name in (LOCATION, MANIFEST, REPORT))
ALL = {"all": "everything in the source; it states no splits"}


@dataclass(frozen=True)
class ImportChoices:
    """The user's options."""

    category: str | None = None  # what the objects are
    skeleton: str | Path | None = None  # whose names the keypoints shall take
    names: Path | None = None  # a mapping file
    pictures: Path | None = None  # the folder of the pictures, if it is not that of the annotations
    licence: str | None = None


@dataclass(frozen=True)
class LabelledObject:
    """One object by the source's own names."""

    kind: str
    points: Mapping[str, Point]
    box: Box | None = None  # None: made from the points
    area: float | None = None
    crowd: bool = False
    id: str | None = None


@dataclass(frozen=True)
class LabelledPicture:
    """One picture with its objects by the source's own names."""

    picture: Picture
    things: list[LabelledObject]
    dropped: list[Skipped] = field(default_factory=list)
    group: str | None = None
    source_id: str | None = None
    licence: str | None = None


class Importer(Converter):
    """One format. See the module's docstring."""

    format: ClassVar[str]  # as in `xpose data import FORMAT`
    what: ClassVar[str]  # what PATH is, for the list of formats
    takes_pictures: ClassVar[bool] = True  # whether --pictures makes sense
    file: str  # the annotation file, set by `open` where there is one
    left_right = "not stated"
    evaluation = "none: a user's own data"
    homepage = NOT_STATED

    def __init__(self, path: str | Path, choices: ImportChoices | None = None, set_name: str = "imported") -> None:
        self.path = Path(os.path.abspath(path))  # links stay: people lay out large downloads with them
        self.choices = choices or ImportChoices()
        self.notes: list[str] = []
        self.splits_of: dict[str, set[str]] = {}  # filled by `entries`
        self._refuse_wrong_paths()
        self.files = Source(self.base())  # the annotation files
        self.root = self.choices.pictures or self.files.root
        self.pictures = PictureFinder(Source(self.root))
        splits, kinds = self._opened()
        _refuse_unsafe_splits(splits)
        self.named = self._settle(kinds, set_name)
        self.stamp = digest_of([self.format, self.choices, splits, *sorted(self.named.items())])
        # The base declares these for classes, since a dataset is one; an import comes to be when it is asked for.
        vars(self).update(
            name=set_name,
            title=f"{self.path.name} ({self.title})",
            splits=splits,
            licence=self.choices.licence or NOT_STATED,
            tables={name: named.table for name, named in self.named.items()},
        )

    # What a format gives.

    def base(self) -> Path:
        """The folder that holds the annotations, and the pictures unless they are elsewhere."""
        return self.path if self.path.is_dir() else self.path.parent

    def open(self) -> tuple[dict[str, str], list[ObjectKind]]:
        """The splits (name to meaning) and the kinds of objects.

        Raises:
            DataError: the source as a whole is damaged, or not of this format.
        """
        raise NotImplementedError

    def listing(self, source: Source, split: str) -> Iterable[Entry | Skipped]:
        """What `Converter.entries` is for converters."""
        raise NotImplementedError

    def look(self, source: Source, split: str, entry: Entry) -> LabelledPicture:
        """One entry of the listing with its picture.

        Raises:
            DataError: the entry is wrong; it is skipped and reported.
        """
        raise NotImplementedError

    def originals(self) -> list[str]:
        """The annotation files, relative to `files.root`, for the manifest's checksums."""
        return [self.file]

    # What is the same for all formats.

    def entries(self, source: Source, split: str) -> Iterator[Entry | Skipped]:
        """The listing, marked so that an interrupted import with other choices does not go on."""
        for item in self.listing(source, split):
            if isinstance(item, Skipped):
                yield item
                continue
            self.splits_of.setdefault(item.name, set()).add(split)
            yield Entry(item.name, (self.stamp, item.data), item.file)

    def record(self, source: Source, split: str, entry: Entry) -> Record:
        """The record of one picture."""
        shot = self.look(source, split, Entry(entry.name, entry.data[1], entry.file))
        instances, dropped = read_each(entry.name, shot.things, lambda thing, i: self.settled(thing, shot.picture, i))
        return self.make(
            shot.picture,
            instances,
            split,
            licence=shot.licence,
            group=shot.group,
            source_id=shot.source_id,
            dropped=[*shot.dropped, *dropped],
        )

    def leaks(self) -> list[str]:
        """Warnings about pictures in more than one split; call it after `entries` has run for all of them."""
        together: dict[tuple[str, ...], int] = {}
        for splits in self.splits_of.values():
            if len(splits) > 1:
                names = tuple(sorted(splits))
                together[names] = together.get(names, 0) + 1
        return [
            f"{count} pictures are in each of the splits {', '.join(map(quote, names))}. Do not train on one and "
            "evaluate on another; import a file of its own where one holds all."
            for names, count in sorted(together.items())
        ]

    def settled(self, thing: LabelledObject, picture: Picture, number: int) -> Instance:
        """An object by our names, with a box; `number` is its place among the objects of the picture."""
        where = f"object {thing.id or number}: "
        named = self.named.get(thing.kind)
        if named is None:
            raise DataError(f"{where}{quote(thing.kind)} is not a kind of object with keypoints in this source")
        try:
            box = thing.box if thing.box is not None else box_round(thing.points, picture)
        except DataError as error:
            raise DataError(f"{where}{error}") from None
        return Instance(
            named.table.category(named.title),
            box,
            named.table.unify(thing.points),
            iscrowd=thing.crowd,
            area=thing.area,
            source_id=thing.id,
        )

    def only_file(self, *endings: str) -> str:
        """PATH if it is a file, else the only file in the folder that ends so.

        Raises:
            DataError: there is none, or there are several.
        """
        if self.path.is_file():
            return self.path.name
        names = self.files.files("", endings)
        if len(names) != 1:
            raise DataError(
                f"{quote(self.path)} holds {len(names)} {endings[0]} files. One is imported at a time: PATH is "
                f"{self.what}. Give the file itself as PATH."
            )
        return names[0]

    def path_in_base(self) -> str:
        """PATH relative to the folder of the annotations."""
        return self.path.relative_to(self.files.root).as_posix()

    def _refuse_wrong_paths(self) -> None:
        if not self.path.exists():
            raise DataError(f"{quote(self.path)} does not exist. PATH is {self.what}. Check the spelling.")
        if self.choices.pictures is not None and not self.choices.pictures.is_dir():
            raise DataError(f"--pictures {quote(self.choices.pictures)} is not a folder. Give that of the pictures.")
        if self.choices.pictures is not None and not self.takes_pictures:
            raise DataError(
                f"--pictures {quote(self.choices.pictures)} does not fit: a {self.format} source says itself where its "
                "pictures are. Leave it out."
            )

    def _opened(self) -> tuple[dict[str, str], list[ObjectKind]]:
        try:
            return self.open()
        except DataError as error:
            way_out = f"The file may be damaged or not {self.what}: export it again. Formats: xpose data formats"
            raise whole_file_fault(error, way_out) from None

    def _settle(self, kinds: list[ObjectKind], set_name: str) -> dict[str, Named]:
        name_map = read_map(self.choices.names) if self.choices.names is not None else None
        titles = self._titles(kinds)
        named = {
            kind.name: settle_names(kind, titles[kind.name], self.choices.skeleton, name_map, set_name)
            for kind in kinds
        }
        for each in named.values():
            if each.free:
                self.notes.append(
                    f"{each.title}: {', '.join(map(quote, each.free))} not found in the skeleton, kept as free names. "
                    "Map them with --names."
                )
        return named

    def _titles(self, kinds: list[ObjectKind]) -> dict[str, str]:
        """The category of each kind; the one that --category gives goes to the kind that can be meant."""
        if not kinds:
            raise DataError(
                f"{quote(self.path)} names no keypoints. An import needs them. Is it {self.what}, as {self.format} "
                "wants it?"
            )
        titles = {kind.name: readable(kind.name, "a category") for kind in kinds}
        unnamed = [kind.name for kind in kinds if not kind.named]
        if self.choices.category is not None:
            chosen = unnamed or list(titles)
            if len(chosen) != 1:
                raise DataError(
                    f"--category {quote(self.choices.category)} cannot be given: the source has the categories "
                    f"{', '.join(map(quote, titles.values()))}. It names or renames a single one. Leave it out."
                )
            titles[chosen[0]] = readable(self.choices.category, "--category")
        elif unnamed:
            shown = ", ".join(quote(titles[name]) for name in unnamed)
            self.notes.append(f"The source does not say what the objects are; they are called {shown}. Use --category.")
        _refuse_doubled_titles(titles)
        return titles


def _refuse_unsafe_splits(splits: Iterable[str]) -> None:
    """A split's name becomes a file's, so it may hold no folder and be none of the set's own files."""
    for split in splits:
        if not re.fullmatch(r"\w[\w .-]{0,99}", split) or split.casefold() in OWN_FILES:
            raise DataError(
                f"{quote(split)} cannot be the name of a split. It is the name of a file of the set: letters, digits, "
                f"blanks, dots and hyphens, and not {', '.join(OWN_FILES)}. Rename the subset or file in the source."
            )


def _refuse_doubled_titles(titles: Mapping[str, str]) -> None:
    seen: dict[str, str] = {}
    for name, title in titles.items():
        if title in seen:
            raise DataError(
                f"The categories {quote(seen[title])} and {quote(name)} are both called {quote(title)}. Every category "
                "needs a name of its own: rename one in the source."
            )
        seen[title] = name


def box_round(points: Mapping[str, Point], picture: Picture) -> Box:
    """A box for an object without one: the extent of its labelled points and a margin, cut to the picture.

    Raises:
        DataError: fewer than two places in the picture are labelled: nothing says how large the object is.
    """
    places = {(x, y) for x, y, v in points.values() if v and _near(x, picture.width) and _near(y, picture.height)}
    if len(places) < 2:
        raise DataError("it has no box, and needs two labelled points at different places to make one from")
    xs, ys = [x for x, _ in places], [y for _, y in places]
    margin = MARGIN * max(max(xs) - min(xs), max(ys) - min(ys))
    left, top = max(min(xs) - margin, 0.0), max(min(ys) - margin, 0.0)
    right, bottom = min(max(xs) + margin, float(picture.width)), min(max(ys) + margin, float(picture.height))
    return left, top, right - left, bottom - top


def _near(value: float, side: int) -> bool:
    return -EDGE <= value <= side + EDGE
