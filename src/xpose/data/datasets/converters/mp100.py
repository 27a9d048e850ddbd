"""MP-100: 100 categories of eleven sets in five splits, as COCO json whose categories do not name their points.

Folders and categories are called differently (`human_hand` and "hand"), and `amur_tiger_body` holds human faces of AFLW
with 19 points.

Its authors give away annotations only; the pictures are those of eleven sets. They are looked for where the authors ask
to gather them (`images/FOLDER/...`, or `FOLDER/...` as in their README), and then in the original downloads, which need
not be copied: `originals/NAME/...`, NAME being the converter of that set. CarFusion's names cannot be trusted: they
count the sequences in whatever order a machine listed them. With the original beside it, a frame is identified by its
camera and number, and then by the points of the cars in it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from xpose.data.datasets.converters.animalweb import FACE, AnimalWeb
from xpose.data.datasets.converters.ap10k import ANIMAL, AP10K
from xpose.data.datasets.converters.base import Converter, NameTable, Need, PictureEntry, category_of
from xpose.data.datasets.converters.carfusion import CAR, CarFusion, Cars, gt_files, read_cars
from xpose.data.datasets.converters.coco import PERSON, Coco
from xpose.data.datasets.converters.coco_like import CocoImage, CocoLike
from xpose.data.datasets.converters.cub200 import Cub200
from xpose.data.datasets.converters.deepfashion2 import DeepFashion2
from xpose.data.datasets.converters.deepposekit import DesertLocust, VinegarFly
from xpose.data.datasets.converters.keypoint5 import Keypoint5
from xpose.data.datasets.converters.macaquepose import MacaquePose
from xpose.data.datasets.converters.onehand10k import OneHand10K
from xpose.data.datasets.converters.w300 import W300
from xpose.data.datasets.sources import Fields, SourceFolder
from xpose.errors import DataError, quote
from xpose.records import VISIBLE, Instance, LeftRight, Picture, Point, Record, Skipped, replaced

PARTS = ("train", "val", "test")
FILES = {f"split{n}-{part}": f"annotations/mp100_split{n}_{part}.json" for n in range(1, 6) for part in PARTS}
WHERE = {
    "train": "the home page",
    "val": "the home page",
    "test": 'the home page; rename it if it came as "..._test-dev-2017.json"',
}
ORIGINALS = "originals"
NEAR = 1.0  # pixels; CarFusion's authors' converter cuts fractions off


@dataclasses.dataclass(frozen=True)
class Origin:
    """A set that MP-100 takes pictures from."""

    name: str  # of the folder below `originals`
    licence: str
    left_right: LeftRight
    hidden: bool = False  # whether visibility 1 means hidden; elsewhere it only means labelled


def _origin(of: Converter, hidden: bool = False) -> Origin:
    return Origin(of.name, of.licence, of.left_right, hidden)


# What the categories are made of, by the name or the ending of the name.
TABLES: dict[str, tuple[NameTable, Origin]] = {
    "human_body": (PERSON, _origin(Coco(), hidden=True)),
    "human_face": (W300.tables["face"], _origin(W300())),
    "human_hand": (OneHand10K.tables["hand"], _origin(OneHand10K())),
    "amur_tiger_body": (NameTable.from_skeleton("aflw_face"), Origin("aflw", "not stated", "anatomical")),
    "macaque_body": (PERSON, _origin(MacaquePose())),
    "fly_body": (VinegarFly.tables["vinegar fly"], _origin(VinegarFly())),
    "locust_body": (DesertLocust.tables["desert locust"], _origin(DesertLocust())),
    **{kind: (table, _origin(DeepFashion2(), hidden=True)) for kind, table in DeepFashion2.tables.items()},
    **{kind: (table, _origin(Keypoint5())) for kind, table in Keypoint5.tables.items()},
    **{kind: (CAR, _origin(CarFusion(), hidden=True)) for kind in ("car", "bus", "suv")},
    "*_bird": (Cub200.tables["bird"], _origin(Cub200())),
    "*_body": (ANIMAL, _origin(AP10K(), hidden=True)),
    "*_face": (FACE, _origin(AnimalWeb())),
}
BIRDS = ("grebe", "gull", "kingfisher", "sparrow", "tern", "warbler", "woodpecker", "wren")
FOLDERS = {
    **{name.removeprefix("human_"): name for name in ("human_face", "human_hand")},
    **{name.removesuffix("_body"): name for name in ("macaque_body", "fly_body", "locust_body")},
    "person": "human_body",
}
NAMES = {"human_body": "person", "human_face": "face", "human_hand": "hand", "amur_tiger_body": "face"}


class MP100(CocoLike):
    """Each split divides the categories, not the pictures, so splits of different numbers must not be mixed."""

    name = "mp100"
    splits = dict.fromkeys(FILES, "categories that the other parts of this split do not have")
    annotation_files = FILES
    picture_folders = dict.fromkeys(FILES, "")
    needs = (
        *(Need(file, WHERE[split.partition("-")[2]], (split,)) for split, file in FILES.items()),
        Need("images", f"gather them as the authors say, or put (or link) the original sets into {ORIGINALS}/NAME"),
    )
    tables = {key: table for key, (table, _) in TABLES.items()}

    def missing(self, source: SourceFolder, split: str) -> list[Need]:
        """The pictures may also lie in the originals, or straight in the root as the authors' README has it."""
        elsewhere = any(map(source.has, (ORIGINALS, *TABLES)))
        return [need for need in super().missing(source, split) if need.path != "images" or not elsewhere]

    def table_of(self, category: Fields) -> str:
        """By the category's name, whether that is the one of the json files or that of the folder."""
        key = key_of(category.text("name"))
        if key is None:
            raise DataError(f"{category.where}: {quote(category.text('name'))} is not a category of MP-100")
        return key

    def names_of(self, category: Fields) -> tuple[str, ...]:
        """The files give points by position only."""
        return tuple(self.tables[self.table_of(category)].names)

    def category_name(self, category: Fields) -> str:
        """Our name; an animal's face is a category of its own."""
        plain, key = _plain(category.text("name")), self.table_of(category)
        stem = plain.removesuffix("_body").removesuffix("_face").replace("_", " ")
        return NAMES.get(key) or category_of(stem) + (" face" if key == "*_face" else "")

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        """One entry per picture file, with the annotations of all images that the file is used for."""
        pictures = OriginalPictures(source)
        by_place: dict[str, PictureEntry] = {}
        for entry in super().entries(source, split):
            if isinstance(entry, Skipped):
                yield entry
                continue
            key = key_of(entry.name.partition("/")[0])
            try:
                place = pictures.find(entry.name, TABLES[key][1].name if key else None, self._labelled(entry))
                first = by_place.get(place)
                by_place[place] = _joined(first, entry) if first else dataclasses.replace(entry, name=place)
            except DataError as error:
                yield Skipped(f"images/{entry.name}", str(error))
        yield from by_place.values()

    def _labelled(self, entry: PictureEntry) -> Iterator[Mapping[str, Point]]:
        """The points of the well-formed annotations; `record` reports what is wrong with the others."""
        for annotation in entry.data.annotations:
            try:
                fields = Fields(annotation, "annotation")
                yield self.points(fields, entry.data.categories[fields.integer("category_id")].names)
            except (DataError, KeyError):
                continue

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        """The picture with the licence and the left/right rule of the set that it comes from."""
        record = super().record(source, split, entry)
        categories = entry.data.categories
        numbers = [value.get("category_id") for value in entry.data.annotations if isinstance(value, Mapping)]
        tables = [categories[number].table for number in numbers if type(number) is int and number in categories]
        if not tables:
            return record
        origin = TABLES[tables[0]][1]
        licence = f"{self.licence} (MP-100); {origin.name}: {origin.licence}"
        return dataclasses.replace(record, licence=licence, left_right=origin.left_right)

    def instance(self, annotation: Fields, number: str, data: CocoImage, picture: Picture) -> Instance:
        """One annotation; where the source knows no hidden points, 1 only means that the point is labelled."""
        instance = super().instance(annotation, number, data, picture)
        if TABLES[data.categories[annotation.integer("category_id")].table][1].hidden:
            return instance
        points = {name: (x, y, VISIBLE) for name, (x, y, _) in instance.keypoints.items()}
        return replaced(instance, keypoints=points)


