"""Candidates of one run, filtered by thresholds without another run, and their drawings, tables and files."""

from __future__ import annotations

import dataclasses
import math
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xpose.drawing.figures import LegendPlace, Style
from xpose.inference.postprocess import suppress_boxes
from xpose.results.draw import draw
from xpose.results.formats.table import encoded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from PIL import Image

    from xpose.demo.pictures import UploadedPicture
    from xpose.inference import Detector
    from xpose.inference.detector import Prompts
    from xpose.results import Poses

FILES = {"drawings": "Save drawings", "poses.json": "Save poses (COCO)", "poses.csv": "Save table (CSV)"}
COLUMNS = ["Object", "Keypoint", "x", "y", "Confidence", "State", "Score", "Picture"]
_STATES = {0: "not found", 1: "covered", 2: "visible"}
_LABEL_SHARE = 1 / 36  # so that the names of boxes are legible on a phone
_MOST_ROWS = 2000  # rows shown on the page; the file has all
_PLURALS = {"person": "people", "man": "men", "woman": "women", "child": "children", "mouse": "mice", "foot": "feet"}
_PLURALS |= {"goose": "geese", "wolf": "wolves", "leaf": "leaves"}


@dataclass(frozen=True)
class Thresholds:
    """The score thresholds by class, the keypoint threshold, and the largest overlap of two boxes."""

    scores: Mapping[str, float]
    confidence: float
    overlap: float


@dataclass(frozen=True, eq=False)
class RunCandidates:
    """What the network detected, before thresholds are applied."""

    usual: Thresholds  # from the weights
    pictures: Sequence[UploadedPicture]  # searched ones only
    candidates: Sequence[Poses]  # one entry per picture, best first
    failed: Sequence[str] = ()  # a line for each picture that could not be searched
    hint: str = ""  # what else may help if nothing is found

    def keep(self, thresholds: Thresholds) -> list[Poses]:
        """What `detect` returns with these thresholds. An unmoved slider stands for the exact, unrounded value."""
        scores = {
            name: limit if thresholds.scores[name] == rounded(limit) else thresholds.scores[name]
            for name, limit in self.usual.scores.items()
        }
        passed = (poses.filter(threshold=scores, keypoint_threshold=thresholds.confidence) for poses in self.candidates)
        return [poses[suppress_boxes(poses.boxes, np.arange(len(poses)), thresholds.overlap)] for poses in passed]


def candidates(detector: Detector, prompts: Prompts, picture: UploadedPicture) -> Poses:
    """All candidates in a picture, with the name of the uploaded file as their source."""
    poses = detector.detect(picture.pixels, prompts, threshold=0.0, keypoint_threshold=0.0, nms=1.0)
    return dataclasses.replace(poses, source=picture.name)


def usual_thresholds(detector: Detector, prompts: Prompts) -> Thresholds:
    """The thresholds stored with the weights."""
    stored = detector.calibration
    return Thresholds(detector.limits(prompts), rounded(stored.keypoint_threshold), rounded(stored.nms))


def rounded(number: float) -> float:
    """Round down to the digits of a slider, so that no object is lost."""
    return math.floor(number * 1000 + 1e-6) / 1000


def counted(results: Iterable[Poses]) -> str:
    """The number of objects of each class, as in "3 people, 1 dog"; empty if there are none."""
    totals = sum((Counter(poses.count()) for poses in results), Counter[str]())
    return ", ".join(f"{number} {name if number == 1 else plural(name)}" for name, number in totals.items())


def plural(name: str) -> str:
    """The English plural of an object's name, by its last word; a plural is returned unchanged."""
    start, blank, last = name.rpartition(" ")
    if last in _PLURALS:
        return f"{start}{blank}{_PLURALS[last]}"
    if last in {*_PLURALS.values(), "fish", "sheep", "deer"} or (last[-1:] == "s" and last[-2:] not in ("ss", "us")):
        return name
    if last[-1:] == "y" and last[-2:-1] not in tuple("aeiou"):
        return f"{name[:-1]}ies"
    return f"{name}es" if last.endswith(("s", "x", "z", "ch", "sh")) else f"{name}s"


