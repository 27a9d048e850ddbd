"""`xpose detect`: detect objects and their keypoints in pictures; writes drawings and a COCO file, prints a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _console, _options, _picture_loop
from xpose.cli._inputs import Fault, InputPicture, printable
from xpose.cli._output_folder import OutputFolder, check_folder

if TYPE_CHECKING:
    import numpy as np
    from rich.table import Table

    from xpose.inference import DetectionOptions, Detector
    from xpose.inference.encoded import EncodedClass
    from xpose.results import Pose, Poses

_PLURALS = {"pose_map": "pose maps", "crops": "crops"}
_DEFAULT_OUT = Path("xpose-out")
_OUT_HELP = "Folder for drawings and poses.json. Default: xpose-out, or no files with --json alone."
_PROFILE_HELP = "Write a PyTorch trace of the run, for chrome://tracing or Perfetto."


@_options.expanded
def detect(
    options: _options.DetectionCommandOptions,
    style: _options.DrawingOptions,
    files: _options.FileOptions,
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
    needed = out is not None or files.crops or files.pose_map or files.formats or not as_json
    folder = (out or _DEFAULT_OUT).expanduser() if needed else None
    if folder is not None:
        check_folder(folder)

    def results(
        detector: Detector, prompts: list[EncodedClass], pictures: list[InputPicture], kept: DetectionOptions
    ) -> _Results:
        inputs = [*(options.like or ()), *(options.points or ()), *([options.bank] if options.bank else ())]
        inputs += [picture.path for picture in pictures] + ([boxes_from] if boxes_from else [])
        limits = detector.limits(prompts, options=kept) if boxes_from is None else None
        output = None if folder is None else OutputFolder(folder, pictures, prompts, inputs, style, files)
        shown = bool(options.like) or options.bank is not None
        return _Results(output, prompts, limits, as_json, best, shown)

    # Best candidates are always found, because the table and the JSON list them; --best only draws and keeps them.
    find_best = best or boxes_from is None
    _picture_loop.detect_in_pictures(options, results, keypoint_threshold, find_best, boxes_from, folder, profile)


class _Results:
    """Draws each picture's result immediately, and writes and prints the rest at the end or after Ctrl-C."""

    def __init__(
        self,
        output: OutputFolder | None,
        prompts: Sequence[EncodedClass],
        limits: Mapping[str, float] | None,
        as_json: bool,
        best: bool,
        shown: bool,
    ) -> None:
        """`limits` are the minimum scores by class, None for known boxes; `shown`: with examples in the prompts."""
        self.output, self.limits, self.as_json, self.best, self.shown = output, limits, as_json, best, shown
        self.points = {prompt.names.label: len(prompt.names.names) for prompt in prompts}
        self.results: dict[InputPicture, Poses] = {}
        self.candidates: dict[InputPicture, Poses] = {}  # the best of each class without detections
        self._drawn: dict[InputPicture, dict[str, Any]] = {}

    def add(self, picture: InputPicture, poses: Poses, pixels: np.ndarray) -> None:
        """Draw the result of one picture, and keep it for the end."""
        self.candidates[picture], detections = poses[poses.tentative], poses[~poses.tentative]
        poses = poses if self.best else detections
        self._drawn[picture] = {"drawing": None} if self.output is None else self.output.draw(picture, poses, pixels)
        self.results[picture] = poses

    def finish(self, faults: Sequence[Fault]) -> None:
        """Write the files of the finished pictures, and print the table or JSON."""
        written = self.output.write(self.results) if self.output is not None and self.results else []
        if self.as_json:
            _console.show_json(self._as_dict(faults))
        elif self.results:
            _console.show(self._table())
        if self.output is not None and written:
            kinds = [key for key in ("pose_map", "crops") if any(paths.get(key) for paths in self._drawn.values())]
            drawn = " and ".join(", ".join(["Drawings", *(_PLURALS[key] for key in kinds)]).rsplit(", ", 1))
            _console.note(f"{drawn} are in {printable(self.output.folder)}, all results in {', '.join(written)}.")
            if self.output.replaced:
                _console.note("Earlier results there were replaced. To keep them, give another folder with -o.")
        if self.results and self.limits is not None and not any(map(self._total, self.points)):
            candidates = [pose for poses in self.candidates.values() for pose in poses]
            scores = [pose.score for pose in candidates if pose.score <= self.limits[pose.category]]
            _console.note(_advice(self.limits, max(scores, default=None), self.best, self.shown))

    def _as_dict(self, faults: Sequence[Fault]) -> dict[str, Any]:
        return {
            "pictures": [
                {
                    **self._drawn[picture],
                    **poses.to_dict(),
                    "best_candidates": {pose.category: self._candidate(pose) for pose in self.candidates[picture]},
                }
                for picture, poses in self.results.items()
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
        return sum(poses[~poses.tentative].categories.count(label) for poses in self.results.values())

    def _table(self) -> Table:
        rows, limits = [], self.limits or {}
        for source, poses in self.results.items():
            candidates = self.candidates[source]
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
        several = len(self.results) > 1
        for number, label in enumerate(self.points if several else ()):
            picture = "" if number else f"all {len(self.results)} pictures"
            rows.append([picture, printable(label), str(self._total(label)), "", ""])
        right = ("count", "best score", "its keypoints")
        return _console.table(("picture", "object", *right), rows, right=right, footer=len(self.points) * several)


def _advice(limits: Mapping[str, float], score: float | None, best: bool, shown: bool) -> str:
    """What to try if nothing was detected: only what can help, given the best score below the thresholds."""
    lowest, highest = min(limits.values()), max(limits.values())
    if lowest == highest:
        passed = f"the threshold of {lowest:.2g}"
    elif len(limits) <= 4:
        passed = "the threshold (" + ", ".join(f"{printable(name)} {limit:.2g}" for name, limit in limits.items()) + ")"
    else:
        passed = f"the thresholds, {lowest:.2g} to {highest:.2g}"
    tips = ["Classes compete with each other; try one at a time."] if len(limits) > 1 else []
    lower = f"{highest / 2:.1g}"
    if score is not None and score > float(lower):
        tips.append(f"A lower threshold detects more, with more false alarms (--threshold {lower}).")
    if score is not None and not best:
        tips.append("To see the best candidates, add --best.")
    if not shown:
        tips.append("An example picture often helps (--like).")
    return " ".join((f"No detection passed {passed}.", *tips))
