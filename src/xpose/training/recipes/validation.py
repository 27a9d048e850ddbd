"""Test the averaged network during training: PCK on labelled pictures, prompted with the categories they show.

The prompts are words, examples from other pictures, or both. For each category, as many answers count as the picture
shows objects, as in the protocol `nano-real`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image

from xpose.evaluation import PCK, in_records_pixels
from xpose.evaluation.data import Placed
from xpose.evaluation.matching import as_poses, match
from xpose.evaluation.questions import AskedClass, LabelledExample, categories_of, key_of, read_pixels
from xpose.inference import DetectionOptions, Detector
from xpose.inference.encoding import PromptEncoder
from xpose.inference.engines.torch import TorchEngine
from xpose.model import XPose
from xpose.model.checkpoints.calibration import Calibration
from xpose.model.checkpoints.categories import Key, Quality
from xpose.records import VISIBLE, Category, Record
from xpose.results import Poses

THRESHOLDS = (0.1, 0.2)  # shares of the longer side of the labelled box
_EXAMPLES = 4  # kept per category, to choose from
_SIDE = 360  # of a drawn picture


class Measures(dict[str, float]):
    """The measures of a validation by name, and the quality of each category that the pictures show."""

    def __init__(self, values: Mapping[str, float], quality: Mapping[Key, Quality]) -> None:
        super().__init__(values)
        self.quality = quality


class PoseValidator:
    """PCK over some pictures for every kind of prompt: "text PCK@0.1", "visual PCK@0.1", ..."""

    def __init__(
        self,
        records: Sequence[Placed],
        prompts: PromptEncoder,
        *,
        asking: Sequence[str] = ("text",),
        examples: Sequence[Placed] = (),
        classes: Sequence[Category] = (),
        calibration: Calibration = Calibration(),  # noqa: B008 - frozen
    ) -> None:
        """Take the pictures to test on, and encoders for networks of this kind.

        Objects in `examples` serve as examples for other pictures only. `classes` are those of a closed-set network,
        in its order. Only the suppression is used from the `calibration` of the starting weights.
        """
        self.records, self.prompts, self.asking, self.classes = records, prompts, tuple(asking), tuple(classes)
        # Classes are compared by thresholds; those of the starting weights do not fit the trained ones.
        self.calibration = dataclasses.replace(calibration, thresholds={})
        self._examples = _examples_by_category(examples)
        self.seconds = 0.0  # duration of the last validation

    def __call__(self, model: XPose) -> Measures:
        """Measure a network in eval mode."""
        started = time.monotonic()
        metrics = {asking: PCK(THRESHOLDS) for asking in self.asking}
        by_category: dict[Key, dict[str, PCK]] = {}
        for record, _, asking, poses in self._answers(model, self.records):
            metrics[asking].update(record, poses)
            for key, part in _by_category(record):
                by_category.setdefault(key, {}).setdefault(asking, PCK(THRESHOLDS)).update(part, poses)
        quality = {key: _quality(of_one) for key, of_one in by_category.items()}
        self.seconds = time.monotonic() - started
        return Measures(_headlines(metrics), {key: of_one for key, of_one in quality.items() if of_one.objects})

    def _answers(self, model: XPose, records: Sequence[Placed]) -> Iterator[tuple[Record, np.ndarray, str, Poses]]:
        """Each picture with its pixels, the kind of prompt and the detected poses, in the record's pixels."""
        # New for every call: it caches prompts projected by the network's weights, which have changed since.
        given = self.prompts.engine
        assert isinstance(given, TorchEngine), type(given)
        engine = TorchEngine(model, lambda: given.visual)
        detector = Detector(engine, PromptEncoder(engine, lambda: self.prompts.text), "average", self.calibration)
        options = DetectionOptions(threshold=0.0, rivals=())
        for record, place in records:
            pixels = read_pixels(place, record.picture.file, (record.picture.width, record.picture.height))
            encoded = detector.encode_image(pixels)
            for asking in self.asking:
                categories = self.classes or categories_of(record)  # a closed-set network needs all its classes
                questions = [self._asked(category, asking, record) for category in categories]
                poses = detector.detect(encoded, [question.prompt() for question in questions], options=options)
                yield record, pixels, asking, in_records_pixels(_as_many(poses, record))

    def drawings(self, model: XPose, count: int) -> list[tuple[str, Image.Image]]:
        """Some pictures with their names: as labelled, then as detected with each kind of prompt."""
        rows: dict[str, list[np.ndarray]] = {}
        for record, pixels, _, poses in self._answers(model, self.records[:count]):
            if key_of(record) not in rows:
                rows[key_of(record)] = [_drawn(pixels, as_poses(_without_crowds(record)))]
            matched = dict.fromkeys(row for row in match(record, poses) if row is not None)
            rows[key_of(record)].append(_drawn(pixels, poses[list(matched)]))
        kinds = ", ".join(self.asking)
        return [(f"{name}: labelled, {kinds}", Image.fromarray(np.hstack(row))) for name, row in rows.items()]

    def _asked(self, category: Category, asking: str, record: Record) -> AskedClass:
        others = [e for e in self._examples.get(category.name, ()) if key_of(e.record) != key_of(record)]
        if asking == "text" or not others:  # without an example, prompt with words, as in training
            return AskedClass.of(category)
        return AskedClass.of(category, asking, (others[0],))


