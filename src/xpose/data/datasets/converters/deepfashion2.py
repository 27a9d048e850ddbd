"""DeepFashion2 (`{train,validation}/{image,annos}/`): a json per picture with one or more items of clothing."""

from __future__ import annotations

from collections.abc import Iterator

from xpose.data.datasets.converters.base import Converter, NameTable, PictureEntry, category_of, stem_of
from xpose.data.datasets.sources import Fields, SourceFolder
from xpose.errors import DataError
from xpose.records import Instance, Record, Skipped

ABOUT_THE_PICTURE = ("source", "pair_id")  # every other key is an item
_SHIRTS = ("short_sleeved_shirt", "long_sleeved_shirt", "short_sleeved_outwear", "long_sleeved_outwear")
_OTHERS = ("vest", "sling", "shorts", "trousers", "skirt")
_DRESSES = ("short_sleeved_dress", "long_sleeved_dress", "vest_dress", "sling_dress")
SKELETONS = dict(enumerate((*_SHIRTS, *_OTHERS, *_DRESSES), start=1))  # by the category numbers of the files


def _numbered(skeleton: str) -> NameTable:
    """The points in numerical order; the files name them only by number."""
    names = NameTable.from_skeleton(skeleton).names
    return NameTable(skeleton, {number: names[number] for number in sorted(names, key=int)})


class DeepFashion2(Converter):
    """Clothes of 13 kinds with 8 to 39 points."""

    tables = {skeleton: _numbered(skeleton) for skeleton in SKELETONS.values()}

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        pictures, files = source.pictures(f"{split}/image"), source.files(f"{split}/annos", (".json",))
        return self.paired(source, pictures, files, lambda name: stem_of(name).rpartition("/")[2])

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        content = Fields(source.json(entry.data), entry.data)
        picture = source.picture(entry.name)
        keys = [key for key in content.value if key not in ABOUT_THE_PICTURE]
        items, dropped = self.read_each(
            entry.name, keys, lambda key, _: self._item(Fields(content.value[key], f"{entry.data}: {key}"), key)
        )
        if not items and not dropped:
            raise DataError(f"{entry.data} holds no item")
        return self.make(picture, items, split, dropped=dropped)

    def _item(self, fields: Fields, key: str) -> Instance:
        number = fields.integer("category_id")
        if number not in SKELETONS:
            raise DataError(f"{fields.where}: category_id is {number}, not 1 to {len(SKELETONS)}")
        skeleton = SKELETONS[number]
        table = self.tables[skeleton]
        left, top, right, bottom = fields.numbers("bounding_box", 4)
        points = table.unify(fields.points("landmarks", tuple(table.names)))
        category = table.category(category_of(skeleton))
        return Instance(category, (left, top, right - left, bottom - top), points, source_id=key)
