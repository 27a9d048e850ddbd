"""Base class of all importers: a converter created at run time for a user's file or folder.

An importer describes its format in `formats.toml`, finds the splits and the kinds of objects (`open`), lists the
pictures with their raw objects (`listing`), and reads one raw object (`object`). Names, skeletons, missing boxes and
everything that `Converter` does are handled here.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from xpose.data.collection.manifest import LOCATION, MANIFEST, REPORT
from xpose.data.datasets.converters.base import EDGE, MARGIN, NOT_STATED, Converter, PictureEntry, digest_of
from xpose.data.datasets.importers.names import Named, ObjectKind, read_map, readable, settle_names
from xpose.data.datasets.sources import (
    SourceFolder,
    as_number,
    box_of_points,
    grouped,
    refuse_turned,
    safe_name,
    whole_file_fault,
)
from xpose.errors import DataError, quote
from xpose.pictures import shared_end
from xpose.records import Box, Instance, Picture, Point, Record, Skipped

OBJECT = "object"  # the category of objects that the source does not name
OWN_FILES = tuple(name.removesuffix(".json") for name in (LOCATION, MANIFEST, REPORT))
PICTURE_FOLDERS = ("images", "imgs", "data")
UPLOAD_MARK = re.compile(r"^[0-9a-f]{8}-")  # Label Studio's prefix of an uploaded picture's name
MAX_PICTURES = 5_000_000
ALL = {"all": "everything in the source; it states no splits"}


@dataclass(frozen=True)
class ImportChoices:
    """The user's options."""

    category: str | None = None  # what the objects are
    skeleton: str | Path | None = None  # provides the keypoint names
    names: Path | None = None  # a mapping file
    pictures: Path | None = None  # the picture folder, if it is not the annotation folder
    licence: str | None = None
    labels_only: bool = False  # only read the labels: pictures may be missing, predictions and single points count too


@dataclass(frozen=True, slots=True)
class StatedInstance(Instance):
    """An object with everything that its source states, for conversion to another format (`labels_only`)."""

    score: float | None = None  # of a predicted object
    keypoint_scores: Mapping[str, float] = field(default_factory=dict)  # by unified name
    keypoint_errors: Mapping[str, float] = field(default_factory=dict)
    track: str | None = None
    box_made: bool = False  # the source states no box
    tentative: bool = False  # see `xpose.Poses`


@dataclass
class RawObject:
    """One object in plain values, as given by the source."""

    kind: str
    points: list[tuple[Any, ...]]  # name, then the format's own values for the point
    box: list[Any] | None = None
    id: str | None = None
    mark: Any = None  # further information of the format
    score: Any = None  # of a predicted object, and of its points by name
    scores: dict[str, Any] = field(default_factory=dict)
    track: str | None = None

    def refuse_doubles(self, where: str, way_out: str) -> None:
        """Refuse an object with two points of one name."""
        doubled = [name for name, count in Counter(point[0] for point in self.points).items() if count > 1]
        if doubled:
            raise DataError(f"{where}{', '.join(map(quote, doubled))} occur more than once; {way_out}")


@dataclass(frozen=True)
class PictureLabels:
    """The source's labels of one picture: the `data` of an entry of `listing`."""

    objects: list[Any]  # for `Importer.object`
    size: Any = None
    group: str | None = None
    id: str | None = None


