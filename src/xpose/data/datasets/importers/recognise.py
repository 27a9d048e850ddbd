"""Which format a file or folder of a user is in, by what lies there.

    found = recognise("maze-Ann-2024")
    found.format, found.path         # "deeplabcut", the project's folder

Nothing is guessed: where two formats would do, or none, the message says what was looked for and how to name it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpose.data.datasets.importers import IMPORTERS
from xpose.data.datasets.importers.coco import ANNOTATION_FOLDERS
from xpose.data.datasets.importers.deeplabcut import LABELS, STEM
from xpose.data.datasets.importers.yaml_file import read_yaml
from xpose.data.datasets.sources import PICTURE_ENDINGS, Source
from xpose.errors import DataError, MissingExtraError, quote

PREPARED = "prepared"  # nothing has to be imported
YAML = (".yaml", ".yml")
_SHOWN = 5


@dataclass(frozen=True)
class Recognised:
    """What a path holds."""

    format: str  # of `IMPORTERS`, or `PREPARED`
    path: Path  # what the importer takes; often the path itself


def recognise(path: str | Path) -> Recognised:
    """The format of a file or folder.

    Raises:
        DataError: it does not exist, is of no format that is known, or of several.
    """
    place = Path(os.path.abspath(Path(path).expanduser()))
    if not place.exists():
        raise DataError(f"{quote(place)} does not exist. Give the file or folder with the labels. Check the spelling.")
    if place.is_file():
        found = _of_file(place)
        return Recognised(found, place.parent if place.suffix.lower() in YAML and found == "deeplabcut" else place)
    if _is_prepared(place):
        return Recognised(PREPARED, place)
    several = list(_in_folder(place))
    if len(several) > 1:
        shown = ", ".join(f"{quote(one.path.name)} ({one.format})" for one in several[:_SHOWN])
        raise DataError(
            f"{quote(place)} holds labels in several files: {shown}. They may be of different sets. Give the one that "
            "is meant, or name the format: --format NAME"
        )
    if not several:
        raise DataError(_nothing(place))
    return several[0]


def _is_prepared(folder: Path) -> bool:
    from xpose.data.collection.manifest import LOCATION
    from xpose.data.datasets.folder_sets import is_folder_of_sets

    return (folder / LOCATION).is_file() or is_folder_of_sets(folder)


def _of_file(path: Path) -> str:
    ending = path.suffix.lower()
    if ending == ".slp":
        return "sleap"
    if ending == ".xml":
        return "cvat"
    if ending in (".csv", ".h5") and path.name.startswith(STEM):
        return "deeplabcut"
    if ending in YAML:
        found = _of_yaml(path)
        if found is None:
            raise DataError(
                f'{quote(path)} is neither a data.yaml of YOLO-pose (no "kpt_shape" in it) nor the config.yaml of a '
                'DeepLabCut project (no "scorer" in it). Give the file or folder with the labels.'
            )
        return found
    if ending == ".json":
        return _of_json(path)
    if ending in PICTURE_ENDINGS:
        raise DataError(
            f"{quote(path)} is a picture. Labels are wanted: a file or folder that says where the keypoints are. The "
            "pictures' folder is given with --images."
        )
    raise DataError(
        f"{quote(path)} is no file of labels that is known. There are: {', '.join(IMPORTERS)}. List them with: "
        "xpose data formats"
    )


def _of_yaml(path: Path) -> str | None:
    content = read_yaml(Source(path.parent), path.name)
    if "kpt_shape" in content:
        return "yolo-pose"
    return "deeplabcut" if "scorer" in content and (path.parent / LABELS).is_dir() else None


def _of_json(path: Path) -> str:
    content = Source(path.parent).json(path.name)
    if isinstance(content, list):
        if any(isinstance(task, Mapping) and "annotations" in task for task in content):
            return "label-studio"
    elif isinstance(content, Mapping) and isinstance(content.get("annotations"), list):
        return _of_coco(path, content)
    raise DataError(
        f'{quote(path)} is neither COCO json (no list "annotations" in it) nor an export "JSON" of Label Studio. '
        "Export the labels again in one of these: xpose data formats"
    )


def _of_coco(path: Path, content: Mapping[str, Any]) -> str:
    annotations = [one for one in content["annotations"] if isinstance(one, Mapping)]
    if any("keypoints" in one for one in annotations):
        return "coco"
    if not annotations:
        raise DataError(f'{quote(path)} labels no object: "annotations" is empty. Give the file with the labels.')
    raise DataError(
        f'{quote(path)} holds objects without keypoints: no annotation has "keypoints". Keypoints are what is learned. '
        "Give a file with them; where its masks are those of parts, make points of them with: "
        "xpose data import part-masks"
    )


def _in_folder(folder: Path) -> Iterator[Recognised]:
    """Every set of labels that a folder may be."""
    if _is_project(folder):
        yield Recognised("deeplabcut", folder)
        return  # its folders hold csv and yaml files of its own
    source = Source(folder)
    described = [name for name in source.files("", YAML) if _is_yolo(folder / name)]
    preferred = [name for name in described if Path(name).stem in ("data", "dataset")]
    yield from (Recognised("yolo-pose", folder / name) for name in (preferred if len(preferred) == 1 else described))
    yield from (Recognised("sleap", folder / name) for name in source.files("", (".slp",)))
    yield from (Recognised("cvat", folder / name) for name in source.files("", (".xml",)) if _is_cvat(folder / name))
    formats: dict[Path, str] = {}
    for name in (name for part in (".", *ANNOTATION_FOLDERS) for name in source.files(part, (".json",))):
        try:
            formats[folder / name] = _of_json(folder / name)
        except DataError:
            continue  # other json files lie in such folders too
    if "coco" in formats.values():  # the importer takes all of them, one split each
        yield Recognised("coco", folder)
    yield from (Recognised(one, path) for path, one in formats.items() if one != "coco")


def _is_project(folder: Path) -> bool:
    tables = (f"{STEM}*.csv", f"{STEM}*.h5")
    return (folder / LABELS).is_dir() or folder.name == LABELS or any(any(folder.glob(one)) for one in tables)


def _is_yolo(path: Path) -> bool:
    try:
        return _of_yaml(path) == "yolo-pose"
    except (DataError, MissingExtraError):
        return path.stem in ("data", "dataset")  # the importer says what is wrong with it


def _is_cvat(path: Path) -> bool:
    with path.open("rb") as file:
        return b"<annotations" in file.read(4096)


def _nothing(folder: Path) -> str:
    source = Source(folder)
    jsons = [name for part in (".", *ANNOTATION_FOLDERS) for name in source.files(part, (".json",))]
    if jsons:
        try:
            _of_json(folder / jsons[0])
        except DataError as error:
            return f"{quote(folder)} holds no labels that can be used. {error}"
    count = len(source.files("", PICTURE_ENDINGS, deep=True))
    if count:
        return (
            f"{quote(folder)} holds {count} pictures and no labels that are known. Give the file or project with the "
            "labels; the pictures' folder is given with --images. Formats: xpose data formats"
        )
    return (
        f"{quote(folder)} holds neither labels nor pictures. Give a COCO json, a project of DeepLabCut, SLEAP, "
        "YOLO-pose, CVAT or Label Studio, or a prepared set. Formats: xpose data formats"
    )
