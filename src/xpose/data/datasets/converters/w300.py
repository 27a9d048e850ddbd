"""300W: a picture and a `.pts` file of 68 points side by side, one face each, split by folder."""

from __future__ import annotations

import re
from collections.abc import Iterator

from xpose.data.datasets.converters.base import NOT_STATED, SEEN, Converter, Entry, Expected, NameTable, Need, stem_of
from xpose.data.datasets.converters.names import load_names
from xpose.data.datasets.converters.pts import read_pts
from xpose.data.datasets.sources import Source, box_of_points
from xpose.records import Instance, Record, Skipped

WHERE = "the home page, set by set"
FOLDERS = {
    "train": ("afw", "helen/trainset", "lfpw/trainset"),
    "common": ("helen/testset", "lfpw/testset"),
    "challenge": ("ibug",),
    "test": ("300W/01_Indoor", "300W/02_Outdoor"),
}
MARGIN = 0.1  # of the points' extent, on each side


class W300(Converter):
    """Human faces with 68 points. `full` of the field's tables is `common` and `challenge` together."""

    name = "300w"
    title = "300 Faces In-the-Wild (300W)"
    licence = "research"
    terms = NOT_STATED
    homepage = "https://ibug.doc.ic.ac.uk/resources/300-W/"
    status = SEEN
    left_right = "anatomical"
    origin = "1-based pixels: 1 is subtracted"
    visibility = "none in the original: all 68 points are labelled, hidden ones too, and become 2"
    boxes = "extent of the points, 10 % larger on each side, cut to the picture"
    evaluation = "common, challenge and full; the papers report PCK@0.2, the field NME"
    expected = Expected(unikpt=3_837, splits={"train": 3_148, "common": 554, "challenge": 135, "test": 600})
    splits = {split: ", ".join(folders) for split, folders in FOLDERS.items()}
    needs = tuple(Need(folder, WHERE, (split,)) for split, folders in FOLDERS.items() for folder in folders)
    tables = {"face": NameTable("face", load_names("w300"))}

    def entries(self, source: Source, split: str) -> Iterator[Entry | Skipped]:
        """One entry per picture; public copies differ in whether names hold blanks, so both spellings match."""
        for folder in FOLDERS[split]:
            yield from self.paired(source, source.pictures(folder), source.files(folder, (".pts",)), _plain)

    def record(self, source: Source, split: str, entry: Entry) -> Record:
        """One face."""
        picture = source.picture(entry.name)
        table = self.tables["face"]
        points = table.by_order(read_pts(source, entry.data, count=68, origin=1))
        box = box_of_points(points.values(), MARGIN, picture)
        # The same photo occurs once per face, as NAME_1, NAME_2, ...
        group = re.sub(r"_\d{1,2}$", "", stem_of(entry.name))
        return self.make(picture, [Instance(table.category("face"), box, points)], split, group=group)


def _plain(name: str) -> str:
    return stem_of(name).replace(" ", "")
