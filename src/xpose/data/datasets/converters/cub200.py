"""CUB-200-2011 (`CUB_200_2011/*.txt`, `parts/*.txt`): birds of 200 species, 15 parts, tables joined by ids."""

from __future__ import annotations

from collections.abc import Iterator

from xpose.data.datasets.converters.base import Converter, NameTable, PictureEntry, category_of
from xpose.data.datasets.sources import SourceFolder, parse_numbers
from xpose.errors import DataError, quote
from xpose.records import NOT_LABELLED, VISIBLE, Instance, Point, Record, Skipped, Taxonomy

ROOT = "CUB_200_2011"
PARTS, PLACES = f"{ROOT}/parts/parts.txt", f"{ROOT}/parts/part_locs.txt"
IMAGES, SPLIT, BOXES = f"{ROOT}/images.txt", f"{ROOT}/train_test_split.txt", f"{ROOT}/bounding_boxes.txt"
CLASSES, LABELS = f"{ROOT}/classes.txt", f"{ROOT}/image_class_labels.txt"
FLAGS = {"1": "train", "0": "test"}
BIRD = NameTable.from_skeleton("cub_bird")


class Cub200(Converter):
    """One bird per picture."""

    tables = {"bird": BIRD}

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        is_first = split == "train"  # items without a split are reported there
        parts = _parts(source)
        classes, flags, labels, boxes = (_pairs(source, file) for file in (CLASSES, SPLIT, LABELS, BOXES))
        places, strays = _places(source, parts)
        if is_first:
            yield from strays
        listed = []
        for number, line in enumerate(source.lines(IMAGES), start=1):
            key, _, name = line.strip().partition(" ")
            data = (key, classes.get(labels.get(key, "")), boxes.get(key), places.get(key, {}))
            entry = self.entry_of(f"{ROOT}/images", name, data, f"{IMAGES}: line {number}")
            if isinstance(entry, PictureEntry):
                listed.append(entry.name)
                boxes.pop(key, None)
                places.pop(key, None)
            if FLAGS.get(flags.get(key, ""), "train") != split:
                continue
            if isinstance(entry, PictureEntry) and flags.get(key) not in FLAGS:
                entry = Skipped(entry.name, f"{SPLIT} does not say whether it is for training or for testing")
            yield entry
        if is_first:
            yield from (Skipped(BOXES, f"there is no picture {key}", "object") for key in boxes)
            yield from (Skipped(PLACES, f"there is no picture {key}", "object") for key in places)
            yield from self.unlisted(source, f"{ROOT}/images", listed, deep=True)

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        number, species, box, places = entry.data
        if species is None:
            raise DataError(f"{LABELS} and {CLASSES} do not say what bird it is")
        if box is None:
            raise DataError(f"{BOXES} has no box for it")
        missing = [name for name in BIRD.names if name not in places]
        if missing:
            raise DataError(f"{PLACES} says nothing about {', '.join(map(quote, missing))}")
        picture = source.picture(entry.name)
        x, y, width, height = parse_numbers(box, 4, "its box")
        points = BIRD.unify({name: _point(text, name) for name, text in places.items()})
        # "001.Black_footed_Albatross": the set's own name, not a zoological one, so not used as species
        name = category_of(species.partition(".")[2].replace("_", " ") or species)
        bird = Instance(BIRD.category(name, Taxonomy(class_="Aves")), (x, y, width, height), points)
        return self.make(picture, [bird], split, source_id=number)


def _parts(source: SourceFolder) -> dict[str, str]:
    """The parts' numbers and names; all must be present, since a missing part would go unnoticed."""
    parts = _pairs(source, PARTS)
    BIRD.check(parts.values())
    if sorted(parts.values()) != sorted(BIRD.names):
        raise DataError(f"{quote(PARTS)} names {len(parts)} parts, not all {len(BIRD.names)} once. Fetch it again.")
    return parts


def _pairs(source: SourceFolder, file: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for number, line in enumerate(source.lines(file), start=1):
        key, _, value = line.strip().partition(" ")
        if pairs.setdefault(key, value) != value:
            raise DataError(f"{quote(file)}, line {number}: {quote(key)} occurs twice. Fetch the file again.")
    return pairs


def _places(source: SourceFolder, parts: dict[str, str]) -> tuple[dict[str, dict[str, str]], list[Skipped]]:
    """The rest of each line by picture number and part, and the lines that name no part."""
    places: dict[str, dict[str, str]] = {}
    strays = []
    for number, line in enumerate(source.lines(PLACES), start=1):
        picture, _, rest = line.strip().partition(" ")
        part, _, place = rest.partition(" ")
        if part in parts and parts[part] not in places.get(picture, {}):
            places.setdefault(picture, {})[parts[part]] = place
        elif line.strip():
            strays.append(Skipped(PLACES, f"line {number} names no part, or one that the picture already has", "point"))
    return places, strays


def _point(text: str, name: str) -> Point:
    x, y, visible = parse_numbers(text, 3, f"the part {quote(name)}")
    if visible not in (0, 1):
        raise DataError(f"the part {quote(name)} has visibility {visible:g}, not 0 or 1")
    return (x, y, VISIBLE) if visible else (0.0, 0.0, NOT_LABELLED)