class Importer(Converter):
    """One format. See the module's docstring."""

    format: ClassVar[str]  # see `formats.toml`
    what: ClassVar[str]
    takes_pictures: ClassVar[bool] = True
    drawn_upright: ClassVar[bool] = False
    file: str  # the annotation file, set by `open` if there is one
    evaluation = "none: a user's own data"

    def __init__(self, path: str | Path, choices: ImportChoices | None = None, set_name: str = "imported") -> None:
        self.path = Path(os.path.abspath(path))  # keep links: people arrange large downloads with them
        self.choices = choices or ImportChoices()
        self.notes: list[str] = []
        self.splits_of: dict[str, set[str]] = {}  # filled by `entries`
        self._refuse_wrong_paths()
        self.files = SourceFolder(self.base())  # the annotation files
        self.root = self.choices.pictures or self.files.root
        self.pictures = PictureFinder(SourceFolder(self.root), search=not self.choices.labels_only)
        try:
            splits, kinds = self.open()
        except DataError as error:
            way_out = f"The file may be damaged or not {self.what}: export it again. Formats: xpose data formats"
            raise whole_file_fault(error, way_out) from None
        _refuse_unsafe_splits(splits)
        self.named = self._settle(kinds, set_name)
        self.choices_digest = digest_of([self.format, self.choices, splits, *sorted(self.named.items())])
        # The base class has class attributes here, since a dataset is a class; an import is an instance.
        vars(self).update(
            name=set_name,
            title=f"{self.path.name} ({self.title})",
            splits=splits,
            licence=self.choices.licence or NOT_STATED,
            tables={name: named.table for name, named in self.named.items()},
        )

    # Implemented by formats.

    def base(self) -> Path:
        """The folder that holds the annotations, and the pictures unless they are elsewhere."""
        return self.path if self.path.is_dir() else self.path.parent

    def open(self) -> tuple[dict[str, str], list[ObjectKind]]:
        """The splits (name to meaning) and the kinds of objects; `DataError` if the whole source is unusable."""
        raise NotImplementedError

    def listing(self, source: SourceFolder, split: str) -> Iterable[PictureEntry | Skipped]:
        """The pictures of a split, as in `Converter.entries`, with `PictureLabels` as their data."""
        raise NotImplementedError

    def open_picture(self, source: SourceFolder, entry: PictureEntry) -> Picture:
        """The picture of an entry."""
        picture = source.picture(entry.name)
        if self.drawn_upright:
            refuse_turned(source.path(entry.name))
        return picture

    def objects(self, source: SourceFolder, entry: PictureEntry) -> list[Any]:
        """The raw objects of an entry."""
        return list(entry.data.objects)

    def object(self, raw: Any, picture: Picture, number: int) -> Instance:
        """Convert the picture's raw object number `number`, using `settled`."""
        raise NotImplementedError

    def originals(self) -> list[str]:
        """The annotation files, relative to `files.root`, for the manifest's checksums."""
        return [self.file]

    # Shared by all formats.

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        """The listing; records each picture's splits."""
        for item in self.listing(source, split):
            if isinstance(item, PictureEntry):
                self.splits_of.setdefault(item.name, set()).add(split)
            yield item

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        """The record of one picture."""
        labels: PictureLabels = entry.data
        picture = self.open_picture(source, entry)
        objects = self.objects(source, entry)
        instances, dropped = self.read_each(entry.name, objects, lambda raw, number: self.object(raw, picture, number))
        return self.make(picture, instances, split, group=labels.group, source_id=labels.id, dropped=dropped)

    def leaks(self) -> list[str]:
        """Warnings about pictures in more than one split; call it after `entries` has run for all of them."""
        shared = Counter(tuple(sorted(splits)) for splits in self.splits_of.values() if len(splits) > 1)
        return [
            f"{count} pictures are in each of the splits {', '.join(map(quote, names))}. Do not train on one and "
            "evaluate on another; import a file of its own where one holds all."
            for names, count in sorted(shared.items())
        ]

    def settled(
        self,
        kind: str,
        points: Mapping[str, Point],
        picture: Picture,
        number: int,
        box: Box | None = None,
        *,
        id: str | None = None,
        area: float | None = None,
        crowd: bool = False,
        raw: RawObject | None = None,
    ) -> Instance:
        """An object with unified keypoint names; without a box, it gets one from its points.

        `raw` has what only a conversion to another format keeps: scores and the track.
        """
        where = f"object {id or number}: "
        named = self.named.get(kind)
        if named is None:
            raise DataError(f"{where}{quote(kind)} is not a kind of object with keypoints in this source")
        box_made, box = box is None, self.box_of(points, picture, where) if box is None else box
        unified = named.table.unify(points)
        category = named.table.category(named.title)
        if not self.choices.labels_only:
            return Instance(category, box, unified, crowd, area, id)
        scores = {} if raw is None else raw.scores
        known = {name: score for name, value in scores.items() if (score := share(value)) is not None}
        return StatedInstance(
            category,
            box,
            unified,
            source_id=id,
            score=None if raw is None else share(raw.score),
            keypoint_scores={to: known[name] for name, to in named.table.names.items() if to and name in known},
            track=None if raw is None else raw.track,
            box_made=box_made,
        )

    def box_of(self, points: Mapping[str, Point], picture: Picture, where: str) -> Box:
        """A box for an object without one; if only the labels are read, a single point is enough."""
        if not self.choices.labels_only:
            return box_round(points, picture, where)
        return box_of_points([point for point in points.values() if point[2]], MARGIN, even=True)

    def only_file(self, *endings: str) -> str:
        """PATH if it is a file, else the only file in it with such an ending."""
        if self.path.is_file():
            return self.path.name
        names = self.files.files("", endings)
        if len(names) != 1:
            raise DataError(
                f"{quote(self.path)} holds {len(names)} {endings[0]} files. One is imported at a time: give the file "
                f"itself as PATH, {self.what}."
            )
        return names[0]

    def path_in_base(self) -> str:
        """PATH relative to the annotation folder."""
        return self.path.relative_to(self.files.root).as_posix()

    def _refuse_wrong_paths(self) -> None:
        pictures = self.choices.pictures
        if not self.path.exists():
            raise DataError(f"{quote(self.path)} does not exist. PATH is {self.what}. Check the spelling.")
        if pictures is not None and not pictures.is_dir():
            raise DataError(f"--pictures {quote(pictures)} is not a folder. Give that of the pictures.")
        if pictures is not None and not self.takes_pictures and not self.choices.labels_only:
            raise DataError(
                f"--pictures {quote(pictures)}: a {self.format} source states where its pictures are. Leave it out."
            )

    def _settle(self, kinds: list[ObjectKind], set_name: str) -> dict[str, Named]:
        skeleton = self.choices.skeleton
        name_map: Mapping[str, str | None] | None = None
        if self.choices.names is not None:
            name_map, of_map = read_map(self.choices.names)
            skeleton = of_map if skeleton is None else skeleton
        titles = self._titles(kinds)
        named = {kind.name: settle_names(kind, titles[kind.name], skeleton, name_map, set_name) for kind in kinds}
        for settled in (settled for settled in named.values() if settled.free):
            shown = ", ".join(map(quote, settled.free))
            self.notes.append(
                f"{settled.title}: {shown} not found in the skeleton, kept as free names. Map them with --names."
            )
        return named

    def _titles(self, kinds: list[ObjectKind]) -> dict[str, str]:
        """The category of each kind; --category applies to the only unnamed kind, or the only kind."""
        if not kinds:
            raise DataError(f"{quote(self.path)} names no keypoints. An import needs them. Is it {self.what}?")
        titles = {kind.name: readable(kind.name, "a category") for kind in kinds}
        unnamed = [kind.name for kind in kinds if not kind.named]
        if self.choices.category is not None:
            chosen = unnamed or list(titles)
            if len(chosen) != 1:
                shown = ", ".join(map(quote, titles.values()))
                raise DataError(
                    f"--category {quote(self.choices.category)} cannot be given: it names a single category, and the "
                    f"source has {shown}. Leave it out."
                )
            titles[chosen[0]] = readable(self.choices.category, "--category")
        elif unnamed:
            shown = ", ".join(quote(titles[name]) for name in unnamed)
            self.notes.append(f"The source does not say what the objects are; they are called {shown}. Use --category.")
        for title, count in Counter(titles.values()).items():
            if count > 1:
                same = [quote(name) for name in titles if titles[name] == title]
                raise DataError(
                    f"The categories {' and '.join(same)} are both called {quote(title)}. Rename one in the source."
                )
        return titles