def key_of(name: str) -> str | None:
    """The key into `TABLES` of a category or folder."""
    from xpose.vocabulary import find_category

    plain = FOLDERS.get(_plain(name), _plain(name))
    if "*" in plain or plain in TABLES:
        return None if "*" in plain else plain
    if plain.removesuffix("_body") in BIRDS:
        return "*_bird"
    for key in ("*_body", "*_face"):
        if plain.endswith(key[1:]) and plain != key[1:]:
            return key
    category = find_category(plain)  # clothes also go by the names of their own set: "short sleeve top"
    return (
        next((skeleton for skeleton in category.skeletons if skeleton in DeepFashion2.tables), None)
        if category
        else None
    )


def _plain(name: str) -> str:
    return "_".join(name.casefold().split())


def _joined(first: PictureEntry, second: PictureEntry) -> PictureEntry:
    """Two images of the json file that are the same picture."""
    data = first.data
    if any(data.image.get(side) != second.data.image.get(side) for side in ("width", "height")):
        raise DataError(f"it is the picture {quote(first.name)}, for which another size was given before")
    annotations = [*data.annotations, *second.data.annotations]
    return dataclasses.replace(first, data=dataclasses.replace(data, annotations=annotations))


class OriginalPictures:
    """Finds the pictures of MP-100 below one root."""

    def __init__(self, source: SourceFolder) -> None:
        self.source = source
        self._names: dict[str, dict[str, list[str]]] = {}

    def find(self, name: str, origin: str | None, objects: Iterable[Mapping[str, Point]]) -> str:
        """The place of a picture that the file calls `name`, relative to the root.

        `origin` is the set that it comes from, if that is known; `objects` are the points labelled in it.

        Raises:
            DataError: it is nowhere, or several pictures match.
        """
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
        """The pictures of an original by their last name; those of furniture are numbered anew in each folder."""
        place = f"{ORIGINALS}/{origin}/{folder}" if origin == "keypoint-5" else f"{ORIGINALS}/{origin}"
        if place not in self._names:
            by_name = self._names[place] = {}
            for name in self.source.pictures(place, deep=True):
                by_name.setdefault(name.rpartition("/")[2], []).append(name)
        return self._names[place]

    @cached_property
    def _frames(self) -> dict[tuple[int, int], list[tuple[str, str]]]:
        """CarFusion's pictures and their gt files by camera and frame."""
        place = f"{ORIGINALS}/carfusion"
        files = {(*_sequence(name), *_frame(name)): name for name in gt_files(self.source, place)}
        frames: dict[tuple[int, int], list[tuple[str, str]]] = {}
        for name in self.source.pictures(place, deep=True):
            file = files.get((*_sequence(name), *_frame(name)))
            if file is not None:
                frames.setdefault(_frame(name), []).append((name, file))
        return frames

    def _car(self, name: str, objects: Iterable[Mapping[str, Point]]) -> str:
        number = name.rpartition(".")[0]
        if not (number.isascii() and number.isdigit()) or len(number) > 15:
            raise DataError(f"{quote(name)} is not a number as CarFusion's frames have")
        frame = int(number) // 10**5 % 10**3, int(number) % 10**5
        labelled = [points for points in objects if points]
        if not labelled:
            raise DataError("no car in it is labelled, so its frame is unknown")
        candidates = self._frames.get(frame, [])
        matching = [picture for picture, file in candidates if _same_cars(read_cars(self.source, file), labelled)]
        if len(matching) != 1:
            raise DataError(
                f"{len(matching)} of the {len(candidates)} frames {frame[0]}_{frame[1]:05} of CarFusion have its cars"
            )
        return matching[0]


def _sequence(name: str) -> tuple[str, str]:
    """The folders of split and sequence."""
    parts = name.split("/")
    return ("", "") if len(parts) < 4 else (parts[-4], parts[-3])


def _frame(name: str) -> tuple[int, int]:
    """Camera and frame in "16_06401.jpg"; -1 for other names."""
    camera, _, frame = name.rpartition("/")[2].rpartition(".")[0].partition("_")
    plain = (camera + frame).isascii() and camera.isdigit() and frame.isdigit() and len(camera + frame) < 15
    return (int(camera), int(frame)) if plain else (-1, -1)


def _same_cars(cars: Cars, objects: list[Mapping[str, Point]]) -> bool:
    """Whether each object's points are those of one of the cars."""

    def is_same(car: Mapping[str, Point], points: Mapping[str, Point]) -> bool:
        return all(
            name in car and abs(car[name][0] - x) <= NEAR and abs(car[name][1] - y) <= NEAR
            for name, (x, y, _) in points.items()
        )

    return all(any(is_same(car, points) for car in cars.values()) for points in objects)
