"""All labels of a training run in flat arrays: 400,000 objects in about 150 MB, shared by workers without copying.

Pictures are identified by their number in the pool. Records come from prepared sets, collections and folders of sets:

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

from xpose.data.collection.manifest import LOCATION, Places, read_manifest
from xpose.data.collection.store import CocoSet
from xpose.data.datasets.folder_sets import folder_sets, is_folder_of_sets, no_sets, read_folder_sets
from xpose.data.datasets.sources import SourceFolder
from xpose.data.loading.labelling import Labelling, labelling_beside
from xpose.data.loading.samples import Kind, Labels
from xpose.errors import DataError, SplitError, counted, did_you_mean, quote
from xpose.records import Category, Record, Skipped

if TYPE_CHECKING:
    from xpose.vocabulary import Skeleton


def content_of(picture: Path) -> bytes:
    """The bytes of a picture's file."""
    try:
        return picture.read_bytes()
    except OSError as error:
        raise DataError(
            f"The picture {quote(picture)} cannot be read: {error.strerror}. Put it back, or prepare the set again."
        ) from None


class _Texts:
    """Strings stored in one array of bytes."""

    def __init__(self, texts: Sequence[str]) -> None:
        coded = [text.encode("utf-8", "surrogatepass") for text in texts]
        self.content = np.frombuffer(b"".join(coded), np.uint8)
        self.start = _starts([len(text) for text in coded])

    def __getitem__(self, number: int) -> str:
        part = self.content[self.start[number] : self.start[number + 1]]
        return part.tobytes().decode("utf-8", "surrogatepass")


def _starts(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """The start of each part in a concatenation, followed by the total length."""
    return np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))


class Pool:
    """Pictures by number with their labels. The arrays hold indices into `kinds` and `sets`."""

    def __init__(
        self,
        records: Iterable[tuple[Record, Path]],
        flips: Mapping[str, Mapping[str, str]] | None = None,
        labelling: Mapping[str, Labelling] | None = None,
    ) -> None:
        """`flips`: mirror names of skeletons outside the vocabulary; `labelling`: what folders state about sets."""
        kinds: dict[Kind, int] = {}
        kind_numbers: dict[Category, int] = {}  # avoids looking up mirror names again
        sets: dict[str, int] = {}
        styles: dict[str | None, int] = {}
        files, paths = [], []
        pictures = array("q")  # set, style, width, height, number of instances
        instances = array("q")  # kind, crowd
        boxes = array("f")  # left, top, right, bottom
        points = array("f")  # x, y, visibility
        for record, place in records:
            picture = record.picture
            numbers = sets.setdefault(record.source, len(sets)), styles.setdefault(record.style, len(styles))
            pictures.extend((*numbers, picture.width, picture.height, len(record.instances)))
            files.append(picture.file)
            paths.append(str(place))
            for instance in record.instances:
                category = instance.category
                if category not in kind_numbers:
                    stated = (flips or {}).get(category.skeleton)
                    kind = Kind.of(category.name, category.skeleton, category.keypoints, category.edges, stated)
                    kind_numbers[category] = kinds.setdefault(kind, len(kinds))
                x, y, width, height = instance.box
                instances.extend((kind_numbers[category], instance.iscrowd))
                boxes.extend((x, y, x + width, y + height))
                for name in category.keypoints:
                    px, py, v = instance.point(name)  # a pixel index; half a pixel is added here
                    points.extend((px + 0.5, py + 0.5, v) if v else (0.0, 0.0, 0.0))
        if not files:
            raise DataError("There is no labelled picture; a pool needs at least one. Check the sets and the split.")
        self.kinds, self.sets, self.styles = tuple(kinds), tuple(sets), tuple(styles)
        self.labelling = {name: entry for name, entry in (labelling or {}).items() if name in sets}
        self.lengths = np.array([len(kind) for kind in self.kinds], np.int64)
        self._paths, self._files = _Texts(paths), _Texts(files)
        by_picture = np.array(pictures, np.int64).reshape(-1, 5)
        self.set_of, self._style = by_picture[:, 0].astype(np.int32), by_picture[:, 1].astype(np.int32)
        self._size = by_picture[:, 2:4].astype(np.int32)
        self.first = _starts(by_picture[:, 4])  # instances of picture i: first[i]:first[i+1]
        by_instance = np.array(instances, np.int64).reshape(-1, 2)
        self.kind_of, self.crowd = by_instance[:, 0].astype(np.int32), by_instance[:, 1].astype(bool)
        self.boxes = np.array(boxes, np.float32).reshape(-1, 4)
        self._points = np.array(points, np.float32).reshape(-1, 3)
        self._point = _starts(self.lengths[self.kind_of])

    def __len__(self) -> int:
        return len(self._size)

    def labels(self, number: int) -> Labels:
        """The instances of a picture."""
        first, last = int(self.first[number]), int(self.first[number + 1])
        used, label = np.unique(self.kind_of[first:last], return_inverse=True)
        kinds = tuple(self.kinds[i] for i in used)
        points = np.zeros((last - first, max(map(len, kinds), default=0), 3), np.float32)
        for row, instance in enumerate(range(first, last)):
            labelled = self._points[self._point[instance] : self._point[instance + 1]]
            points[row, : len(labelled)] = labelled
        boxes, crowd = self.boxes[first:last].copy(), self.crowd[first:last].copy()
        return Labels(kinds, label.astype(np.int64), boxes, points, crowd)

    def visible_counts(self) -> np.ndarray:
        """The number of visible points (visibility 2) of every instance."""
        seen = _starts(self._points[:, 2] == 2)
        return np.asarray(seen[self._point[1:]] - seen[self._point[:-1]])

    def labelled(self, instances: np.ndarray) -> np.ndarray:
        """For each keypoint of instances of one kind, how many of them have a label for it, [K]."""
        length = self.lengths[self.kind_of[instances[0]]]
        counts = (self._points[self._point[instances][:, None] + np.arange(length), 2] > 0).sum(0)
        return np.asarray(counts)

    def kinds_in(self, number: int) -> tuple[int, ...]:
        """The numbers of the kinds in a picture, sorted, crowds included."""
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
        """Photograph, painting, etc., if the source says so."""
        return self.styles[self._style[number]]

    def path(self, number: int) -> str:
        """The file that holds the picture."""
        return self._paths[number]


