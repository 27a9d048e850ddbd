"""MP-100: 100 categories of eleven sets in five splits, as COCO json whose categories do not name their points.

Folder and category names differ (`human_hand` and "hand"), and `amur_tiger_body` contains human faces of AFLW with 19
points. The pictures come from eleven sets: they are searched for in the folders that the authors ask for
(`images/FOLDER/...`, or `FOLDER/...` as in their README), and then in the originals, `originals/NAME/...`.
CarFusion's names are unreliable, because they number the sequences in the order in which one machine listed them. If
the original is available, a frame is identified by camera and number, and then by the points of its cars.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from xpose.data.datasets.converters.base import HOME, Converter, NameTable, Need, PictureEntry, category_of
from xpose.data.datasets.converters.carfusion import CAR, CarFusion, Cars, gt_files, read_cars, sequence_of
from xpose.data.datasets.converters.coco import ANIMAL, AP10K, PERSON, Coco
from xpose.data.datasets.converters.coco_like import CocoCategory, CocoImage, CocoLike
from xpose.data.datasets.converters.cub200 import Cub200
from xpose.data.datasets.converters.deepfashion2 import DeepFashion2
from xpose.data.datasets.converters.deepposekit import DesertLocust, VinegarFly
from xpose.data.datasets.converters.faces_and_hands import ANIMAL_FACE, W300, AnimalWeb, OneHand10K
from xpose.data.datasets.converters.keypoint5 import Keypoint5
from xpose.data.datasets.converters.macaquepose import MacaquePose
from xpose.data.datasets.sources import Fields, SourceFolder, grouped
from xpose.errors import DataError, quote
from xpose.records import VISIBLE, Instance, Picture, Point, Record, Skipped, replaced
from xpose.vocabulary import find_category

PARTS = ("train", "val", "test")
FILES = {f"split{n}-{part}": f"annotations/mp100_split{n}_{part}.json" for n in range(1, 6) for part in PARTS}
WHERE = f'{HOME}; rename the file if it came as "..._test-dev-2017.json"'
ORIGINALS = "originals"
NEAR = 1.0  # pixels; the CarFusion authors' converter truncates


class Aflw(Converter):
    """The face dataset that has no converter."""

    name = "aflw"
    left_right = "anatomical"


# Names and origin of the categories, by name or end of the name.
TABLES: dict[str, tuple[NameTable, Converter]] = {
    "human_body": (PERSON, Coco()),
    "human_face": (W300.tables["face"], W300()),
    "human_hand": (OneHand10K.tables["hand"], OneHand10K()),
    "amur_tiger_body": (NameTable.from_skeleton("aflw_face"), Aflw()),
    "macaque_body": (PERSON, MacaquePose()),
    "fly_body": (VinegarFly.tables["vinegar fly"], VinegarFly()),
    "locust_body": (DesertLocust.tables["desert locust"], DesertLocust()),
    **{kind: (table, DeepFashion2()) for kind, table in DeepFashion2.tables.items()},
    **{kind: (table, Keypoint5()) for kind, table in Keypoint5.tables.items()},
    **{kind: (CAR, CarFusion()) for kind in ("car", "bus", "suv")},
    "*_bird": (Cub200.tables["bird"], Cub200()),
    "*_body": (ANIMAL, AP10K()),
    "*_face": (ANIMAL_FACE, AnimalWeb()),
}
TELL_HIDDEN = (Coco, DeepFashion2, CarFusion, AP10K)  # elsewhere visibility 1 only means labelled
BIRDS = ("grebe", "gull", "kingfisher", "sparrow", "tern", "warbler", "woodpecker", "wren")
FOLDERS = {
    **{name.removeprefix("human_"): name for name in ("human_face", "human_hand")},
    **{name.removesuffix("_body"): name for name in ("macaque_body", "fly_body", "locust_body")},
    "person": "human_body",
}
NAMES = {"human_body": "person", "human_face": "face", "human_hand": "hand", "amur_tiger_body": "face"}


class MP100(CocoLike):
    """Each split divides the categories, not the pictures, so splits of different numbers must not be mixed."""

    splits = dict.fromkeys(FILES, "categories that the other parts of this split do not have")
    annotation_files = FILES
    needs = (
        *(Need(file, WHERE, (split,)) for split, file in FILES.items()),
        Need("images", f"gather them as the authors say, or put (or link) the original sets into {ORIGINALS}/NAME"),
    )
    tables = {key: table for key, (table, _) in TABLES.items()}

    def missing(self, source: SourceFolder, split: str) -> list[Need]:
        """The pictures can also be in the originals, or directly in the root as in the authors' README."""
        elsewhere = any(map(source.has, (ORIGINALS, *TABLES)))
        return [need for need in super().missing(source, split) if need.path != "images" or not elsewhere]

    def table_of(self, category: Fields) -> str:
        """Chosen by the category's name, in the form of the json files or of the folder."""
        key = key_of(category.text("name"))
        if key is None:
            raise DataError(f"{category.where}: {quote(category.text('name'))} is not a category of MP-100")
        return key

    def names_of(self, category: Fields) -> tuple[str, ...]:
        return tuple(self.tables[self.table_of(category)].names)

    def category_name(self, category: Fields) -> str:
        """Unified name; an animal's face is its own category."""
        plain, key = _plain(category.text("name")), self.table_of(category)
        stem = plain.removesuffix("_body").removesuffix("_face").replace("_", " ")
        return NAMES.get(key) or category_of(stem) + (" face" if key == "*_face" else "")

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        """One entry per picture file, with the annotations of all images that use the file."""
        pictures = OriginalPictures(source)
        by_place: dict[str, PictureEntry] = {}
        for entry in super().entries(source, split):
            if isinstance(entry, Skipped):
                yield entry
                continue
            key = key_of(entry.name.partition("/")[0])
            try:
                objects = [points for _, points in self._labelled(entry)]
                place = pictures.find(entry.name, TABLES[key][1].name if key else None, objects)
                first = by_place.get(place)
                by_place[place] = _joined(first, entry) if first else dataclasses.replace(entry, name=place)
            except DataError as error:
                yield Skipped(f"images/{entry.name}", str(error))
        yield from by_place.values()

    def _labelled(self, entry: PictureEntry) -> Iterator[tuple[CocoCategory, Mapping[str, Point]]]:
        """Category and points of the well-formed annotations; `instances` reports the others."""
        for annotation in entry.data.annotations:
            with contextlib.suppress(DataError):
                fields = Fields(annotation, "annotation")
                category = entry.data.category_of(fields)
                yield category, self.points(fields, category.names)

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        """The picture with the licence and the left/right rule of its source set."""
        record = super().record(source, split, entry)
        category = next((category for category, _ in self._labelled(entry)), None)
        if category is None:
            return record
        origin = TABLES[category.table][1]
        licence = f"{self.licence} (MP-100); {origin.name}: {origin.licence}"
        return dataclasses.replace(record, licence=licence, left_right=origin.left_right)

    def instance(self, annotation: Fields, number: str, data: CocoImage, picture: Picture) -> Instance:
        """One annotation; if the source has no hidden points, 1 only means that the point is labelled."""
        instance = super().instance(annotation, number, data, picture)
        if isinstance(TABLES[data.category_of(annotation).table][1], TELL_HIDDEN):
            return instance
        points = {name: (x, y, VISIBLE) for name, (x, y, _) in instance.keypoints.items()}
        return replaced(instance, keypoints=points)


