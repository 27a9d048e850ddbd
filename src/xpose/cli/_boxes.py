"""The file of `xpose detect --boxes-from`: COCO annotations or results, or xpose's own JSON."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from xpose.cli import _console
from xpose.cli._inputs import InputPicture, printable
from xpose.errors import DataError, ImageError, counted, quote
from xpose.pictures import shared_end

if TYPE_CHECKING:
    from xpose.inference.known_boxes import Boxes

Corners = tuple[float, float, float, float]
_RULE = (
    "It must be COCO annotations (images, and annotations with bbox), COCO results (a list with image_id and bbox), or "
    "JSON that xpose wrote: poses.json, or the output of --json."
)


@dataclass(frozen=True)
class FilePicture:
    """A picture in the file."""

    path: PurePosixPath  # or its id in a results file
    size: tuple[int, int] | None  # width, height, if the file states them
    boxes: list[tuple[str | None, Corners]]  # with their class, if the file names it


class BoxFile:
    """The boxes for the pictures of a command line.

    Raises:
        DataError: the file cannot be read, or has none of the pictures.
    """

    def __init__(self, file: Path, pictures: Sequence[InputPicture]) -> None:
        self.file = file
        self.entries = _matched(file, _read(file.expanduser()), pictures)
        missing = [picture.name for picture in pictures if picture not in self.entries]
        if missing:
            others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            _console.note(f"{printable(file)} has no boxes for {missing[0]}{others}.")

    def keep_classes(self, labels: Sequence[str]) -> None:
        """Keep the boxes of these classes; DataError if there are none, or if a box's class is not clear."""
        from xpose.inference.known_boxes import same_class

        names = Counter(name for entry in self.entries.values() for name, _ in entry.boxes)
        prompted = ", ".join(map(quote, labels))
        if names[None] and len(labels) > 1:
            raise DataError(
                f"The boxes in {quote(self.file)} do not name their classes, and several are prompted ({prompted}). "
                "Prompt one class at a time, or give a file with categories."
            )
        ignored = {name for name in names if name is not None and same_class(name, labels) is None}
        listed = printable(", ".join(map(quote, sorted(ignored)[:5])) + (", ..." if len(ignored) > 5 else ""))
        if ignored and ignored == set(names):
            raise DataError(
                f"The boxes in {quote(self.file)} belong to {listed}; {prompted} is prompted. Prompt a name that the "
                "file uses (-t), or change its names."
            )
        if ignored:
            boxes = counted(sum(names[name] for name in ignored), "box", "boxes")
            _console.note(f"Ignored {boxes} of classes that are not prompted: {listed}.")
        for picture, entry in self.entries.items():
            kept = [(name, box) for name, box in entry.boxes if name not in ignored]
            self.entries[picture] = replace(entry, boxes=kept)

    def of(self, picture: InputPicture, size: tuple[int, int]) -> Boxes:
        """The boxes for a picture of this width and height; ImageError if they are for another size."""
        entry = self.entries.get(picture)
        if entry is None:
            return []
        if entry.size is not None and entry.size != size:
            theirs, ours = (f"{width} x {height}" for width, height in (entry.size, size))
            raise ImageError(
                f"The boxes for {quote(picture.name)} are for a picture of {theirs} pixels; upright, it has {ours}. "
                "Boxes must be in pixels of the upright picture."
            )
        return [box if name is None else (name, box) for name, box in entry.boxes]


def _read(file: Path) -> list[FilePicture]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{quote(file)} cannot be read ({error.strerror}). Check the path.") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{quote(file)} is not JSON ({str(error)[:100]}). {_RULE}") from None
    try:
        if isinstance(content, list):
            return _of_results(content)
        if "annotations" in content:
            return _of_annotations(content)
        return [_of_poses(picture) for picture in content.get("pictures", [content])]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{quote(file)} has no usable boxes ({what[:200]}). {_RULE}") from None


def _of_results(content: Sequence[Mapping[str, Any]]) -> list[FilePicture]:
    boxes: dict[str, list[tuple[str | None, Corners]]] = {}
    for row in content:
        boxes.setdefault(str(row["image_id"]), []).append((None, _corners(row["bbox"])))
    return [FilePicture(PurePosixPath(image_id), None, of_picture) for image_id, of_picture in boxes.items()]


def _of_annotations(content: Mapping[str, Any]) -> list[FilePicture]:
    names = {category["id"]: str(category["name"]) for category in content.get("categories", ())}
    entries = {}
    for image in content["images"]:
        size = (int(image["width"]), int(image["height"])) if {"width", "height"} <= image.keys() else None
        entries[image["id"]] = FilePicture(PurePosixPath(image["file_name"].replace("\\", "/")), size, [])
    for row in content["annotations"]:
        if not row.get("iscrowd"):  # a crowd is not an object
            entries[row["image_id"]].boxes.append((names.get(row.get("category_id")), _corners(row["bbox"])))
    return list(entries.values())


def _of_poses(content: object) -> FilePicture:
    from xpose.results import Poses

    poses = Poses.from_dict(content)
    boxes: list[tuple[str | None, Corners]] = [(pose.category, tuple(pose.box.tolist())) for pose in poses]
    return FilePicture(PurePosixPath(poses.source or "unnamed"), (poses.image_size[1], poses.image_size[0]), boxes)


def _corners(bbox: Iterable[float]) -> Corners:
    """The corners of a box x, y, width, height."""
    x, y, width, height = map(float, bbox)
    if not (width > 0 and height > 0 and math.isfinite(x + y + width + height)):
        raise ValueError(f"bbox {[x, y, width, height]} has no area")
    return x, y, x + width, y + height


def _matched(
    file: Path, entries: Sequence[FilePicture], pictures: Sequence[InputPicture]
) -> dict[InputPicture, FilePicture]:
    """The entry of each picture that has one: with its file name or id, and if several have it, with its folders."""
    by_name: dict[str, list[FilePicture]] = {}
    for entry in entries:
        by_name.setdefault(entry.path.name, []).append(entry)
    matched: dict[InputPicture, FilePicture] = {}
    owners: dict[int, InputPicture] = {}
    for picture in pictures:
        stem = picture.path.stem
        path = picture.path if picture.frame is None else picture.path.with_name(f"{picture.path.name}#{picture.frame}")
        ids = (stem, str(int(stem)) if stem.isdecimal() else stem) if picture.frame is None else ()
        fitting = next((by_name[name] for name in (path.name, *ids) if name in by_name), [])
        agreeing = [shared_end(entry.path.parts, path.absolute().parts) for entry in fitting]
        best = [entry for entry, count in zip(fitting, agreeing, strict=True) if count == max(agreeing)]
        if not best:
            continue
        if len(best) > 1 or owners.setdefault(id(best[0]), picture) is not picture:
            raise DataError(
                f"It is not clear which boxes in {quote(file)} are for {quote(picture.name)}, because several pictures "
                "or entries have this name. Detect in one folder at a time, or give a file with folders in its names."
            )
        matched[picture] = best[0]
    if not matched:
        of_file = quote(entries[0].path) if entries else "nothing"
        raise DataError(
            f"{quote(file)} has boxes for none of the pictures. It names {of_file}, and {quote(pictures[0].name)} was "
            "given. Names in the file, or ids in a results file, must be the names of the pictures."
        )
    return matched
