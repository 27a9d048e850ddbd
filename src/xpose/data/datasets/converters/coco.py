"""Sets in COCO json: COCO persons, Human-Art, and AP-10K and APT-36K with the same 17 points of animals."""

from __future__ import annotations

import re
from collections.abc import Iterator

from xpose.data.datasets.converters.base import NameTable, PictureEntry, category_of
from xpose.data.datasets.converters.coco_like import CocoLike
from xpose.data.datasets.sources import Fields, SourceFolder, safe_name
from xpose.errors import DataError
from xpose.records import Point, Skipped, Taxonomy

PERSON = NameTable.underscored("person")  # shared by all originals with COCO's 17 points
BACKGROUNDS = ("grass", "forest", "mud or rock", "snow", "zoo or human", "swamp", "desert")
AP10K_STYLES = {**{number: f"{place} background" for number, place in enumerate(BACKGROUNDS, start=1)}, 8: "mugshot"}
ANIMAL = NameTable.from_file("ap10k", "ap10k")

APT_FOLDER = "AP-36k-patr1"
APT_PREFIX = re.compile(r".*?AP-36k-patr\d+/", re.IGNORECASE)
# The file's and the right spelling of animals; folders use either.
APT_RESPELLED = {"howling-monkey": "howler-monkey", "raccon": "raccoon", "hourse": "horse"}


class Coco(CocoLike):
    """Persons with 17 points; pictures without a person are kept, since COCO labels every person."""

    own_folders = True
    tables = {"person": PERSON}


class HumanArt(CocoLike):
    """Persons in photographs, paintings, cartoons, sculptures and other scenes; the scene is the record's style."""

    tables = {"person": NameTable.underscored("humanart_person")}

    def points(self, annotation: Fields, names: tuple[str, ...]) -> dict[str, Point]:
        """All 21 points; `keypoints` repeats the first 17."""
        return annotation.points("keypoints_21", names)

    def style(self, image: Fields) -> str | None:
        """The scene: "digital art", "acrobatics", ..."""
        return image.text("category").replace("_", " ") if "category" in image else None


class AP10K(CocoLike):
    """Animals of 54 categories in 23 families, 17 points.

    The family is kept from the file, even if zoologically wrong (it puts New World monkeys under Cercopithecidae).
    The zero-shot protocol by family selects by `category.taxonomy.family`: Bovidae, Canidae, Felidae.
    """

    tables = {"animal": ANIMAL}
    licence_form = "CC-BY-4.0 by its README, {} by its annotation file"

    def category_name(self, category: Fields) -> str:
        return category_of(category.text("name"))

    def taxonomy(self, category: Fields) -> Taxonomy:
        return Taxonomy(family=category.text("supercategory"))

    def style(self, image: Fields) -> str | None:
        """The background; the README does not explain other numbers."""
        return AP10K_STYLES.get(image.integer("background")) if "background" in image else None


class APT36K(CocoLike):
    """Animals of 30 categories in clips of 15 frames; a clip (`group`) must not be divided by a split."""

    region_keys = ("is_crowd",)
    tables = {"animal": ANIMAL}

    def names_of(self, category: Fields) -> tuple[str, ...]:
        """AP-10K's points; a category that lists points must list these."""
        if "keypoints" in category and category.list("keypoints") != list(ANIMAL.names):
            raise DataError(f"{category.where}: its keypoints are {category.list('keypoints')}, not those of AP-10K")
        return tuple(ANIMAL.names)

    def category_name(self, category: Fields) -> str:
        name = category.text("name")
        return category_of(APT_RESPELLED.get(name, name))

    def file_name(self, image: Fields, split: str) -> str:
        """`D:\\...\\AP-36k-patr1\\29wolf\\v3c2\\frame7.jpg` without the authors' own drive."""
        name = image.text("file_name").replace("\\", "/")
        return safe_name(f"{APT_FOLDER}/{safe_name(APT_PREFIX.sub('', name, count=1))}")

    def group(self, image: Fields) -> str | None:
        return str(image.integer("video_id")) if "video_id" in image else None

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        """One entry per frame, with its file name on this disk."""
        places = {"": ""}  # folder in the file -> folder on this disk
        listed = []
        for entry in super().entries(source, split):
            if isinstance(entry, PictureEntry):
                folder, _, file = entry.name.rpartition("/")
                entry = PictureEntry(f"{_place_of(folder, source, places)}{file}", entry.data)
                listed.append(entry.name)
            yield entry
        yield from self.unlisted(source, APT_FOLDER, listed, deep=True)


def _place_of(folder: str, source: SourceFolder, places: dict[str, str]) -> str:
    """The folder's name on this disk and a slash; three animals are misspelt, and five clips unpack differently.

    The file's name is kept unless exactly one folder matches.
    """
    if folder not in places:
        parent, _, last = folder.rpartition("/")
        parent = _place_of(parent, source, places)
        place = source.path(parent) if parent else source.root
        names = {path.name for path in place.iterdir() if path.is_dir()} if parent and place.is_dir() else {last}
        similar = [last] if last in names else [name for name in sorted(names) if _is_same_folder(name, last)]
        places[folder] = f"{parent}{similar[0] if len(similar) == 1 else last}/"
    return places[folder]


def _is_same_folder(name: str, listed: str) -> bool:
    """Whether `name` is the listed folder in another spelling, or equals its ASCII start."""
    pairs = [*APT_RESPELLED.items(), *((right, wrong) for wrong, right in APT_RESPELLED.items())]
    spellings = {listed.replace(old, new) for old, new in pairs if old in listed}
    start = _plain(listed)
    unpacked = start != listed and name.startswith(start) and not name[len(start) :][:1].isdigit()
    return name in spellings or (start != "" and (_plain(name) == start or unpacked))


def _plain(name: str) -> str:
    return re.match(r"[\x20-\x7e]*", name)[0]  # type: ignore[index]
