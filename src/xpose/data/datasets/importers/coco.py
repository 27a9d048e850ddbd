"""COCO keypoint json from anywhere: one file, or a folder with one file per split.

sleap-io is not used here, because it reads hidden points (1) as visible and does not check sizes and names of pictures.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from xpose.data.datasets.converters.base import SEEN, Entry, Status
from xpose.data.datasets.converters.coco_like import CocoCategory, CocoLike
from xpose.data.datasets.importers.base import Importer, box_round
from xpose.data.datasets.importers.names import ObjectKind
from xpose.data.datasets.sources import Fields, Source, safe_name
from xpose.errors import DataError, quote
from xpose.records import Box, Picture, Point, Record, Skipped

ANNOTATION_FOLDERS = ("annotations", "annotation", "labels")
SPLITS = ("train", "val", "test")


class CocoImport(Importer, CocoLike):
    """COCO keypoints: names, edges and boxes as in the file; an object without a box gets one from its points."""

    format = "coco"
    what = "a COCO keypoint json, or the folder of several"
    title = "COCO keypoints"
    status: ClassVar[Status] = SEEN
    origin = "0-based pixels, as in the file"
    visibility = "as in the file: 2 visible, 1 labelled but hidden"
    boxes = "as in the file; where it has none, the extent of the points and 10 % of its longer side all round"

    def base(self) -> Path:
        """The json's folder, or the one above it where the json lies in a folder for annotations only."""
        folder = super().base()
        return folder.parent if folder.name in ANNOTATION_FOLDERS and self.path.is_file() else folder

    def open(self) -> tuple[dict[str, str], list[ObjectKind]]:
        """One split per file, called train, val or test if the file is, else as the file."""
        self.left_out: list[Skipped] = []
        contents = dict(self._contents())
        kinds: dict[str, ObjectKind] = {}
        for file, content in contents.items():
            for kind in self.read_kinds(content):
                if kinds.setdefault(kind.name, kind) != kind:
                    raise DataError(
                        f"{quote(file)} gives the category {quote(kind.name)} other keypoints than the file before it. "
                        "Files that disagree are imported one by one, each under its own --name."
                    )
        names = _split_names([*contents])
        # Like the base's: dataset classes declare it, an import finds it out.
        vars(self)["annotation_files"] = names
        return names, list(kinds.values())

    def originals(self) -> list[str]:
        """The json files."""
        return list(self.annotation_files.values())

    def _contents(self) -> Iterator[tuple[str, Fields]]:
        if self.path.is_file():
            file = self.path_in_base()
            yield file, Fields(self.files.json(file), file)
            return
        files = [name for folder in (".", *ANNOTATION_FOLDERS) for name in self.files.files(folder, (".json",))]
        usable = False
        for file in files:
            content = self.files.json(file)
            if isinstance(content, Mapping) and self.is_ours(content):
                usable = True
                yield file, Fields(content, file)
            else:
                self.left_out.append(Skipped(file, f"is not a {self.title} file"))
                self.notes.append(f"{file} was left out: it is not a {self.title} file.")
        if not usable:
            raise DataError(
                f"{quote(self.path)} holds no {self.title} file. PATH is {self.what}; in a folder the files lie there "
                "or in annotations/. Give the json itself."
            )

    def is_ours(self, content: Mapping[str, Any]) -> bool:
        """Whether a json file in a folder is to be imported."""
        annotations = content.get("annotations")
        if not isinstance(annotations, list) or not isinstance(content.get("images"), list):
            return False
        return any(isinstance(entry, Mapping) and "keypoints" in entry for entry in annotations)

    def read_kinds(self, content: Fields) -> Iterator[ObjectKind]:
        """The categories that have keypoints; points that the file does not name are numbered."""
        counted = _counts(content)
        for number, value in enumerate(content.list("categories"), start=1):
            category = Fields(value, f"{content.where}: category number {number}")
            name, names = category.text("name"), category.value.get("keypoints")
            if not names:
                if count := counted.get(category.integer("id"), 0):
                    yield ObjectKind(name, tuple(f"point {i}" for i in range(1, count + 1)), points_named=False)
                continue
            if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
                raise DataError(f"{category.where}: the keypoint names are not all texts. Name each point in the file.")
            if len(set(names)) < len(names):
                raise DataError(f"{category.where}: a keypoint name occurs twice. Name each point in the file.")
            yield ObjectKind(name, tuple(names), tuple(self._edges(category, names)))

    def _edges(self, category: Fields, names: list[str]) -> Iterator[tuple[str, str]]:
        """The file's edges; COCO counts from 1, a file in which a 0 occurs counts from 0."""
        value = category.value.get("skeleton")
        pairs = value if isinstance(value, list) else []
        whole = [
            pair for pair in pairs if isinstance(pair, list) and len(pair) == 2 and all(type(i) is int for i in pair)
        ]
        first = 0 if any(0 in pair for pair in whole) else 1
        good = [pair for pair in whole if all(0 <= i - first < len(names) for i in pair)]
        if len(good) < len(pairs):
            self.notes.append(f"{category.text('name')}: {len(pairs) - len(good)} edges end at no keypoint: left out.")
        for a, b in good:
            yield names[a - first], names[b - first]

    def listing(self, source: Source, split: str) -> Iterator[Entry | Skipped]:
        """One entry per image of the file, its annotations with it."""
        if split == next(iter(self.splits)):
            yield from self.left_out
        yield from CocoLike.entries(self, self.files, split)

    def record(self, source: Source, split: str, entry: Entry) -> Record:
        """The picture with those of its annotations that are well-formed."""
        return CocoLike.record(self, source, split, Entry(entry.name, entry.data[1], entry.file))

    # The hooks of `CocoLike`.

    def file_name(self, image: Fields, split: str) -> str:
        """Where the picture lies."""
        return self.pictures.find(safe_name(image.text("file_name")), split)

    def box(self, annotation: Fields, points: Mapping[str, Point], picture: Picture) -> Box:
        """The box of the file, else one made from the points."""
        if annotation.value.get("bbox"):
            return super().box(annotation, points, picture)
        try:
            return box_round(points, picture)
        except DataError as error:
            raise DataError(f"{annotation.where}: {error}") from None

    def _categories(self, content: Fields) -> Iterator[tuple[int, CocoCategory]]:
        known = {kind.name: kind.keypoints for kind in self.read_kinds(content)}
        for value in content.list("categories"):
            fields = Fields(value, f"{content.where}: a category")
            if (name := fields.text("name")) in known:
                named = self.named[name]
                yield fields.integer("id"), CocoCategory(named.table.category(named.title), known[name], name)


def _counts(content: Fields) -> dict[int, int]:
    """How many points the first annotation of each category has."""
    counts: dict[int, int] = {}
    for entry in content.list("annotations"):
        points = entry.get("keypoints") if isinstance(entry, Mapping) else None
        if isinstance(points, list) and points and type(entry.get("category_id")) is int:
            counts.setdefault(entry["category_id"], len(points) // 3)
    return counts


def _split_names(files: list[str]) -> dict[str, str]:
    """Split to file: train, val or test where a file name says so and no other does, else the file's own name."""
    stems = {file: file.rsplit("/", 1)[-1].removesuffix(".json") for file in files}
    splits = {
        file: next((split for split in SPLITS if re.search(rf"(?<![a-z]){split}(?![a-z])", stem.lower())), "")
        for file, stem in stems.items()
    }
    if len(files) == 1:
        return {splits[files[0]] or "all": files[0]}
    counts = Counter(split for split in splits.values() if split)
    return {split if counts[split] == 1 else stems[file]: file for file, split in splits.items()}
