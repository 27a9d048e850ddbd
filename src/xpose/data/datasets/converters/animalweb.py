"""AnimalWeb (`animal_dataset_v1_clean_check/SPECIES_N.{jpg,pts}`): one file of 9 points per animal's face."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from xpose.data.datasets.converters.base import (
    LOADER_ONLY,
    NOT_STATED,
    Converter,
    Entry,
    Expected,
    NameTable,
    Need,
    read_each,
    stamped,
    stem_of,
)
from xpose.data.datasets.converters.names import category_of, names_in
from xpose.data.datasets.converters.pts import read_pts
from xpose.data.datasets.sources import Source, box_of_points
from xpose.records import Instance, Picture, Record, Skipped

FOLDER = "animal_dataset_v1_clean_check"
MARGIN = 0.1  # of the points' extent, on each side

# The files give points by position only; the sides are the animal's own.
FACE = NameTable("animal_face", names_in("animal_face"))


class AnimalWeb(Converter):
    """Animals' faces with 9 points. A photo of two faces is stored twice, and becomes one record of two faces."""

    name = "animalweb"
    title = "AnimalWeb"
    licence = NOT_STATED
    terms = "no licence was found: ask the authors before use"
    homepage = "https://fdmaproject.wordpress.com/author/fdmaproject/"
    status = LOADER_ONLY
    left_right = "anatomical"
    origin = "not stated; taken as 0-based"
    visibility = "none in the original: all 9 points are labelled and become 2"
    boxes = "extent of the points, 10 % larger on each side, cut to the picture"
    evaluation = "none: the original ships no split, so it is used for training only"
    expected = Expected(unikpt=22_451, instances=22_451)
    splits = {"train": "everything"}
    needs = (Need(FOLDER, "the home page (animal_dataset_v1_c.rar)"),)
    tables = {"face": FACE}

    def entries(self, source: Source, split: str) -> Iterator[Entry | Skipped]:
        """One entry per photo; of pictures with the same bytes the first stands for all."""
        paired = list(self.paired(source, source.pictures(FOLDER), source.files(FOLDER, (".pts",))))
        yield from (item for item in paired if isinstance(item, Skipped))
        files = {item.name: item.data for item in paired if isinstance(item, Entry)}
        for same in _alike(source, list(files)):
            yield Entry(same[0], stamped(source, [files[name] for name in same]))
            for name in same[1:]:
                yield Skipped(name, f"the same picture as {same[0]}, whose record has this face too")

    def record(self, source: Source, split: str, entry: Entry) -> Record:
        """One photo and its faces."""
        picture = source.picture(entry.name)
        faces, dropped = read_each(entry.name, entry.data, lambda file, _: self._face(source, file[0], picture))
        return self.make(picture, faces, split, dropped=dropped)

    def _face(self, source: Source, file: str, picture: Picture) -> Instance:
        points = FACE.by_order(read_pts(source, file, count=9, origin=0))
        species = category_of(file.rpartition("/")[2].split("_")[0])
        box = box_of_points(points.values(), MARGIN, picture)
        return Instance(FACE.category(f"{species} face"), box, points, source_id=stem_of(file).rpartition("/")[2])


def _content(source: Source, name: str) -> str:
    try:
        return hashlib.sha256(source.path(name).read_bytes()).hexdigest()
    except OSError:
        return name  # `record` will say what is wrong with it


def _alike(source: Source, names: list[str]) -> Iterator[list[str]]:
    """The names in their order, those of equal pictures together; only pictures of one size are opened."""
    by_size: dict[int, list[str]] = {}
    for name in names:
        by_size.setdefault(source.path(name).stat().st_size, []).append(name)
    groups: dict[str, list[str]] = {}
    for same_size in by_size.values():
        for name in same_size:
            groups.setdefault(_content(source, name) if len(same_size) > 1 else name, []).append(name)
    yield from sorted(groups.values())
