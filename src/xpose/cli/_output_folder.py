"""The output folder of `xpose detect`: drawings, crops, and files in the formats of other programs."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpose.cli._inputs import DRAWN, POSE_MAP, InputPicture, printable
from xpose.cli._options import DrawingOptions, FileOptions
from xpose.errors import ConfigError, quote

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from xpose.inference.encoded import EncodedClass
    from xpose.results import Poses

_KEEP_ENDING = {".jpg": ".jpg", ".jpeg": ".jpg", ".png": ".png"}
_LONGEST_STEM, _LONGEST_LABEL = 160, 20  # bytes and letters; file systems allow 255 bytes, and more is added
_JPEG_QUALITY = 92


def check_folder(folder: Path) -> None:
    """Check that results can be written to it, without creating anything."""
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise ConfigError(f"{quote(nearest)} is a file. Results go into a folder; give another name with -o.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(f"The folder {quote(nearest)} is not writable. Give another folder for results with -o.")


class OutputFolder:
    """Writes drawings and crops immediately, and the files of all pictures at the end; never to an input."""

    def __init__(
        self,
        folder: Path,
        pictures: Sequence[InputPicture],
        prompts: Sequence[EncodedClass],
        inputs: Sequence[Path],
        style: DrawingOptions,
        files: FileOptions,
    ) -> None:
        self.folder = folder
        self.replaced = False  # whether `write` has replaced results of an earlier run
        self._prompts, self._style, self._files = prompts, style, files
        # In several pictures, the legend explains all prompts, whatever is detected: drawings of equal size.
        self._explained = prompts if len(pictures) > 1 else None
        self._drawings = drawing_paths(pictures, folder, inputs)
        self._used = {_key(path) for path in (*inputs, *self._drawings.values())}

    def draw(self, picture: InputPicture, poses: Poses, pixels: np.ndarray) -> dict[str, Any]:
        """Write the drawing, the pose map and the crops of a picture, and return their paths for JSON."""
        drawing = self._drawings[picture]
        _save_picture(poses.draw(pixels, prompts=self._explained, **asdict(self._style)), drawing)
        written: dict[str, Any] = {"drawing": printable(drawing)}
        if self._files.pose_map:
            target = self._free(drawing.with_name(f"{drawing.stem}{POSE_MAP}.png"))
            _save_picture(poses.pose_map(), target)
            written["pose_map"] = printable(target)
        if not self._files.crops:
            return written
        crops = []
        for number, (crop, label) in enumerate(zip(poses.crops(pixels), poses.categories, strict=True), start=1):
            crops.append(self._free(drawing.with_stem(f"{drawing.stem}_{number}_{_as_file_name(label)}")))
            _save_picture(crop, crops[-1])
        return written | {"crops": [printable(crop) for crop in crops]}

    def write(self, results: Mapping[InputPicture, Poses]) -> list[str]:
        """Write the COCO file and the other formats, and return their names, with `*` for the name of a picture."""
        from xpose.pictures.atomic import write_bytes
        from xpose.results.formats.table import FORMATS, files

        names = [_without_ending(picture.below).as_posix() for picture in results]
        written: list[str] = []
        for name in ("coco", *self._files.formats):
            targets = []
            for path, content in files([*results.values()], names, name, **self._numbering(name)):
                targets.append(self._free(self.folder / path))
                self.replaced |= targets[-1].exists()
                write_bytes(targets[-1], content)
            if FORMATS[name].single:
                targets[: len(names)] = [self.folder / FORMATS[name].file.format(picture="*")]
            written += map(printable, targets)
        return written

    def _numbering(self, name: str) -> dict[str, Any]:
        """Options of a format that number the classes in the order of the prompts, found or not."""
        from xpose.results.formats.yolo import Layout

        labels = [prompt.names.label for prompt in self._prompts]
        if name == "yolo":
            points = dict.fromkeys(point for prompt in self._prompts for point in prompt.names.names)
            return {"layout": Layout(tuple(labels), tuple(points))}
        ids = {label: number for number, label in enumerate(labels, start=1)}
        return {"category_ids": ids} if name in ("coco", "coco-results") else {}

    def _free(self, path: Path) -> Path:
        free = _unused(path, self._used)
        self._used.add(_key(free))
        return free


def _as_file_name(label: str) -> str:
    """A class as a part of a file name."""
    return re.sub(r"[^\w-]+", "-", label)[:_LONGEST_LABEL].strip("-") or "object"


def drawing_paths(pictures: Iterable[InputPicture], folder: Path, taken: Iterable[Path]) -> dict[InputPicture, Path]:
    """The file of each picture's drawing: in the same subfolder of `folder`, with `_xpose` added to the name.

    A number is added if a path, ignoring case, is already used or in `taken` (the inputs).
    """
    used = {_key(path) for path in taken}
    targets = {}
    for picture in pictures:
        ending = _KEEP_ENDING.get(picture.below.suffix.lower(), ".png")
        name = _without_ending(picture.below)
        target = _unused(folder / name.with_name(f"{name.name}{DRAWN}{ending}"), used)
        used.add(_key(target))
        targets[picture] = target
    return targets


def _without_ending(path: Path) -> Path:
    """A path without its ending, short enough to add to the name."""
    stem = os.fsencode(path.stem)[:_LONGEST_STEM].decode("utf-8", "ignore")
    return path.with_name(stem or "picture")


def _unused(target: Path, used: Collection[str]) -> Path:
    """The path, with a number added if it is used already."""
    numbered = (target.with_stem(f"{target.stem}-{number}") for number in count(2))
    return next(path for path in chain([target], numbered) if _key(path) not in used)


def _key(path: Path) -> str:
    return os.path.abspath(path.expanduser()).casefold()


def _save_picture(picture: Image.Image, path: Path) -> None:
    from xpose.pictures.atomic import write_bytes

    stream = io.BytesIO()
    picture.save(stream, "JPEG" if path.suffix == ".jpg" else "PNG", quality=_JPEG_QUALITY)
    write_bytes(path, stream.getvalue())
