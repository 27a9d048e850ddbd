"""One run of the network, and everything that the sliders can make of it without running it again."""

from __future__ import annotations

import dataclasses
import io
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xpose.inference.postprocess import DEFAULT_NMS, DEFAULT_THRESHOLD, suppress_boxes

if TYPE_CHECKING:
    from xpose.demo.uploads import Upload
    from xpose.inference import Detector
    from xpose.poses import Poses


@dataclass(frozen=True)
class Sliders:
    """What is kept of an answer.

    Attributes:
        score: objects must score higher.
        confidence: points must be at least so sure.
        overlap: of boxes that overlap by more, only the best stays.
    """

    score: float = DEFAULT_THRESHOLD
    confidence: float = 0.5
    overlap: float = DEFAULT_NMS

    def keep(self, poses: Poses) -> Poses:
        """The poses that pass, as `detect` would have given them with these numbers; no network is involved."""
        kept = poses.filter(threshold=self.score, keypoint_threshold=self.confidence)
        return kept[suppress_boxes(kept.boxes, np.arange(len(kept)), self.overlap)]


@dataclass(frozen=True, eq=False)
class Answer:
    """What the network found, before anything is dropped.

    Attributes:
        pictures: the pictures that it was asked about.
        found: for each of them every candidate, best first.
        labels: the classes that were asked for.
        start: where the sliders start.
        seconds: how long the network took for all of them.
    """

    pictures: tuple[Upload, ...]
    found: tuple[Poses, ...]
    labels: tuple[str, ...]
    start: Sliders
    seconds: float

    def kept(self, sliders: Sliders) -> list[Poses]:
        """What the sliders leave, for each picture."""
        return [sliders.keep(poses) for poses in self.found]


def ask(detector: Detector, prompts: Any, pictures: Sequence[Upload]) -> Answer:
    """Run the network once for each picture.

    Raises:
        XPoseError: a prompt or a picture cannot be used.
    """
    started = time.perf_counter()
    encoded = detector.encode_prompts(prompts)
    labels = tuple(one.names.label for one in encoded)
    found = tuple(everything(detector, encoded, picture) for picture in pictures)
    return Answer(tuple(pictures), found, labels, usual_sliders(detector, labels), time.perf_counter() - started)


def everything(detector: Detector, prompts: Any, picture: Upload) -> Poses:
    """Every candidate in a picture, called after the uploaded file."""
    poses = detector.detect(picture.pixels, prompts, threshold=0.0, keypoint_threshold=0.0, nms=None)
    named: Poses = dataclasses.replace(poses, source=picture.name)
    return named


def usual_sliders(detector: Detector, labels: Iterable[str] = ()) -> Sliders:
    """Where the weights say that the sliders should stand; of several classes the most generous."""
    config = detector.model.config
    rest = config.thresholds.get("", DEFAULT_THRESHOLD)
    score = min((config.thresholds.get(label, rest) for label in labels), default=rest)
    return Sliders(_short(score), _short(config.keypoint_threshold), _short(config.nms))


def _short(number: float) -> float:
    """As many digits as a slider shows, not more than the number, so that nothing is dropped for it."""
    return math.floor(number * 1000 + 1e-6) / 1000


def drawing(poses: Poses, picture: Upload, kind: str = "PNG") -> bytes:
    """The picture with the poses on it, as a file of a kind that Pillow knows."""
    stream = io.BytesIO()
    poses.draw(picture.pixels).save(stream, kind, **({"quality": 92} if kind == "JPEG" else {}))
    return stream.getvalue()


def coco_json(results: Sequence[Poses], names: Sequence[str]) -> bytes:
    """All results as one COCO file."""
    from xpose.adapters import coco
    from xpose.adapters.plain import json_text

    return json_text(coco.instances(results, file_names=names), indent=1).encode()


def csv_table(results: Sequence[Poses]) -> bytes:
    """All points as a table."""
    from xpose.adapters.table import to_csv

    return to_csv(results).encode("utf-8", "replace")