def key_of(name: str) -> str | None:
    """The key into `TABLES` of a category or folder."""
    plain = FOLDERS.get(_plain(name), _plain(name))
    if "*" in plain:
        return None
    if plain in TABLES:
        return plain
    if plain.removesuffix("_body") in BIRDS:
        return "*_bird"
    for key in ("*_body", "*_face"):
        if plain.endswith(key[1:]) and plain != key[1:]:
            return key
    category = find_category(plain)  # clothes can have their own set's names: "short sleeve top"
    return next((name for name in (category.skeletons if category else ()) if name in DeepFashion2.tables), None)


def _plain(name: str) -> str:
    return "_".join(name.casefold().split())


def _joined(first: PictureEntry, second: PictureEntry) -> PictureEntry:
    data = first.data
    if any(data.image.get(side) != second.data.image.get(side) for side in ("width", "height")):
        raise DataError(f"it is the picture {quote(first.name)}, for which another size was given before")
    annotations = [*data.annotations, *second.data.annotations]
    return dataclasses.replace(first, data=dataclasses.replace(data, annotations=annotations))


class OriginalPictures:
    """The pictures of MP-100 below one root."""

    def __init__(self, source: SourceFolder) -> None:
        self.source = source
        self._names: dict[str, dict[str, list[str]]] = {}

    def find(self, name: str, origin: str | None, objects: Iterable[Mapping[str, Point]]) -> str:
        """The path of the picture `name` of the set `origin` (if known), with `objects` labelled in it."""
        folder, _, rest = name.partition("/")
        if origin == "carfusion" and self._frames:
            return self._car(rest or folder, objects)
        for place in (f"images/{name}", name, f"{ORIGINALS}/{origin}/{rest or folder}"):
            if self.source.path(place).is_file():
                return place
        alike = self._by_name(origin, folder).get(name.rpartition("/")[2], []) if origin else []
        if len(alike) > 1:
            raise DataError(f"the original has {len(alike)} pictures of that name: {', '.join(alike[:3])}")
        if not alike:
            raise DataError(f"the picture is neither in images nor in {ORIGINALS}/{origin or 'NAME'}")
        return alike[0]

    def _by_name(self, origin: str, folder: str) -> dict[str, list[str]]:
        """The pictures of an original by file name; furniture pictures are numbered anew in each folder."""
        place = f"{ORIGINALS}/{origin}/{folder}" if origin == "keypoint-5" else f"{ORIGINALS}/{origin}"
        if place not in self._names:
            names = self.source.pictures(place, deep=True)
            self._names[place] = grouped((name.rpartition("/")[2], name) for name in names)
        return self._names[place]

    @cached_property
    def _frames(self) -> dict[tuple[int, int], list[tuple[str, str]]]:
        place = f"{ORIGINALS}/carfusion"
        files = {(sequence_of(name), _frame(name)): name for name in gt_files(self.source, place)}
        keys = {name: (sequence_of(name), _frame(name)) for name in self.source.pictures(place, deep=True)}
        return grouped((key[1], (name, files[key])) for name, key in keys.items() if key in files)

    def _car(self, name: str, objects: Iterable[Mapping[str, Point]]) -> str:
        number = name.rpartition(".")[0]
        if not re.fullmatch("[0-9]{1,15}", number):
            raise DataError(f"{quote(name)} is not a number as CarFusion's frames have")
        frame = int(number) // 10**5 % 10**3, int(number) % 10**5
        labelled = [points for points in objects if points]
        if not labelled:
            raise DataError("no car in it is labelled, so its frame is unknown")
        candidates = self._frames.get(frame, [])
        matching = [picture for picture, file in candidates if _same_cars(read_cars(self.source, file), labelled)]
        if len(matching) != 1:
            name = f"{frame[0]}_{frame[1]:05}"
            raise DataError(f"{len(matching)} of the {len(candidates)} frames {name} of CarFusion have its cars")
        return matching[0]


def _frame(name: str) -> tuple[int, int]:
    """Camera and frame in "16_06401.jpg"; -1 for other names."""
    match = re.fullmatch("([0-9]{1,7})_([0-9]{1,7})", name.rpartition("/")[2].rpartition(".")[0])
    return (int(match[1]), int(match[2])) if match else (-1, -1)


def _same_cars(cars: Cars, objects: list[Mapping[str, Point]]) -> bool:
    def is_near(a: Point, b: Point) -> bool:
        return abs(a[0] - b[0]) <= NEAR and abs(a[1] - b[1]) <= NEAR

    def is_same(car: Mapping[str, Point], points: Mapping[str, Point]) -> bool:
        return all(name in car and is_near(car[name], point) for name, point in points.items())

    return all(any(is_same(car, points) for car in cars.values()) for points in objects)