def _headlines(metrics: Mapping[str, PCK]) -> dict[str, float]:
    return {
        f"{asking} {name}": value
        for asking, metric in metrics.items()
        for name, value in metric.compute().items()
        if name in metric.names
    }


def _by_category(record: Record) -> Iterator[tuple[Key, Record]]:
    """The record with the objects of one category and skeleton at a time."""
    keys = [(instance.category.name, instance.category.skeleton) for instance in record.instances]
    for key in dict.fromkeys(keys):
        shown = tuple(instance for of, instance in zip(keys, record.instances, strict=True) if of == key)
        yield key, dataclasses.replace(record, instances=shown)


def _quality(metrics: Mapping[str, PCK]) -> Quality:
    return Quality(_headlines(metrics), max(int(metric.compute()["objects"]) for metric in metrics.values()))


def _as_many(poses: Poses, record: Record) -> Poses:
    """The best poses per category, as many as the record holds."""
    left = Counter(instance.category.name for instance in _without_crowds(record).instances)
    keep = []
    for row in np.argsort(-poses.scores, kind="stable").tolist():
        if left[poses.categories[row]] > 0:
            left[poses.categories[row]] -= 1
            keep.append(row)
    return poses[keep]


def _examples_by_category(placed: Sequence[Placed]) -> dict[str, list[LabelledExample]]:
    """For each category some objects with at least half of their points visible, the most visible and largest first."""
    ranked: dict[str, list[tuple[float, float, bytes, LabelledExample]]] = {}
    for record, place in placed:
        for number, instance in enumerate(record.instances):
            visible = sum(v == VISIBLE for *_, v in instance.keypoints.values())
            share = visible / max(1, len(instance.category.keypoints))
            if share >= 0.5 and not instance.iscrowd:
                order = hashlib.sha256(f"{key_of(record)}/{number}".encode()).digest()
                row = (-share, -max(instance.box[2:]), order, LabelledExample(record, place, number))
                ranked.setdefault(instance.category.name, []).append(row)
    best = {name: sorted(rows, key=lambda row: row[:3])[:_EXAMPLES] for name, rows in ranked.items()}
    return {name: [example for *_, example in rows] for name, rows in best.items()}


def _without_crowds(record: Record) -> Record:
    return dataclasses.replace(record, instances=tuple(i for i in record.instances if not i.iscrowd))


def _drawn(pixels: np.ndarray, poses: Poses) -> np.ndarray:
    """Draw all points of poses, given in the record's pixels (half a pixel off a drawing's), on a small picture."""
    scale = _SIDE / max(pixels.shape[:2])
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    visibility = np.where(np.isfinite(poses.xy).all(-1), np.maximum(poses.visibility, 1), 0)
    placed = dataclasses.replace(poses, xy=poses.xy + 0.5, visibility=visibility, source=None)
    picture = Image.fromarray(pixels).resize((width, height))
    return np.asarray(placed.draw(picture, labels=True, legend="none").convert("RGB"))
