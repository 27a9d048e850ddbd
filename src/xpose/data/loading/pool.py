"""All labels of a training run in flat arrays: 400,000 objects in about 150 MB, shared by workers without copying.

A picture goes by its number in the pool. Records come from prepared sets, collections and folders of sets:

    pool = open_pool(["sets/coco", "../shared/data"], "train")
    pool.labels(17), pool.size(17), pool.set_name(17)
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xpose.data.loading.labelling import Labelling, labelling_beside
from xpose.data.loading.samples import Kind, Labels
from xpose.errors import DataError, SplitError, counted, did_you_mean, quote
from xpose.records import Category, Record, Skipped

if TYPE_CHECKING:
    from xpose.vocabulary import Skeleton

Keep = Callable[[Record], Record | None]
_SHOWN_REASONS = 3


def content_of(picture: Path) -> bytes:
    """The bytes of a picture's file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return picture.read_bytes()
    except OSError as error:
        raise DataError(
            f"The picture {quote(picture)} cannot be read: {error.strerror}. It was there when the set was "
            "prepared. Put it back, or prepare the set again."
        ) from None


class _Texts:
    """Many texts in one array of bytes."""

    def __init__(self, texts: Sequence[str]) -> None:
        coded = [text.encode("utf-8", "surrogatepass") for text in texts]
        self.content = np.frombuffer(b"".join(coded), np.uint8)
        self.start = np.concatenate(([0], np.cumsum([len(text) for text in coded], dtype=np.int64)))

    def __getitem__(self, number: int) -> str:
        part = self.content[self.start[number] : self.start[number + 1]]
        return part.tobytes().decode("utf-8", "surrogatepass")


class _Columns:
    """Records as columns of numbers, while they come in."""

    def __init__(self, flips: Mapping[str, Mapping[str, str]]) -> None:
        self.flips = flips  # mirror names of skeletons that are not in the vocabulary
        self.kinds: dict[Kind, int] = {}
        self.kind_of: dict[Category, int] = {}  # spares the look-up of the mirror names
        self.sets: dict[str, int] = {}
        self.styles: dict[str | None, int] = {}
        self.files: list[str] = []
        self.paths: list[str] = []
        self.pictures = array("q")  # set, style, width, height, number of instances
        self.instances = array("q")  # kind, crowd
        self.boxes = array("f")  # left, top, right, bottom
        self.points = array("f")  # x, y, visibility

    def add(self, record: Record, place: Path) -> None:
        """Take in one record; a keypoint is a pixel index there, and half a pixel further on here."""
        picture = record.picture
        set_number = self.sets.setdefault(record.source, len(self.sets))
        style = self.styles.setdefault(record.style, len(self.styles))
        self.pictures.extend((set_number, style, picture.width, picture.height, len(record.instances)))
        self.files.append(picture.file)
        self.paths.append(str(place))
        for instance in record.instances:
            x, y, width, height = instance.box
            self.instances.extend((self._kind(instance.category), instance.iscrowd))
            self.boxes.extend((x, y, x + width, y + height))
            for name in instance.category.keypoints:
                px, py, v = instance.point(name)
                self.points.extend((px + 0.5, py + 0.5, v) if v else (0.0, 0.0, 0.0))

    def _kind(self, category: Category) -> int:
        number = self.kind_of.get(category)
        if number is None:
            flips = self.flips.get(category.skeleton)
            kind = Kind.of(category.name, category.skeleton, category.keypoints, category.edges, flips)
            number = self.kind_of[category] = self.kinds.setdefault(kind, len(self.kinds))
        return number


