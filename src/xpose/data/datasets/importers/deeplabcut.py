"""DeepLabCut projects: `labeled-data/VIDEO/CollectedData_SCORER.csv` (or .h5), single- and multi-animal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from xpose.data.datasets.converters.base import SEEN, Entry, read_each
from xpose.data.datasets.importers.base import ALL, OBJECT, Importer, LabelledObject, LabelledPicture
from xpose.data.datasets.importers.dlc_table import Column, LabelRow, LabelTable, read_labels
from xpose.data.datasets.importers.names import ObjectKind
from xpose.data.datasets.sources import Source, safe_name
from xpose.errors import DataError, quote
from xpose.records import VISIBLE, Point, Skipped

LABELS, STEM = "labeled-data", "CollectedData"
Cell = tuple[str, float | None, float | None]  # body part, x and y
UNIQUE = "single"  # the individual that holds the points of which there is one per picture


class DeepLabCut(Importer):
    """One object per individual in a picture; the points that a project has once per picture are an object too."""

    format = "deeplabcut"
    what = "a DeepLabCut project, or one of its CollectedData files"
    title = "DeepLabCut labels"
    takes_pictures = False
    status = SEEN
    origin = "as in the file"
    visibility = "none in the source: a point is there (2) or its cells are empty"
    boxes = "extent of the points and 10 % of its longer side all round"

    def base(self) -> Path:
        """The project, also where PATH is one of its files or folders."""
        folder = super().base()
        for place in (folder, *folder.parents[:2]):
            if place.name == LABELS:
                return place.parent
        return folder

    def open(self) -> tuple[dict[str, str], list[ObjectKind]]:
        """All label files of the project."""
        config = self.files.yaml("config.yaml") if self.files.has("config.yaml") else {}
        if not config:
            self.notes.append("There is no config.yaml beside the labels, so the skeleton has no edges.")
        self.label_files = self._label_files(config)
        parts: dict[str, list[str]] = {}
        for name in self.label_files:
            for column in read_labels(self.files, name).columns:
                known = parts.setdefault(_kind_of(column), [])
                if column.part not in known:
                    known.append(column.part)
        edges = tuple(_edges(config.get("skeleton")))
        kinds = []
        for kind, names in parts.items():
            own = tuple((a, b) for a, b in edges if a in names and b in names)
            kinds.append(ObjectKind(kind, tuple(names), own, named=kind == UNIQUE))
        return dict(ALL), kinds

    def originals(self) -> list[str]:
        """The label files and config.yaml."""
        return [*(["config.yaml"] if self.files.has("config.yaml") else []), *self.label_files]

    def listing(self, source: Source, split: str) -> Iterator[Entry | Skipped]:
        """One entry per row; frames that no row names are reported."""
        for file in self.label_files:
            folder, listed = file.rpartition("/")[0], []
            table = read_labels(self.files, file)
            for number, row in enumerate(table.rows, start=1):
                try:
                    name = self._place(row.picture, folder)
                    if row.fault:
                        raise DataError(row.fault)
                except DataError as error:
                    listed.append(f"{folder}/{row.picture.rsplit('/', 1)[-1]}")
                    yield Skipped(listed[-1] if row.picture else f"{file}: row {number}", str(error))
                    continue
                listed.append(name)
                yield Entry(name, (folder.rpartition("/")[2], _objects(table, row)))
            yield from self.unlisted(source, folder, listed)

    def look(self, source: Source, split: str, entry: Entry) -> LabelledPicture:
        """One frame with the individuals in it; those without a point are not in it."""
        group, objects = entry.data
        things, dropped = read_each(
            entry.name, objects, lambda item, _: LabelledObject(item[1], dict(_points(item[2], item[0])), id=item[0])
        )
        return LabelledPicture(source.picture(entry.name), things, dropped, group=group or None)

    def _place(self, picture: str, folder: str) -> str:
        """Where a row's picture lies: the path in the row is the project's, but folders get renamed."""
        name = safe_name(picture)
        beside = "/".join(part for part in (folder, name.rsplit("/", 1)[-1]) if part)
        return name if self.files.path(name).is_file() else beside

    def _label_files(self, config: Mapping[str, Any]) -> list[str]:
        if self.path.is_file():
            return [self.path_in_base()]
        chosen = self.path_in_base()
        start = LABELS if chosen == "." and self.files.has(LABELS) else chosen
        tables = [name for name in self.files.files(start, (".csv", ".h5"), deep=True) if _stem(name).startswith(STEM)]
        folders: dict[str, list[str]] = {}
        for name in tables:
            folders.setdefault(name.rpartition("/")[0], []).append(name)
        if not folders:
            raise DataError(
                f"{quote(self.path)} holds no {STEM}_SCORER.csv. PATH is {self.what}, where they lie in "
                f"{LABELS}/VIDEO/. Label pictures in DeepLabCut and save them first."
            )
        return [self._chosen(names, folder, config.get("scorer")) for folder, names in sorted(folders.items())]

    def _chosen(self, names: list[str], folder: str, scorer: Any) -> str:
        """The label file of a folder: that of the config's scorer if there are several, the csv if there are two."""
        stems = sorted({_stem(name) for name in names})
        if len(stems) > 1:
            stems = [stem for stem in stems if stem == f"{STEM}_{scorer}"]
        if len(stems) != 1:
            raise DataError(
                f"{quote(folder)} holds the labels of several scorers: {', '.join(map(quote, names))}. One can be "
                'imported at a time. Name yours as "scorer" in config.yaml, or give the file itself as PATH.'
            )
        mine = [name for name in names if _stem(name) == stems[0]]
        return next((name for name in mine if name.lower().endswith(".csv")), mine[0])


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].rpartition(".")[0]


def _kind_of(column: Column) -> str:
    return UNIQUE if column.individual == UNIQUE else OBJECT


def _objects(
    table: LabelTable, row: LabelRow
) -> list[tuple[str | None, str, list[tuple[str, float | None, float | None]]]]:
    """The individuals of a row that have a point, each with its kind and its (part, x, y)."""
    objects: dict[str | None, tuple[str, list[Cell]]] = {}
    for column, x, y in zip(table.columns[0::2], row.cells[0::2], row.cells[1::2], strict=True):
        if x is not None or y is not None:
            objects.setdefault(column.individual, (_kind_of(column), []))[1].append((column.part, x, y))
    return [(name, kind, cells) for name, (kind, cells) in objects.items()]


def _points(cells: list[Cell], individual: str | None) -> Iterator[tuple[str, Point]]:
    for part, x, y in cells:
        if x is None or y is None:
            raise DataError(f"object {individual or 1}: {quote(part)} has only one of its two coordinates")
        yield part, (x, y, VISIBLE)


def _edges(skeleton: Any) -> Iterator[tuple[str, str]]:
    """The pairs of config.yaml; a longer list is a chain."""
    for chain in skeleton if isinstance(skeleton, list) else []:
        names = [name for name in chain if isinstance(name, str)] if isinstance(chain, list) else []
        yield from pairwise(names)
