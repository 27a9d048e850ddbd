"""All labels of a training run in flat arrays: 400,000 objects in about 150 MB, shared by workers without copying.

A picture goes by its number in the pool. Records come from prepared sets, collections, shards and folders of sets:

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
from xpose.data.loading.place import Place, content_of
from xpose.data.loading.samples import Kind, Labels
from xpose.errors import DataError, SplitError, counted, did_you_mean, quote
from xpose.records import Record, Skipped

if TYPE_CHECKING:
    from xpose.vocabulary import Skeleton

Keep = Callable[[Record], Record | None]
_SHOWN_REASONS = 3


class _Texts:
    """Many texts in one array of bytes."""

    def __init__(self, texts: Sequence[str]) -> None:
        coded = [text.encode("utf-8", "surrogatepass") for text in texts]
        self.content = np.frombuffer(b"".join(coded), np.uint8)
        self.start = np.concatenate(([0], np.cumsum([len(text) for text in coded], dtype=np.int64)))

    def __getitem__(self, number: int) -> str:
        part = self.content[self.start[number] : self.start[number + 1]]
        return part.tobytes().decode("utf-8", "surrogatepass")


class Pool:
    """Pictures by number with their labels. `kinds` and `sets` are what the numbers in the arrays mean."""

    def __init__(
        self,
        records: Iterable[tuple[Record, Place]],
        flips: Mapping[str, Mapping[str, str]] | None = None,
        labelling: Mapping[str, Labelling] | None = None,
    ) -> None:
        """Take the records in; nothing of them is kept but numbers and names.

        `flips` has the mirror names of skeletons that are not in the vocabulary, `labelling` what the folders say of
        what their sets label.

        Raises:
            DataError: there is none.
        """
        kinds: dict[Kind, int] = {}
        known: dict[object, int] = {}  # a record's category to its kind, to spare the look-up of the mirror names
        sets: dict[str, int] = {}
        styles: dict[str | None, int] = {}
        files: list[str] = []
        paths: dict[str, int] = {}
        pictures, places = array("q"), array("q")  # set, style, width, height, instances; path, offset, length
        instances, numbers, points = array("q"), array("f"), array("f")  # kind, crowd; box, fill; x, y, v
        for record, place in records:
            pictures.extend(
                (
                    sets.setdefault(record.source, len(sets)),
                    styles.setdefault(record.style, len(styles)),
                    record.picture.width,
                    record.picture.height,
                    len(record.instances),
                )
            )
            files.append(record.picture.file)
            places.extend((paths.setdefault(place.path, len(paths)), place.offset, place.length))
            for instance in record.instances:
                category = instance.category
                number = known.get(category)
                if number is None:
                    own = (flips or {}).get(category.skeleton)
                    kind = Kind.of(category.name, category.skeleton, category.keypoints, category.edges, own)
                    number = known[category] = kinds.setdefault(kind, len(kinds))
                x, y, width, height = instance.box
                area = instance.area or width * height  # an area of 0 says nothing either
                instances.extend((number, instance.iscrowd))
                numbers.extend((x, y, x + width, y + height, min(1.0, area / (width * height))))
                for name in category.keypoints:
                    px, py, v = instance.point(name)
                    points.extend((px + 0.5, py + 0.5, v) if v else (0.0, 0.0, 0.0))
        if not files:
            raise DataError("There is no labelled picture. A pool needs at least one. Check the sets and the split.")
        self.kinds, self.sets = tuple(kinds), tuple(sets)
        self.labelling = {name: one for name, one in (labelling or {}).items() if name in sets}
        self.styles = tuple(styles)
        self.lengths = np.array([len(kind) for kind in self.kinds], np.int64)
        self._paths, self._files = _Texts(list(paths)), _Texts(files)
        table = np.array(pictures, np.int64).reshape(-1, 5)
        self.set_of, self._style = table[:, 0].astype(np.int32), table[:, 1].astype(np.int32)
        self._size = table[:, 2:4].astype(np.int32)
        self.first = np.concatenate(([0], np.cumsum(table[:, 4])))  # instance numbers of picture i: first[i]:first[i+1]
        self._place = np.array(places, np.int64).reshape(-1, 3)
        pairs = np.array(instances, np.int64).reshape(-1, 2)
        self.kind_of, self.crowd = pairs[:, 0].astype(np.int32), pairs[:, 1].astype(bool)
        measures = np.array(numbers, np.float32).reshape(-1, 5)
        self.boxes, self._fill = measures[:, :4].copy(), measures[:, 4].copy()
        self._points = np.array(points, np.float32).reshape(-1, 3)
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
            self._fill[first:last].copy(),
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
        return self._paths[int(self._place[number, 0])]

    def content(self, number: int) -> bytes:
        """The bytes of the picture's file.

        Raises:
            DataError: it cannot be read.
        """
        _, offset, length = self._place[number].tolist()
        return content_of(Place(self.path(number), offset, length), self.file(number))


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
        places: folders of prepared sets, of a collection, of shards, or folders of sets.
        split: its name.
        only: the sets to take; all where empty.
        without: sets to leave out.
        keep: gives back the record to take, changed or not, or None to leave it out.
        skipped: is told the set and whatever of a folder of sets cannot be used.

    Raises:
        DataError: nothing is left to train on, a folder holds no such split, or a name in `only` or `without` is no
            set.
    """
    wanted, unwanted = set(only), set(without)
    seen: set[str] = set()
    unusable: list[str] = []

    def skip(source: str, one: Skipped) -> None:
        if one.what == "picture":
            unusable.append(f"{source}/{one.file}: {one.reason}")
        if skipped is not None and (not wanted or source in wanted) and source not in unwanted:
            skipped(source, one)

    def chosen() -> Iterator[tuple[Record, Place]]:
        for folder in places:
            for record, place in read_places(Path(folder), split, skipped=skip):
                seen.add(record.source)
                if (wanted and record.source not in wanted) or record.source in unwanted:
                    continue
                kept = record if keep is None else keep(record)
                if kept is not None:
                    yield kept, place

    records = chosen()
    first = next(records, None)
    if first is None and not seen:
        raise DataError(
            f"No picture of the split {quote(split)} in {', '.join(quote(p) for p in places)} can be used. At least "
            f"one is needed.{_reasons(unusable) or ' The split is empty: choose another one.'}"
        )
    pool = None if first is None else Pool(chain([first], records), own_flips(places), labelling_beside(places))
    for name in sorted((wanted | unwanted) - seen):
        raise DataError(
            f"There is no set {quote(name)}.{did_you_mean(name, seen)} There are: {', '.join(sorted(seen))}."
        )
    if pool is None:
        raise DataError(
            f"Every picture was left out. At least one has to stay. Check what is left out.{_reasons(unusable)}"
        )
    return pool


