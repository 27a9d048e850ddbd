"""The annotation file behind a set, and the ids by which COCO results files speak of its pictures and categories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from xpose.errors import DataError, quote
from xpose.evaluation.coco_truth import CocoTruth, read_truth
from xpose.evaluation.data import HELD_OUT, Data
from xpose.records import Category, Record
from xpose.vocabulary import find_category


@dataclass(frozen=True)
class Labels:
    """An annotation file; `ids` are its image ids by the picture's name in the set."""

    path: Path
    truth: CocoTruth
    ids: Mapping[str, int]

    @classmethod
    def read(cls, path: str | Path) -> Labels:
        """From a COCO file.

        Raises:
            DataError: it is damaged.
        """
        truth = read_truth(path)
        return cls(Path(path), truth, {_bare(record.picture.file): number for number, record in truth})

    @property
    def categories(self) -> Mapping[int, Category]:
        """By id, called as records call them."""
        return {number: replace(one, name=unified_name(one.name)) for number, one in self.truth.categories.items()}

    def id_of(self, record: Record) -> int:
        """The image id of a picture.

        Raises:
            DataError: the file does not have it.
        """
        found = self.ids.get(_bare(record.picture.file))
        if found is None and record.source_id is not None and record.source_id.isdecimal():
            number = int(record.source_id)
            found = number if number in self.truth.records else None
        if found is None:
            raise DataError(
                f"{quote(self.path)} has no picture {quote(record.picture.file)} of {quote(record.source)}. Labels and "
                "data must be the same set and split. Give the right file with --labels."
            )
        return found


def unified_name(name: str) -> str:
    """What records call a category of an annotation file: the vocabulary's name, where it has one."""
    found = find_category(name)
    return found.name if found else name


def _bare(file: str) -> str:
    """Folder sets name their pictures without the folder `images` in the file, and with it in records."""
    return file.removeprefix("images/")


def labels_of(data: Data, source: str, split: str) -> Path | None:
    """The annotation file of a set's split in the given folders; None for collections."""
    stored = "train" if split == HELD_OUT else split
    for folder in data.places:
        for place in (folder / source, folder):
            path = place / f"{stored}.json"
            if path.is_file() and (place.name == source or _is_set_of(place, source)):
                return path
    return None


def _is_set_of(folder: Path, source: str) -> bool:
    from xpose.data.collection.manifest import MANIFEST, read_manifest

    return (folder / MANIFEST).is_file() and read_manifest(folder).get("name") == source