def _refuse_unsafe_splits(splits: Iterable[str]) -> None:
    """A split's name becomes a file name, so it must be plain and differ from the set's own files."""
    for split in splits:
        if not re.fullmatch(r"\w[\w .-]{0,99}", split) or split.casefold() in OWN_FILES:
            raise DataError(
                f"{quote(split)} cannot be the name of a split. It is the name of a file of the set: letters, digits, "
                f"blanks, dots and hyphens, and not {', '.join(OWN_FILES)}. Rename the subset or file in the source."
            )


def box_round(points: Mapping[str, Point], picture: Picture, where: str = "") -> Box:
    """A box for an object without one: the extent of its labelled points and a margin, cut to the picture."""
    right, bottom = picture.width + EDGE, picture.height + EDGE
    places = {(x, y) for x, y, v in points.values() if v and -EDGE <= x <= right and -EDGE <= y <= bottom}
    if len(places) < 2:
        raise DataError(f"{where}it has no box, and needs two labelled points at different places to make one from")
    return box_of_points(places, MARGIN, picture, even=True)


def share(value: Any) -> float | None:
    """A score as a number from 0 to 1 (some programs exceed these limits slightly), or None."""
    number = as_number(value)
    return None if number is None else min(max(number, 0.0), 1.0)


def path_parts(path: str) -> list[str]:
    """The parts of a path of any system."""
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]


