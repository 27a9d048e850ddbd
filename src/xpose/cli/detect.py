"""`xpose detect`: detect objects and their keypoints in pictures; writes drawings and a COCO file, prints a table."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _console, _options, _picture_loop
from xpose.cli._inputs import DRAWN, Fault, InputPicture, printable
from xpose.errors import ConfigError, quote

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from rich.table import Table

    from xpose.inference import DetectionOptions, Detector
    from xpose.inference.encoded import EncodedClass
    from xpose.results import Pose, Poses

_DEFAULT_OUT = Path("xpose-out")
_COCO_FILE = "poses.json"
_KEEP_ENDING = {".jpg": ".jpg", ".jpeg": ".jpg", ".png": ".png"}
_LONGEST_STEM = 180  # bytes; file systems allow 255; a number and an extension follow
_JPEG_QUALITY = 92
_OUT_HELP = "Folder for drawings and poses.json. Default: xpose-out, or no files with --json."
_PROFILE_HELP = "Write a PyTorch trace of the run, for chrome://tracing or Perfetto."


@_options.expanded
def detect(
    options: _options.DetectionCommandOptions,
    boxes_from: _options.BoxesFrom = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FOLDER", help=_OUT_HELP)] = None,
    as_json: _options.AsJson = False,
    profile: Annotated[Path | None, typer.Option(metavar="FILE", help=_PROFILE_HELP)] = None,
    keypoint_threshold: _options.KeypointThreshold = None,
    best: _options.Best = False,
) -> None:
    """Detect objects and their keypoints in pictures.

    Describe the objects in words, show them in an example picture, or do both. The command draws the detections in each
    picture and writes all results to one COCO file, poses.json. Pictures that cannot be read are reported and skipped.

    Examples:

    - xpose detect photo.jpg -t dog
    - xpose detect photos/ -t person,face -k person,68_face_points -o results
    - xpose detect "frames/*.png" --like leaf.jpg --points leaf.json
    """
    folder = (None if as_json else _DEFAULT_OUT) if out is None else out
    if folder is not None:
        _check_folder(folder)

    def results(
        detector: Detector, prompts: list[EncodedClass], pictures: list[InputPicture], kept: DetectionOptions
    ) -> _Results:
        inputs = [*(options.like or ()), *(options.points or ()), *([options.bank] if options.bank else ())]
        inputs += [picture.path for picture in pictures] + ([boxes_from] if boxes_from else [])
        limits = detector.limits(prompts, options=kept) if boxes_from is None else None
        return _Results(pictures, folder, prompts, limits, inputs, as_json, best)

    # Best candidates are always found, because the table and the JSON list them; --best only draws and keeps them.
    find_best = best or boxes_from is None
    _picture_loop.detect_in_pictures(options, results, keypoint_threshold, find_best, boxes_from, folder, profile)


def _check_folder(folder: Path) -> None:
    """Check that results can be written to it, without creating anything."""
    target = folder.expanduser()
    nearest = next(place for place in (target, *target.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise ConfigError(f"{quote(nearest)} is a file. Results go into a folder; give another name with -o.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(f"The folder {quote(nearest)} is not writable. Give another folder for results with -o.")


def drawing_paths(pictures: Iterable[InputPicture], folder: Path, taken: Iterable[Path]) -> dict[InputPicture, Path]:
    """The file of each picture's drawing: in the same subfolder of `folder`, with `_xpose` added to the name.

    A number is added if a path, ignoring case, is already used or in `taken` (the inputs).
    """
    used = {_key(path) for path in taken}
    targets = {}
    for picture in pictures:
        stem = os.fsencode(picture.below.stem)[:_LONGEST_STEM].decode("utf-8", "ignore")
        ending = _KEEP_ENDING.get(picture.below.suffix.lower(), ".png")
        target = _unused(folder / picture.below.with_name(f"{stem}{DRAWN}{ending}"), used)
        used.add(_key(target))
        targets[picture] = target
    return targets


def _unused(target: Path, used: Collection[str]) -> Path:
    """The path, with a number added if it is used already."""
    numbered = (target.with_stem(f"{target.stem}-{number}") for number in count(2))
    return next(path for path in chain([target], numbered) if _key(path) not in used)


def _key(path: Path) -> str:
    return os.path.abspath(path.expanduser()).casefold()


class _Results:
    """Draws each picture's result immediately, and writes the rest at the end or after Ctrl-C."""

    def __init__(
        self,
        pictures: Sequence[InputPicture],
        folder: Path | None,
        prompts: Sequence[EncodedClass],
        limits: Mapping[str, float] | None,
        inputs: Sequence[Path],
        as_json: bool,
        best: bool,
    ) -> None:
        """`limits` are the minimum scores by class, None for known boxes; `inputs` must not be overwritten."""
        self.as_json, self.limits, self.best = as_json, limits, best
        self.folder = None if folder is None else folder.expanduser()
        self.points = {prompt.names.label: len(prompt.names.names) for prompt in prompts}
        self.poses: list[Poses] = []
        self.candidates: list[Poses] = []  # of each picture, the best of each class without detections
        self._drawn: list[str | None] = []
        self._drawings = {} if self.folder is None else drawing_paths(pictures, self.folder, inputs)
        self._coco = None if self.folder is None else _unused(self.folder / _COCO_FILE, set(map(_key, inputs)))

    def add(self, picture: InputPicture, poses: Poses, pixels: np.ndarray) -> None:
        """Draw the result of one picture, and keep it for the end."""
        candidates, detections = poses[poses.tentative], poses[~poses.tentative]
        poses = poses if self.best else detections
        drawing = self._drawings.get(picture)
        if drawing is not None:
            _save_picture(poses.draw(pixels), drawing)
        self.poses.append(poses)
        self.candidates.append(candidates)
        self._drawn.append(None if drawing is None else printable(drawing))

    def finish(self, faults: Sequence[Fault]) -> None:
        """Write the COCO file of the finished pictures, and print the table or JSON."""
        from xpose.pictures.atomic import write_bytes
        from xpose.results.formats.table import encoded

        if self._coco is not None and self.poses:
            write_bytes(self._coco, encoded(self.poses, "coco"))
        if self.as_json:
            _console.show_json(self._as_dict(faults))
        elif self.poses:
            _console.show(self._table())
        if self._coco is not None and self.poses:
            _console.note(f"Drawings are in {printable(self.folder)}, all results in {printable(self._coco)}.")
        if self.poses and self.limits is not None and not any(map(self._total, self.points)):
            _console.note(_advice(self.limits, self.best))

    def _as_dict(self, faults: Sequence[Fault]) -> dict[str, Any]:
        return {
            "pictures": [
                {
                    "drawing": drawn,
                    **poses.to_dict(),
                    "best_candidates": {pose.category: self._candidate(pose) for pose in candidates},
                }
                for drawn, poses, candidates in zip(self._drawn, self.poses, self.candidates, strict=True)
            ],
            "counts": {label: self._total(label) for label in self.points},
            "failed": [fault.as_dict() for fault in faults],
        }

    def _candidate(self, pose: Pose) -> dict[str, Any]:
        from xpose.results.formats.json import number, score

        assert self.limits is not None
        threshold = score(self.limits[pose.category])
        return {"score": score(pose.score), "threshold": threshold, "box": [number(value) for value in pose.box]}

    def _total(self, label: str) -> int:
        return sum(poses[~poses.tentative].categories.count(label) for poses in self.poses)

    def _table(self) -> Table:
        rows, limits = [], self.limits or {}
        for poses, candidates in zip(self.poses, self.candidates, strict=True):
            for number, (label, points) in enumerate(self.points.items()):
                picture, of_class = "" if number else poses.source or "", poses[~poses.tentative][label]
                pose = max(of_class or candidates[label], key=lambda pose: pose.score, default=None)
                score = present = ""
                if pose is not None:
                    score = f"{pose.score:.2f}"
                    if pose.tentative and pose.score > limits[label]:  # a duplicate, or beyond --max-instances
                        score += ", suppressed"
                    elif pose.tentative:
                        score = f"{pose.score:.2g} < {limits[label]:.2g}"
                    present = f"{(pose.visibility > 0).sum()} of {points}" if points else ""
                rows.append([picture, printable(label), str(len(of_class)), score, present])
        several = len(self.poses) > 1
        for number, label in enumerate(self.points if several else ()):
            picture = "" if number else f"all {len(self.poses)} pictures"
            rows.append([picture, printable(label), str(self._total(label)), "", ""])
        right = ("count", "best score", "its keypoints")
        return _console.table(("picture", "object", *right), rows, right=right, footer=len(self.points) * several)


def _save_picture(picture: Image.Image, path: Path) -> None:
    from xpose.pictures.atomic import write_bytes

    stream = io.BytesIO()
    picture.save(stream, "JPEG" if path.suffix == ".jpg" else "PNG", quality=_JPEG_QUALITY)
    write_bytes(path, stream.getvalue())


def _advice(limits: Mapping[str, float], best: bool) -> str:
    """What to try if nothing was detected."""
    lowest, highest = min(limits.values()), max(limits.values())
    if lowest == highest:
        passed = f"the threshold of {lowest:.2g}"
    elif len(limits) <= 4:
        passed = "the threshold (" + ", ".join(f"{printable(name)} {limit:.2g}" for name, limit in limits.items()) + ")"
    else:
        passed = f"the thresholds, {lowest:.2g} to {highest:.2g}"
    tips = ["Classes compete with each other; try one at a time."] if len(limits) > 1 else []
    if highest > 0:
        tips.append(f"A lower threshold detects more, with more false alarms (--threshold {highest / 2:.1g}).")
    if not best:
        tips.append("To see the best candidates, add --best.")
    return " ".join((f"No detection passed {passed}.", *tips, "An example picture often helps (--like)."))