def _reasons(unusable: Sequence[str]) -> str:
    """The first pictures that cannot be used, with what is wrong with them."""
    if not unusable:
        return ""
    first = "; ".join(reason.rstrip(". ") for reason in unusable[:_SHOWN_REASONS])
    more = "; ..." if len(unusable) > _SHOWN_REASONS else ""
    return f" {counted(len(unusable), 'picture')} cannot be used: {first}{more}. Mend them."


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
    from xpose.data.loading.shards import is_sharded

    if (folder / LOCATION).is_file():
        return imported_skeletons(folder)
    if is_sharded(folder) or not is_folder_of_sets(folder):
        return {}
    return {name: skeleton for one in folder_sets(folder) for name, skeleton in one.skeletons.items()}


def read_places(
    folder: Path, split: str, *, skipped: Callable[[str, Skipped], None] | None = None
) -> Iterator[tuple[Record, Place]]:
    """The records of a split, and where the bytes of their pictures are.

    `skipped` is told the set and whatever of a folder of sets is left out (prepared sets told it when they were made).

    Raises:
        DataError: the folder holds no sets, or no such split, or a file is damaged.
    """
    from xpose.data.collection.manifest import LOCATION, read_manifest
    from xpose.data.collection.places import Places
    from xpose.data.collection.store import CocoSet
    from xpose.data.datasets.folder_sets import is_folder_of_sets, no_sets, read_folder_sets
    from xpose.data.datasets.sources import Source
    from xpose.data.loading.shards import is_sharded, read_shards

    if is_sharded(folder):
        yield from read_shards(folder, split)
    elif (folder / LOCATION).is_file():
        found = read_manifest(folder)["splits"]
        if split not in found:
            raise SplitError(
                f"{quote(folder)} has no split {quote(split)}.{did_you_mean(split, found)} There are: "
                f"{', '.join(found) or 'none'}."
            )
        places = Places(folder)
        for record in CocoSet(folder / f"{split}.json"):
            yield record, Place(str(places.path(record.picture)))
    elif is_folder_of_sets(folder):
        sources: dict[str, Source] = {}
        for record in read_folder_sets(folder, split, skipped=skipped):
            source = sources.setdefault(record.source, Source(folder / record.source))
            yield record, Place(str(source.path(record.picture.file)))
    else:
        raise no_sets(folder)
