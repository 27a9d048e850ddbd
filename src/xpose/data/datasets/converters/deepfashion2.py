"""DeepFashion2 (`{train,validation}/{image,annos}/`): a json per picture with one item of clothing or several."""

from __future__ import annotations

from collections.abc import Iterator

from xpose.data.datasets.converters.base import (
    LOADER_ONLY,
    Converter,
    Entry,
    Expected,
    NameTable,
    Need,
    read_each,
    stem_of,
)
from xpose.data.datasets.converters.names import category_of, names_in
from xpose.data.datasets.sources import Fields, Source
from xpose.errors import DataError
from xpose.records import Instance, Record, Skipped

WHERE = "the home page (its authors give the password of the zip files on request)"
FOLDERS = {"train": "train", "validation": "validation"}
ABOUT_THE_PICTURE = ("source", "pair_id")  # every other key is an item
# The skeletons by the category numbers of the files, which spell the names in several ways.
SKELETONS = dict(
    enumerate(
        (
            *("short_sleeved_shirt", "long_sleeved_shirt", "short_sleeved_outwear", "long_sleeved_outwear"),
            *("vest", "sling", "shorts", "trousers", "skirt"),
            *("short_sleeved_dress", "long_sleeved_dress", "vest_dress", "sling_dress"),
        ),
        start=1,
    )
)


def _numbered(skeleton: str) -> NameTable:
    """The points in the order of their numbers, which is all that the files know them by."""
    names = names_in(skeleton)
    return NameTable(skeleton, {number: names[number] for number in sorted(names, key=int)})


class DeepFashion2(Converter):
    """Clothes of 13 kinds with 8 to 39 points."""

    name = "deepfashion2"
    title = "DeepFashion2"
    licence = "on request from the authors, non-commercial"
    terms = "what the request form says"
    homepage = "https://github.com/switchablenorms/DeepFashion2"
    status = LOADER_ONLY
    left_right = "anatomical"
    origin = "not stated; taken as 0-based"
    visibility = "as in the file: 2 visible, 1 labelled but hidden"
    boxes = "as in the file (corners)"
    evaluation = "the papers use its 13 kinds as categories of MP-100; its test part has no public labels"
    expected = Expected(splits={"train": 191_961, "validation": 32_153})
    splits = {"train": "train", "validation": "validation"}
    needs = tuple(
        Need(f"{folder}/{part}", WHERE, (split,)) for split, folder in FOLDERS.items() for part in ("annos", "image")
    )
    tables = {skeleton: _numbered(skeleton) for skeleton in SKELETONS.values()}

    def entries(self, source: Source, split: str) -> Iterator[Entry | Skipped]:
        """One entry per picture with a json file of the same number."""
        folder = FOLDERS[split]
        pictures = source.pictures(f"{folder}/image")
        return self.paired(source, pictures, source.files(f"{folder}/annos", (".json",)), _number)

    def record(self, source: Source, split: str, entry: Entry) -> Record:
        """One picture with its items."""
        content = Fields(source.json(entry.data), entry.data)
        picture = source.picture(entry.name)
        values = [(key, value) for key, value in content.value.items() if key not in ABOUT_THE_PICTURE]
        items, dropped = read_each(
            entry.name, values, lambda item, _: self._item(Fields(item[1], f"{entry.data}: {item[0]}"), item[0])
        )
        if not items and not dropped:
            raise DataError(f"{entry.data} holds no item")
        return self.make(picture, items, split, dropped=dropped)

    def _item(self, fields: Fields, key: str) -> Instance:
        number = fields.integer("category_id")
        if number not in SKELETONS:
            raise DataError(f"{fields.where}: category_id is {number}, not 1 to {len(SKELETONS)}")
        table = self.tables[SKELETONS[number]]
        left, top, right, bottom = fields.numbers("bounding_box", 4)
        points = table.unify(fields.points("landmarks", tuple(table.names)))
        category = table.category(category_of(SKELETONS[number]))
        return Instance(category, (left, top, right - left, bottom - top), points, source_id=key)


def _number(name: str) -> str:
    return stem_of(name).rpartition("/")[2]