class Pool:
    """Pictures by number with their labels. `kinds` and `sets` are what the numbers in the arrays mean."""

    def __init__(
        self,
        records: Iterable[tuple[Record, Path]],
        flips: Mapping[str, Mapping[str, str]] | None = None,
        labelling: Mapping[str, Labelling] | None = None,
    ) -> None:
        """Take the records in; nothing of them is kept but numbers and names.

        `flips` has the mirror names of skeletons that are not in the vocabulary, `labelling` what the folders say of
        what their sets label.

        Raises:
            DataError: there are no records.
        """
        columns = _Columns(flips or {})
        for record, place in records:
            columns.add(record, place)
        if not columns.files:
            raise DataError("There is no labelled picture. A pool needs at least one. Check the sets and the split.")
        self.kinds, self.sets, self.styles = tuple(columns.kinds), tuple(columns.sets), tuple(columns.styles)
        self.labelling = {name: known for name, known in (labelling or {}).items() if name in columns.sets}
        self.lengths = np.array([len(kind) for kind in self.kinds], np.int64)
        self._paths, self._files = _Texts(columns.paths), _Texts(columns.files)
        pictures = np.array(columns.pictures, np.int64).reshape(-1, 5)
        self.set_of, self._style = pictures[:, 0].astype(np.int32), pictures[:, 1].astype(np.int32)
        self._size = pictures[:, 2:4].astype(np.int32)
        self.first = np.concatenate(([0], np.cumsum(pictures[:, 4])))  # instances of picture i: first[i]:first[i+1]
        instances = np.array(columns.instances, np.int64).reshape(-1, 2)
        self.kind_of, self.crowd = instances[:, 0].astype(np.int32), instances[:, 1].astype(bool)
        self.boxes = np.array(columns.boxes, np.float32).reshape(-1, 4)
        self._points = np.array(columns.points, np.float32).reshape(-1, 3)
        self._point = np.concatenate(([0], np.cumsum(self.lengths[self.kind_of], dtype=np.int64)))

    def __len__(self) -> int:
        return len(self._size)

    def labels(self, number: int) -> Labels:
        """The instances of a picture."""
        first, last = int(self.first[number]), int(self.first[number + 1])
        used, label = np.unique(self.kind_of[first:last], return_inverse=True)
        kinds = tuple(self.kinds[i] for i in used)
        width = max((len(kind) for kind in kinds), default=0)
        points = np.zeros((last - first, width, 3), np.float32)
        for row, instance in enumerate(range(first, last)):
            own = self._points[self._point[instance] : self._point[instance + 1]]
            points[row, : len(own)] = own
        return Labels(
            kinds,
            label.astype(np.int64),
            self.boxes[first:last].copy(),
            points,
            self.crowd[first:last].copy(),
        )

    def visible_counts(self) -> np.ndarray:
        """For every instance how many of its points can be seen (visibility 2)."""
        seen = np.concatenate(([0], np.cumsum(self._points[:, 2] == 2, dtype=np.int64)))
        return np.asarray(seen[self._point[1:]] - seen[self._point[:-1]])

    def kinds_in(self, number: int) -> tuple[int, ...]:
        """The numbers of the kinds that a picture shows, sorted; crowds count."""
        return tuple(np.unique(self.kind_of[self.first[number] : self.first[number + 1]]).tolist())

    def picture_of(self) -> np.ndarray:
        """The picture of every instance."""
        return np.repeat(np.arange(len(self)), np.diff(self.first))

    def size(self, number: int) -> tuple[int, int]:
        """Width and height of the stored picture."""
        width, height = self._size[number].tolist()
        return width, height

    def set_name(self, number: int) -> str:
        """The set a picture comes from."""
        return self.sets[self.set_of[number]]

    def file(self, number: int) -> str:
        """The picture's name in its set."""
        return self._files[number]

    def style(self, number: int) -> str | None:
        """Photograph, painting, ... where the source says so."""
        return self.styles[self._style[number]]

    def path(self, number: int) -> str:
        """The file that holds the picture."""
        return self._paths[number]

    def content(self, number: int) -> bytes:
        """The bytes of the picture's file.

        Raises:
            DataError: it cannot be read.
        """
        return content_of(Path(self.path(number)))


class _Selection:
    """The records of a split that are wanted, with what was met and what could not be used on the way."""

    def __init__(
        self,
        only: Iterable[str],
        without: Iterable[str],
        keep: Keep | None,
        skipped: Callable[[str, Skipped], None] | None,
    ) -> None:
        self.only, self.without = set(only), set(without)
        self.keep, self.skipped = keep, skipped
        self.sets: set[str] = set()
        self.unusable: list[str] = []

    def records(self, places: Sequence[str | Path], split: str) -> Iterator[tuple[Record, Path]]:
        for folder in places:
            for record, place in read_places(Path(folder), split, skipped=self._skip):
                self.sets.add(record.source)
                if self._wants(record.source):
                    kept = record if self.keep is None else self.keep(record)
                    if kept is not None:
                        yield kept, place

    def check_names(self) -> None:
        for name in sorted((self.only | self.without) - self.sets):
            raise DataError(
                f"There is no set {quote(name)}.{did_you_mean(name, self.sets)} There are: "
                f"{', '.join(sorted(self.sets))}."
            )

    def reasons(self) -> str:
        """The first pictures that cannot be used, with what is wrong with them."""
        if not self.unusable:
            return ""
        first = "; ".join(reason.rstrip(". ") for reason in self.unusable[:_SHOWN_REASONS])
        more = "; ..." if len(self.unusable) > _SHOWN_REASONS else ""
        return f" {counted(len(self.unusable), 'picture')} cannot be used: {first}{more}. Correct them."

    def _wants(self, source: str) -> bool:
        return (not self.only or source in self.only) and source not in self.without

    def _skip(self, source: str, skipped: Skipped) -> None:
        if skipped.what == "picture":
            self.unusable.append(f"{source}/{skipped.file}: {skipped.reason}")
        if self.skipped is not None and self._wants(source):
            self.skipped(source, skipped)


