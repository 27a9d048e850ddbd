"""Recognise the format of a user's file or folder by its content.

Nothing is guessed: if several formats or none match, the message says what was expected and what to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpose.data.collection.manifest import LOCATION
from xpose.data.datasets.folder_sets import is_folder_of_sets
from xpose.data.datasets.importers import IMPORTERS
from xpose.data.datasets.importers.coco import json_files
from xpose.data.datasets.importers.deeplabcut import LABELS, STEM
from xpose.data.datasets.importers.label_studio import is_export
from xpose.data.datasets.sources import SourceFolder
from xpose.errors import DataError, MissingExtraError, quote
from xpose.pictures import PICTURE_ENDINGS

PREPARED = "prepared"  # needs no import
YAML = (".yaml", ".yml")
MAIN = ("data", "dataset")  # usual names of the yaml file of YOLO-pose


@dataclass(frozen=True)
class Recognised:
    """What a path holds."""

    format: str  # of `IMPORTERS`, or `PREPARED`
    path: Path  # input of the importer; often the path itself


def recognise(path: str | Path) -> Recognised:
    """The format of a file or folder; `DataError` if no format or several formats match."""
    place = Path(os.path.abspath(Path(path).expanduser()))
    if not place.exists():
        raise DataError(f"{quote(place)} does not exist. Give the file or folder with the labels. Check the spelling.")
    if place.is_file():
        format_name = _of_file(place)
        is_config = format_name == "deeplabcut" and place.suffix.lower() in YAML
        return Recognised(format_name, place.parent if is_config else place)
    if (place / LOCATION).is_file() or is_folder_of_sets(place):
        return Recognised(PREPARED, place)
    candidates = list(_in_folder(place))
    if not candidates:
        raise DataError(_no_labels(place))
    if len(candidates) > 1:
        shown = ", ".join(f"{quote(candidate.path.name)} ({candidate.format})" for candidate in candidates[:5])
        raise DataError(
            f"{quote(place)} holds labels in several files: {shown}. Give the one that is meant, or name the format: "
            "--format NAME"
        )
    return candidates[0]


def _of_file(path: Path) -> str:
    ending = path.suffix.lower()
    if ending in (".slp", ".xml"):
        return "sleap" if ending == ".slp" else "cvat"
    if ending in (".csv", ".h5") and path.name.startswith(STEM):
        return "deeplabcut"
    if ending in YAML:
        return _of_yaml(path)
    if ending == ".json":
        return _of_json(path)
    if ending in PICTURE_ENDINGS:
        raise DataError(
            f"{quote(path)} is a picture. Give the file or folder that says where the keypoints are. The folder of the "
            "pictures is given with --images."
        )
    raise DataError(
        f"{quote(path)} is not a label file of a known format ({', '.join(IMPORTERS)}). See: xpose data formats"
    )


def _of_yaml(path: Path) -> str:
    content = SourceFolder(path.parent).yaml(path.name)
    if "kpt_shape" in content:
        return "yolo-pose"
    if "scorer" in content and (path.parent / LABELS).is_dir():
        return "deeplabcut"
    raise DataError(
        f'{quote(path)} is neither a data.yaml of YOLO-pose (no "kpt_shape" in it) nor the config.yaml of a DeepLabCut '
        'project (no "scorer" in it). Give the file or folder with the labels.'
    )


def _of_json(path: Path) -> str:
    content = SourceFolder(path.parent).json(path.name)
    if is_export(content):
        return "label-studio"
    if not isinstance(content, Mapping) or not isinstance(content.get("annotations"), list):
        raise DataError(
            f'{quote(path)} is neither COCO json (no list "annotations" in it) nor an export "JSON" of Label Studio. '
            "Export the labels again in one of these: xpose data formats"
        )
    annotations: list[Any] = [value for value in content["annotations"] if isinstance(value, Mapping)]
    if any("keypoints" in annotation for annotation in annotations):
        return "coco"
    if not annotations:
        raise DataError(f'{quote(path)} labels no object: "annotations" is empty. Give the file with the labels.')
    raise DataError(
        f'{quote(path)} holds objects without keypoints: no annotation has "keypoints". Give a file with keypoints; if '
        "its masks are those of parts, make keypoints of them with: xpose data import part-masks"
    )


def _in_folder(folder: Path) -> Iterator[Recognised]:
    tables = any(any(folder.glob(f"{STEM}*{ending}")) for ending in (".csv", ".h5"))
    if tables or (folder / LABELS).is_dir() or folder.name == LABELS:
        yield Recognised("deeplabcut", folder)
        return  # its folders hold csv and yaml files of its own
    source = SourceFolder(folder)
    formats: dict[Path, str] = {}
    for path in (folder / name for name in [*source.files("", (*YAML, ".slp", ".xml")), *json_files(source)]):
        try:
            if path.suffix.lower() != ".xml" or _is_cvat(path):
                formats[path] = _of_file(path)
        except (DataError, MissingExtraError):  # other files are in such folders too
            if path.suffix.lower() in YAML and path.stem in MAIN:
                formats[path] = "yolo-pose"  # the importer reports what is wrong
    if "coco" in formats.values():  # the importer takes all of them, one split each
        yield Recognised("coco", folder)
    main = [path for path, name in formats.items() if name == "yolo-pose" and path.stem in MAIN]
    for path, name in formats.items():
        if name != "coco" and (name != "yolo-pose" or len(main) != 1 or path in main):
            yield Recognised(name, path)


def _is_cvat(path: Path) -> bool:
    with path.open("rb") as file:
        return b"<annotations" in file.read(4096)


def _no_labels(folder: Path) -> str:
    source = SourceFolder(folder)
    for name in json_files(source):
        try:
            _of_json(folder / name)
        except DataError as error:
            return f"{quote(folder)} holds no labels that can be used. {error}"
    if count := len(source.pictures("", deep=True)):
        return (
            f"{quote(folder)} holds {count} pictures, but no labels of a known format. Give the file or project with "
            "the labels; the folder of the pictures is given with --images. Formats: xpose data formats"
        )
    return (
        f"{quote(folder)} holds neither labels nor pictures. Give a COCO json, a project of DeepLabCut, SLEAP, "
        "YOLO-pose, CVAT or Label Studio, or a prepared set. Formats: xpose data formats"
    )