def open_pool(
    places: Sequence[str | Path],
    split: str = "train",
    *,
    only: Iterable[str] = (),
    without: Iterable[str] = (),
    keep: Callable[[Record], Record | None] | None = None,
    skipped: Callable[[str, Skipped], None] | None = None,
) -> Pool:
    """The pool of one split of all sets in the given folders (prepared sets, collections, folders of sets).

    `only` names the sets to include (all by default), `without` those to exclude. `keep` returns the record to use,
    changed or not, or None to exclude it. `skipped` is called with the set and each item that cannot be used.

    Raises:
        DataError: nothing is left to train on, a folder has no such split, or `only` or `without` names an unknown set.
    """
    included, excluded = set(only), set(without)
    sets: set[str] = set()
    unusable: list[str] = []

    def is_included(source: str) -> bool:
        return (not included or source in included) and source not in excluded

    def skip(source: str, item: Skipped) -> None:
        if item.what == "picture":
            unusable.append(f"{source}/{item.file}: {item.reason}")
        if skipped is not None and is_included(source):
            skipped(source, item)

    def selected() -> Iterator[tuple[Record, Path]]:
        for folder in places:
            for record, place in read_places(Path(folder), split, skipped=skip):
                sets.add(record.source)
                if is_included(record.source) and (selection := keep(record) if keep else record):
                    yield selection, place

    records = selected()
    first = next(records, None)
    if not sets:
        raise DataError(
            f"No picture of the split {quote(split)} in {', '.join(map(quote, places))} can be used. At least one is "
            f"needed.{_reasons(unusable) or ' The split is empty: choose another one.'}"
        )
    pool = None if first is None else Pool(chain([first], records), own_flips(places), labelling_beside(places))
    for name in sorted((included | excluded) - sets):
        listed = ", ".join(sorted(sets))
        raise DataError(f"There is no set {quote(name)}.{did_you_mean(name, sets)} There are: {listed}.")
    if pool is None:
        raise DataError(
            f"Every picture was left out. At least one has to stay. Check what is left out.{_reasons(unusable)}"
        )
    return pool


def _reasons(unusable: Sequence[str]) -> str:
    """The first pictures that cannot be used, with the reasons."""
    if not unusable:
        return ""
    first = "; ".join(reason.rstrip(". ") for reason in unusable[:3])
    rest = "; ..." if len(unusable) > 3 else ""
    return f" {counted(len(unusable), 'picture')} cannot be used: {first}{rest}. Correct them."


def own_flips(places: Iterable[str | Path]) -> dict[str, dict[str, str]]:
    """The mirror names in the skeletons of imported sets and of folders of sets, by skeleton."""
    from xpose.data.datasets.importers import imported_skeletons

    flips: dict[str, dict[str, str]] = {}
    for folder in map(Path, places):
        skeletons: Mapping[str, Skeleton] = {}
        if (folder / LOCATION).is_file():
            skeletons = imported_skeletons(folder)
        elif is_folder_of_sets(folder):
            skeletons = {name: own for coco_set in folder_sets(folder) for name, own in coco_set.skeletons.items()}
        for name, skeleton in skeletons.items():
            stated = dict(skeleton.flips)
            if flips.setdefault(name, stated) != stated:
                raise DataError(
                    f"Two of the sets have a skeleton {quote(name)}, with other mirror partners. One name means one "
                    "skeleton. Import one of the sets again under another name: xpose data import ... --name NAME"
                )
    return flips


def read_places(
    folder: Path, split: str, *, skipped: Callable[[str, Skipped], None] | None = None
) -> Iterator[tuple[Record, Path]]:
    """The records of a split with the paths of their pictures; `skipped` gets unusable items in folders of sets."""
    if (folder / LOCATION).is_file():
        splits = read_manifest(folder)["splits"]
        if split not in splits:
            listed = ", ".join(splits) or "none"
            raise SplitError(
                f"{quote(folder)} has no split {quote(split)}.{did_you_mean(split, splits)} There are: {listed}."
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