def open_pool(
    places: Sequence[str | Path],
    split: str = "train",
    *,
    only: Iterable[str] = (),
    without: Iterable[str] = (),
    keep: Keep | None = None,
    skipped: Callable[[str, Skipped], None] | None = None,
) -> Pool:
    """The pool of one split of all sets in the given folders.

    Args:
        places: folders of prepared sets, of a collection, or folders of sets.
        split: its name.
        only: the sets to take; all where empty.
        without: sets to leave out.
        keep: returns the record to take, changed or not, or None to leave it out.
        skipped: called with the set and whatever of a folder of sets cannot be used.

    Raises:
        DataError: nothing is left to train on, a folder has no such split, or `only` or `without` names an unknown set.
    """
    selection = _Selection(only, without, keep, skipped)
    records = selection.records(places, split)
    first = next(records, None)
    if first is None and not selection.sets:
        raise DataError(
            f"No picture of the split {quote(split)} in {', '.join(quote(p) for p in places)} can be used. At least "
            f"one is needed.{selection.reasons() or ' The split is empty: choose another one.'}"
        )
    pool = None if first is None else Pool(chain([first], records), own_flips(places), labelling_beside(places))
    selection.check_names()
    if pool is None:
        raise DataError(
            f"Every picture was left out. At least one has to stay. Check what is left out.{selection.reasons()}"
        )
    return pool


def own_flips(places: Iterable[str | Path]) -> dict[str, dict[str, str]]:
    """The mirror names that skeletons of imported sets and of folders of sets state, by skeleton.

    Raises:
        DataError: two sets mean different things by the same skeleton.
        VocabularyError: a skeleton file is damaged.
    """
    found: dict[str, dict[str, str]] = {}
    for folder in map(Path, places):
        skeletons = _own_skeletons(folder)
        for name, skeleton in skeletons.items():
            flips = dict(skeleton.flips)
            if found.setdefault(name, flips) != flips:
                raise DataError(
                    f"Two of the sets have a skeleton {quote(name)}, with other mirror partners. One name means one "
                    "skeleton. Import one of the sets again under another name: xpose data import ... --name NAME"
                )
    return found


def _own_skeletons(folder: Path) -> Mapping[str, Skeleton]:
    from xpose.data.collection.manifest import LOCATION
    from xpose.data.datasets.folder_sets import folder_sets, is_folder_of_sets
    from xpose.data.datasets.importers import imported_skeletons

    if (folder / LOCATION).is_file():
        return imported_skeletons(folder)
    if not is_folder_of_sets(folder):
        return {}
    return {name: skeleton for one in folder_sets(folder) for name, skeleton in one.skeletons.items()}


def read_places(
    folder: Path, split: str, *, skipped: Callable[[str, Skipped], None] | None = None
) -> Iterator[tuple[Record, Path]]:
    """The records of a split, and where the bytes of their pictures are.

    `skipped` is called with the set and whatever is left out of a folder of sets; preparing a set reported it already.

    Raises:
        DataError: the folder holds no sets, or no such split, or a file is damaged.
    """
    from xpose.data.collection.manifest import LOCATION, read_manifest
    from xpose.data.collection.places import Places
    from xpose.data.collection.store import CocoSet
    from xpose.data.datasets.folder_sets import is_folder_of_sets, no_sets, read_folder_sets
    from xpose.data.datasets.sources import SourceFolder

    if (folder / LOCATION).is_file():
        splits = read_manifest(folder)["splits"]
        if split not in splits:
            raise SplitError(
                f"{quote(folder)} has no split {quote(split)}.{did_you_mean(split, splits)} There are: "
                f"{', '.join(splits) or 'none'}."
            )
        places = Places(folder)
        for record in CocoSet(folder / f"{split}.json"):
            yield record, places.path(record.picture)
    elif is_folder_of_sets(folder):
        sources: dict[str, SourceFolder] = {}
        for record in read_folder_sets(folder, split, skipped=skipped):
            source = sources.setdefault(record.source, SourceFolder(folder / record.source))
            yield record, source.path(record.picture.file)
    else:
        raise no_sets(folder)
