"""One run of the network, and everything that the sliders can make of it without running it again."""

from __future__ import annotations

import dataclasses
import io
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xpose.inference.postprocess import DEFAULT_NMS, DEFAULT_THRESHOLD, suppress_boxes

if TYPE_CHECKING:
    from xpose.demo.uploads import Upload
    from xpose.inference import Detector
    from xpose.results import Poses


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


@dataclass(frozen=True)
class Usual:
    """What the weights would keep.

    Attributes:
        sliders: where the sliders start.
        limits: the threshold of each class. The score slider moves all of them, from where it starts.
    """

    sliders: Sliders
    limits: Mapping[str, float]

    def keep(self, poses: Poses, sliders: Sliders) -> Poses:
        """The poses that pass, as `detect` would have given them with these numbers; no network is involved."""
        limits = {name: _moved(limit, self.sliders.score, sliders.score) for name, limit in self.limits.items()}
        kept = poses.filter(threshold=limits, keypoint_threshold=sliders.confidence)
        return kept[suppress_boxes(kept.boxes, np.arange(len(kept)), sliders.overlap)]


@dataclass(frozen=True, eq=False)
class Answer:
    """What the network found, before anything is dropped.

    Attributes:
        pictures: the pictures that it was asked about.
        found: for each of them every candidate, best first.
        usual: what the weights would keep of it.
        seconds: how long the network took for all of them.
    """

    pictures: tuple[Upload, ...]
    found: tuple[Poses, ...]
    usual: Usual
    seconds: float

    def kept(self, sliders: Sliders) -> list[Poses]:
        """What the sliders leave, for each picture."""
        return [self.usual.keep(poses, sliders) for poses in self.found]


def ask(detector: Detector, prompts: Any, pictures: Sequence[Upload]) -> Answer:
    """Run the network once for each picture.

    Raises:
        XPoseError: a prompt or a picture cannot be used.
    """
    started = time.perf_counter()
    encoded = detector.encode_prompts(prompts)
    limits = detector.limits(encoded)
    found = tuple(everything(detector, encoded, picture) for picture in pictures)
    usual = Usual(usual_sliders(detector, min(limits.values())), limits)
    return Answer(tuple(pictures), found, usual, time.perf_counter() - started)


def everything(detector: Detector, prompts: Any, picture: Upload) -> Poses:
    """Every candidate in a picture, called after the uploaded file."""
    poses = detector.detect(picture.pixels, prompts, threshold=0.0, keypoint_threshold=0.0, nms=None)
    named: Poses = dataclasses.replace(poses, source=picture.name)
    return named


def usual_sliders(detector: Detector, score: float | None = None) -> Sliders:
    """Where the weights say that the sliders should stand; that of the score for classes not known yet where None."""
    config = detector.model.config
    least = config.thresholds.get("", DEFAULT_THRESHOLD) if score is None else score
    return Sliders(_short(least), _short(config.keypoint_threshold), _short(config.nms))


def _short(number: float) -> float:
    """As many digits as a slider shows, not more than the number, so that nothing is dropped for it."""
    return math.floor(number * 1000 + 1e-6) / 1000


def _moved(limit: float, start: float, now: float) -> float:
    """A threshold after the slider went from `start` to `now`: as far, in logits. Its ends are all and nothing."""
    if now == start:
        return limit
    if _short(limit) == start or now in (0, 1):
        return now
    return 1 / (1 + math.exp(_logit(start) - _logit(limit) - _logit(now)))


def _logit(share: float) -> float:
    inside = min(max(share, 1e-6), 1 - 1e-6)
    return math.log(inside / (1 - inside))


def drawing(poses: Poses, picture: Upload, kind: str = "PNG") -> bytes:
    """The picture with the poses on it, as a file of a kind that Pillow knows."""
    stream = io.BytesIO()
    poses.draw(picture.pixels).save(stream, kind, **({"quality": 92} if kind == "JPEG" else {}))
    return stream.getvalue()


def coco_json(results: Sequence[Poses], names: Sequence[str]) -> bytes:
    """All results as one COCO file."""
    from xpose.results.formats import coco
    from xpose.results.formats.json import json_text

    return json_text(coco.instances(results, file_names=names), indent=1).encode()


def csv_table(results: Sequence[Poses]) -> bytes:
    """All points as a table."""
    from xpose.results.formats.csv import to_csv

    return to_csv(results).encode("utf-8", "replace")
