"""COCO keypoint json from anywhere: one file, or a folder with one file per split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xpose.data.datasets.converters.base import PictureEntry
from xpose.data.datasets.converters.coco_like import CocoCategory, CocoImage, CocoLike, edges_of, keypoints_of
from xpose.data.datasets.importers.base import Importer, StatedInstance, share
from xpose.data.datasets.importers.names import ObjectKind
from xpose.data.datasets.sources import Fields, SourceFolder, as_number, safe_name, turned
from xpose.errors import DataError, ImageError, quote
from xpose.pictures.reading import read_picture
from xpose.records import Box, Instance, Picture, Point, Skipped

ANNOTATION_FOLDERS = ("annotations", "annotation", "labels")
SPLITS = ("train", "val", "test")


class CocoImport(Importer, CocoLike):
    """COCO keypoints: names, edges and boxes as in the file; an object without a box gets one from its points."""

    annotation_key = "keypoints"  # field of the annotations in this format

    def base(self) -> Path:
        """The json's folder, or its parent if the json is in a folder for annotations only."""
        folder = super().base()
        return folder.parent if folder.name in ANNOTATION_FOLDERS and self.path.is_file() else folder

    def open(self) -> tuple[dict[str, str], list[ObjectKind]]:
        """One split per file; `_split_names` determines the names."""
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
        splits = _split_names([*contents])
        vars(self)["annotation_files"] = splits  # a class attribute of dataset classes, found at run time here
        return splits, list(kinds.values())

    def originals(self) -> list[str]:
        return list(self.annotation_files.values())

    def _contents(self) -> Iterator[tuple[str, Fields]]:
        if self.path.is_file():
            file = self.path_in_base()
            yield file, Fields(self.files.json(file), file)
            return
        files = json_files(self.files)
        for file in files:
            content = self.files.json(file)
            if self._is_ours(content):
                yield file, Fields(content, file)
            else:
                self.left_out.append(Skipped(file, f"is not a {self.title} file"))
                self.notes.append(f"{file} was left out: it is not a {self.title} file.")
        if len(self.left_out) == len(files):
            raise DataError(
                f"{quote(self.path)} holds no {self.title} file, neither itself nor in annotations/. PATH is "
                f"{self.what}. Give the json itself."
            )

    def _is_ours(self, content: Any) -> bool:
        lists = [content.get(key) for key in ("images", "annotations")] if isinstance(content, Mapping) else [None]
        if not all(isinstance(value, list) for value in lists):
            return False
        return any(isinstance(entry, Mapping) and entry.get(self.annotation_key) for entry in lists[1] or ())

    def read_kinds(self, content: Fields) -> Iterator[ObjectKind]:
        """The categories that have keypoints; unnamed points are numbered."""
        counts = _counts(content)
        for category in content.objects("categories", "category"):
            name = category.text("name")
            if category.value.get("keypoints"):
                names = keypoints_of(category)
                edges, lost = edges_of(category, names)
                if lost:
                    self.notes.append(f"{name}: {lost} edges end at no keypoint: left out.")
                yield ObjectKind(name, names, edges)
            elif count := counts.get(category.integer("id"), 0):
                yield ObjectKind.numbered(name, count)

    def listing(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        if split == next(iter(self.splits)):
            yield from self.left_out
        yield from CocoLike.entries(self, self.files, split)

    record = CocoLike.record  # instead of `Importer.record`

    def open_picture(self, source: SourceFolder, entry: PictureEntry) -> Picture:
        """The picture of an entry; an upright copy if it is stored turned and was labelled upright."""
        if self.choices.labels_only:
            image = Fields(entry.data.image, entry.name)
            stated = "width" in image and "height" in image  # PoseTrack's files do not state them
            return source.picture(entry.name, (image.integer("width"), image.integer("height")) if stated else None)
        path = source.path(entry.name)
        if not (entry.data.upright and turned(path)):
            return CocoLike.open_picture(self, source, entry)
        try:
            pixels, _ = read_picture(path)
        except ImageError as error:
            raise DataError(str(error)) from None
        image, size = Fields(entry.data.image, entry.name), (pixels.shape[1], pixels.shape[0])
        if (sides := (image.integer("width"), image.integer("height"))) != size:
            raise DataError(
                f"the annotation says {sides[0]}x{sides[1]}, but the upright picture {quote(entry.name)} is "
                f"{size[0]}x{size[1]}"
            )
        return source.save_picture(f"{entry.name}.png", pixels)

    # The hooks of `CocoLike`.

    def categories(self, content: Fields) -> Iterator[tuple[int, CocoCategory]]:
        kinds = {kind.name: kind.keypoints for kind in self.read_kinds(content)}
        for fields in content.objects("categories", "category"):
            if (name := fields.text("name")) in kinds:
                named = self.named[name]
                yield fields.integer("id"), CocoCategory(named.table.category(named.title), kinds[name], name)

    def file_name(self, image: Fields, split: str) -> str:
        return self.pictures.find(safe_name(image.text("file_name")), split)

    def box(self, annotation: Fields, points: Mapping[str, Point], picture: Picture) -> Box:
        if annotation.value.get("bbox"):
            return super().box(annotation, points, picture)
        return self.box_of(points, picture, f"{annotation.where}: ")

    def instance(self, annotation: Fields, number: str, data: CocoImage, picture: Picture) -> Instance:
        """One annotation; a conversion to another format also keeps scores, tracks and expected errors."""
        instance = super().instance(annotation, number, data, picture)
        if not self.choices.labels_only:
            return instance
        category, stated, shift = data.category_of(annotation), annotation.value, 0.5 if data.upright else 0.0
        names = [self.tables[category.table].names[name] for name in category.names]
        track = stated.get("track_id")
        return StatedInstance(
            instance.category,
            instance.box,
            {name: (x + shift, y + shift, v) for name, (x, y, v) in instance.keypoints.items()},
            source_id=number,
            score=share(stated.get("score")),
            keypoint_scores={name: min(score, 1.0) for name, score in _listed(stated, "keypoint_scores", names)},
            keypoint_errors=dict(_listed(stated, "keypoint_errors", names)),
            track=str(track) if isinstance(track, str | int) else None,
            box_made=not stated.get("bbox"),
            tentative=stated.get("tentative") is True,
        )


def json_files(source: SourceFolder) -> list[str]:
    """The json files in a folder and its annotation folders."""
    return [name for folder in (".", *ANNOTATION_FOLDERS) for name in source.files(folder, (".json",))]


def _listed(stated: Mapping[str, Any], key: str, names: list[str | None]) -> Iterator[tuple[str, float]]:
    """The numbers from 0 up in an annotation's list with one entry per keypoint, by unified name."""
    values = stated.get(key)
    if isinstance(values, list) and len(values) == len(names):
        for name, number in zip(names, map(as_number, values), strict=True):
            if name is not None and number is not None and number >= 0:
                yield name, number


def _counts(content: Fields) -> dict[int, int]:
    counts: dict[int, int] = {}
    for entry in content.list("annotations"):
        points = entry.get("keypoints") if isinstance(entry, Mapping) else None
        if isinstance(points, list) and points and type(entry.get("category_id")) is int:
            counts.setdefault(entry["category_id"], len(points) // 3)
    return counts


def _split_names(files: list[str]) -> dict[str, str]:
    """Split to file: train, val or test if exactly one file name contains it, else the file's own name."""
    stems = [file.rsplit("/", 1)[-1].removesuffix(".json") for file in files]
    matches = [re.search(rf"(?<![a-z])({'|'.join(SPLITS)})(?![a-z])", stem.lower()) for stem in stems]
    splits = [match[1] if match else "" for match in matches]
    if len(files) == 1:
        return {splits[0] or "all": files[0]}
    counts = Counter(filter(None, splits))
    named = zip(splits, stems, files, strict=True)
    return {split if counts[split] == 1 else stem: file for split, stem, file in named}