def draw_shown(picture: UploadedPicture, poses: Poses, legend: LegendPlace) -> Image.Image:
    """The picture as the page shows it, with its poses."""
    return draw(poses, picture.shown, None, Style(legend=legend, label_share=_LABEL_SHARE))


def name_at(poses: Poses, x: float, y: float) -> str:
    """Name the keypoint nearest to a pixel, or the smallest box around it, with scores; empty if there is none."""
    points, boxes = [(math.inf, "")], [(math.inf, "")]
    for pose in poses:
        title = f"{pose.category} {pose.score:.2f}"
        for name, point in pose.points.items():
            if point.v:
                points.append((math.dist((x, y), (point.x, point.y)), f"{name} {point.score:.2f} ({title})"))
        if (pose.box[:2] <= (x, y)).all() and (pose.box[2:] >= (x, y)).all():
            boxes.append((pose.area, title))
    distance, text = min(points)
    return text if distance <= 0.02 * max(poses.image_size) else min(boxes)[1]


def table(results: Sequence[Poses]) -> list[list[object]]:
    """A row for each keypoint; objects are counted from 1 in each picture."""
    rows: list[list[object]] = []
    for poses in results:
        for number, pose in enumerate(poses, start=1):
            label, end = f"{pose.category} {number}", [round(float(pose.score), 3), poses.source]
            if not pose.names:
                rows.append([label, "", "", "", "", "", *end])
            for name, point in pose.points.items():
                place = [round(float(point.x), 1), round(float(point.y), 1)] if point.v else ["", ""]
                rows.append([label, name, *place, round(float(point.score), 3), _STATES[point.v], *end])
    return rows[:_MOST_ROWS]


def write_file(kind: str, result: RunCandidates, kept: Sequence[Poses], folder: Path) -> Path:
    """Write one of `FILES`; drawings of several pictures share an archive with all other files."""
    names = [picture.name for picture in result.pictures]
    texts = {"poses.json": encoded(kept, "coco", file_names=names), "poses.csv": encoded(kept, "csv")}
    if result.failed:
        texts["failed.txt"] = "".join(f"{line}\n" for line in result.failed).encode("utf-8", "replace")
    if kind in texts:
        (folder / kind).write_bytes(texts[kind])
        return folder / kind
    stems = file_stems(names)
    if len(names) == 1:
        path = folder / f"{stems[0]}_xpose.png"
        kept[0].draw(result.pictures[0].pixels).save(path)
        return path
    with zipfile.ZipFile(folder / "xpose.zip", "w", zipfile.ZIP_STORED) as archive:  # pictures are compressed already
        for poses, picture, stem in zip(kept, result.pictures, stems, strict=True):
            jpeg = picture.name.lower().endswith((".jpg", ".jpeg"))
            with archive.open(f"{stem}_xpose.{'jpg' if jpeg else 'png'}", "w") as file:
                drawing = poses.draw(picture.pixels, legend="inside")  # all as large as their pictures
                drawing.save(file, "JPEG" if jpeg else "PNG", quality=92)
        for name, text in texts.items():
            archive.writestr(name, text)
    return folder / "xpose.zip"


def file_stems(names: Sequence[str]) -> list[str]:
    """A unique file name without ending for each drawing, even on file systems that ignore case."""
    stems: list[str] = []
    for name in names:
        safe = "".join(c if c.isalnum() or c in " -_." else "_" for c in name.rpartition(".")[0] or name)
        stem = unique = safe.strip(" .")[:80] or "picture"
        number, used = 1, {earlier.casefold() for earlier in stems}
        while unique.casefold() in used:
            unique, number = f"{stem}-{number + 1}", number + 1
        stems.append(unique)
    return stems
