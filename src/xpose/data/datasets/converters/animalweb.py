"""AnimalWeb (`animal_dataset_v1_clean_check/SPECIES_N.{jpg,pts}`): one file of 9 points per animal's face."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator

from xpose.data.datasets.converters.base import Converter, NameTable, Need, PictureEntry, category_of, stem_of
from xpose.data.datasets.converters.w300 import read_pts
from xpose.data.datasets.sources import SourceFolder
from xpose.records import Instance, Picture, Record, Skipped

FOLDER = "animal_dataset_v1_clean_check"

# The files give points by position only; the sides are the animal's own.
FACE = NameTable.from_skeleton("animal_face")


class AnimalWeb(Converter):
    """Animals' faces with 9 points. A photo of two faces is stored twice, and becomes one record of two faces."""

    name = "animalweb"
    splits = {"train": "everything"}
    needs = (Need(FOLDER, "the home page (animal_dataset_v1_c.rar)"),)
    tables = {"face": FACE}

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        """One entry per photo; of pictures with the same bytes the first stands for all."""
        files: dict[str, str] = {}
        for item in self.paired(source, source.pictures(FOLDER), source.files(FOLDER, (".pts",))):
            if isinstance(item, Skipped):
                yield item
            else:
                files[item.name] = item.data
        for first, *others in _by_content(source, list(files)):
            yield PictureEntry(first, source.stamped([files[name] for name in (first, *others)]))
            for name in others:
                yield Skipped(name, f"the same picture as {first}, whose record has this face too")

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        """One photo and its faces."""
        picture = source.picture(entry.name)
        faces, dropped = self.read_each(entry.name, entry.data, lambda file, _: _face(source, file[0], picture))
        return self.make(picture, faces, split, dropped=dropped)


def _face(source: SourceFolder, file: str, picture: Picture) -> Instance:
    points = FACE.by_order(read_pts(source, file, count=9, origin=0))
    stem = stem_of(file).rpartition("/")[2]
    species = category_of(file.rpartition("/")[2].split("_")[0])
    return Converter.object_around(FACE, f"{species} face", points, picture, source_id=stem)


def _by_content(source: SourceFolder, names: list[str]) -> list[list[str]]:
    """The names in their order, those of equal pictures together; only pictures of one size are opened."""
    sizes = {name: source.path(name).stat().st_size for name in names}
    counts = Counter(sizes.values())
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_content(source, name) if counts[sizes[name]] > 1 else name, []).append(name)
    return sorted(groups.values())


def _content(source: SourceFolder, name: str) -> str:
    try:
        return hashlib.sha256(source.path(name).read_bytes()).hexdigest()
    except OSError:
        return name  # `record` reports what is wrong with it
