"""AP-10K and APT-36K: animals with the same 17 points, in COCO json and in COCO-like json over clips."""

from __future__ import annotations

import re
from collections.abc import Iterator

from xpose.data.datasets.converters.base import NameTable, Need, PictureEntry, category_of
from xpose.data.datasets.converters.coco_like import CocoLike
from xpose.data.datasets.sources import Fields, SourceFolder, safe_name
from xpose.errors import DataError
from xpose.records import Skipped, Taxonomy

WHERE = "the home page (ap-10k.zip)"
PARTS = ("train", "val", "test")
# The papers use split 1, so its parts have the plain names; 2 and 3 divide the same pictures differently.
FILES = {
    part if number == 1 else f"{part}-split{number}": f"ap-10k/annotations/ap10k-{part}-split{number}.json"
    for number in (1, 2, 3)
    for part in PARTS
}
PICTURES = "ap-10k/data"
STYLES = {
    1: "grass background",
    2: "forest background",
    3: "mud or rock background",
    4: "snow background",
    5: "zoo or human background",
    6: "swamp background",
    7: "desert background",
    8: "mugshot",
}
ANIMAL = NameTable.underscored("ap10k", {"tail base": "root_of_tail"})

APT_FOLDER = "AP-36k-patr1"
APT_FILE = f"{APT_FOLDER}/apt36k_annotations.json"
APT_PREFIX = re.compile(r".*?AP-36k-patr\d+/", re.IGNORECASE)
# As the file spells animals, and as they are spelt: folders have one or the other.
RESPELLED = {"howling-monkey": "howler-monkey", "raccon": "raccoon", "hourse": "horse"}


class AP10K(CocoLike):
    """Animals of 54 categories in 23 families, 17 points.

    The family is kept as the file states it, also where zoology disagrees (it puts New World monkeys under
    Cercopithecidae). The zero-shot protocol by family chooses `category.taxonomy.family`: Bovidae, Canidae, Felidae.
    """

    name = "ap10k"
    splits = {
        split: "split 1 of three, the one that papers report"
        if split in PARTS
        else "the same pictures parted anew: not to be mixed with split 1"
        for split in FILES
    }
    annotation_files = FILES
    picture_folders = dict.fromkeys(FILES, PICTURES)
    needs = (*(Need(file, WHERE, (split,)) for split, file in FILES.items()), Need(PICTURES, WHERE))
    tables = {"animal": ANIMAL}

    def category_name(self, category: Fields) -> str:
        """The vocabulary's name: "rhino" is a rhinoceros."""
        return category_of(category.text("name"))

    def taxonomy(self, category: Fields) -> Taxonomy:
        """The supercategory is the family."""
        return Taxonomy(family=category.text("supercategory"))

    def style(self, image: Fields) -> str | None:
        """The background; the README does not explain other numbers."""
        return STYLES.get(image.integer("background")) if "background" in image else None

    def picture_licence(self, stated: str) -> str:
        """Both of the licences that are stated."""
        return f"CC-BY-4.0 by its README, {stated} by its annotation file"


class APT36K(CocoLike):
    """Animals of 30 categories in clips of 15 frames; a clip (`group`) must not be divided by a split."""

    name = "apt36k"
    splits = {"train": "everything; by the README's counts. Two public loaders found 35,483 pictures, 53,134 animals"}
    annotation_files = {"train": APT_FILE}
    picture_folders = {"train": APT_FOLDER}
    keypoint_names = tuple(ANIMAL.names)
    crowd_key = "is_crowd"
    needs = (Need(APT_FILE, "the home page (APT-36k.zip)"),)
    tables = {"animal": ANIMAL}

    def table_of(self, category: Fields) -> str:
        """AP-10K's points, which a category that lists its own has to confirm."""
        if "keypoints" in category and tuple(category.list("keypoints")) != self.keypoint_names:
            raise DataError(f"{category.where}: its keypoints are {category.list('keypoints')}, not those of AP-10K")
        return "animal"

    def category_name(self, category: Fields) -> str:
        """The vocabulary's name, after correcting three misspelt ones."""
        name = category.text("name")
        return category_of(RESPELLED.get(name, name))

    def file_name(self, image: Fields, split: str) -> str:
        """`D:\\...\\AP-36k-patr1\\29wolf\\v3c2\\frame7.jpg` without the authors' own drive."""
        name = image.text("file_name").replace("\\", "/")
        return safe_name(f"{APT_FOLDER}/{safe_name(APT_PREFIX.sub('', name, count=1))}")

    def group(self, image: Fields) -> str | None:
        """The clip."""
        return str(image.integer("video_id")) if "video_id" in image else None

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        """One entry per frame, under the name that it has on this disk."""
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
    """The folder's name on this disk with a slash: three animals are misspelt, and five clips unpack differently.

    The name stays as it is in the file if no folder, or more than one, matches.
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
    """Whether `name` is the listed folder with other spelling, or with another tail after its plain letters."""
    start = _plain(listed)
    unpacked = start != listed and name.startswith(start) and not name[len(start) :][:1].isdigit()
    return name in _spellings(listed) or (start != "" and (_plain(name) == start or unpacked))


def _plain(name: str) -> str:
    return re.match(r"[\x20-\x7e]*", name)[0]  # type: ignore[index]


def _spellings(name: str) -> set[str]:
    pairs = [*RESPELLED.items(), *((right, wrong) for wrong, right in RESPELLED.items())]
    return {name.replace(old, new) for old, new in pairs if old in name}