class PictureFinder:
    """Finds pictures under a folder by whatever part of their path a file gives; without `search`, names stay."""

    def __init__(self, source: SourceFolder, *, search: bool = True) -> None:
        self.source, self.search = source, search
        self._by_name: dict[str, list[str]] | None = None

    def find(self, name: str, split: str = "") -> str:
        """A picture's path relative to the root, or `name` if it is not found (the report will list it)."""
        name = safe_name(name)
        if not self.search:
            return name
        folders = [*(f"{folder}/{split}" for folder in PICTURE_FOLDERS), split] if split else []
        places = (name, *(f"{folder}/{name}" for folder in (*folders, *PICTURE_FOLDERS)))
        place = next((place for place in places if self.source.path(place).is_file()), None)
        return place or self._search(name, split) or name

    def find_url(self, address: str) -> str:
        """The same for an address exported by a labelling tool: a server's or cloud store's URL, or a path."""
        path = address
        is_url = re.match(r"[a-z][a-z0-9+.-]*://|/data/local-files", address)
        if is_url:
            try:
                parts = urlsplit(address)
            except ValueError as error:
                raise DataError(f"{quote(address)} is not an address: {error}") from None
            path = parse_qs(parts.query).get("d", [parts.path])[0]
        pieces = path_parts(unquote(path))
        if not pieces:
            raise DataError(f"{quote(address)} names no picture")
        name = safe_name("/".join(pieces[1:] if pieces[0].endswith(":") else pieces))
        bare = UPLOAD_MARK.sub("", pieces[-1])
        if not self.search:
            return safe_name(bare) if is_url or bare != pieces[-1] else name
        place = self._search(name) or (self._search(safe_name(bare)) if bare != pieces[-1] else None)
        return place or safe_name(pieces[-1])

    def _search(self, name: str, split: str = "") -> str | None:
        """The picture with the longest path end in common with `name`."""
        if self._by_name is None:
            places = self.source.pictures("", deep=True)[:MAX_PICTURES]
            self._by_name = grouped((place.rsplit("/", 1)[-1], place) for place in places)
        candidates = self._by_name.get(name.rsplit("/", 1)[-1], [])
        if not candidates:
            return None
        shared = {place: shared_end(place.split("/"), name.split("/")) for place in candidates}
        matches = [place for place in candidates if shared[place] == max(shared.values())]
        if len(matches) > 1 and split:
            matches = [place for place in matches if split in place.split("/")] or matches
        if len(matches) > 1:
            shown = " or ".join(map(quote, matches[:3]))
            raise DataError(f"{quote(name)} may be {shown}; give the folder that is meant with --pictures")
        return matches[0]
