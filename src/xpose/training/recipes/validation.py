"""Testing the averaged network during training: labelled pictures it does not learn from, asked for what they show.

A validator is anything that takes the network and gives numbers by name; the loop knows no more than that. This one
asks with words, with examples out of other pictures, or with both, and measures PCK (`xpose.evaluation`) of as many
answers as a picture holds objects of a category, as the protocol `nano-real` does.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from xpose.drawing.overlay import Figure
from xpose.evaluation import PCK, in_records_pixels
from xpose.evaluation.matching import match
from xpose.evaluation.questions import AskedClass, LabelledExample, key_of, read_pixels
from xpose.inference import DetectionOptions, Detector
from xpose.inference.encoding import PromptEncoder
from xpose.inference.engines.torch import TorchEngine
from xpose.model import XPose
from xpose.model.checkpoints.calibration import Calibration
from xpose.records import VISIBLE, Category, Record
from xpose.results import Poses
from xpose.training.reporting.figures import beside, drawn, figure_of, labelled_figures

Validator = Callable[[XPose], Mapping[str, float]]
THRESHOLDS = (0.1, 0.2)  # shares of the longer side of the labelled box
_EXAMPLES = 4  # of a category that are kept to choose from
_SIDE = 360  # of a drawn picture

Placed = tuple[Record, Path]


@dataclass(frozen=True)
class Answer:
    """What was found in one picture, in the record's pixels."""

    record: Record
    pixels: np.ndarray
    asking: str
    found: Poses


class PoseValidator:
    """PCK over some pictures, once for every way of asking: "text PCK@0.1", "visual PCK@0.1", ..."""

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
        """Take pictures to test on, and others whose objects serve as examples (never in the same picture).

        Args:
            records: the pictures.
            prompts: encodes them for a network of this kind; its `text` and `visual` are used.
            asking: "text", "visual", "combined".
            examples: pictures whose objects serve as examples; never in the picture that is asked.
            classes: of a closed-set network, which must be asked for all of them in their order.
            calibration: of the weights at the start, of which only the suppression of duplicates counts.
        """
        self.records, self.prompts, self.asking, self.classes = records, prompts, tuple(asking), tuple(classes)
        # Classes are compared by thresholds, and those of the weights at the start know nothing of what follows.
        self.calibration = dataclasses.replace(calibration, thresholds={})
        self._examples = _examples_by_category(examples)

    def __call__(self, model: XPose) -> dict[str, float]:
        """The numbers of a network in eval mode."""
        metrics = {asking: PCK(THRESHOLDS) for asking in self.asking}
        for answer in self.answers(model, self.records):
            metrics[answer.asking].update(answer.record, answer.found)
        return {
            f"{asking} {name}": value
            for asking, metric in metrics.items()
            for name, value in metric.compute().items()
            if name in metric.names
        }

    def answers(self, model: XPose, records: Sequence[Placed]) -> Iterator[Answer]:
        """What the network finds, picture by picture and way by way."""
        # New for every call: it remembers prompts in the width of the network, whose weights have changed since.
        encoder = PromptEncoder(model, lambda: self.prompts.text, lambda: self.prompts.visual)
        detector = Detector(TorchEngine(model), encoder, "average", self.calibration)
        options = DetectionOptions(threshold=0.0, rivals=())
        for record, place in records:
            pixels = read_pixels(place, record.picture.file, (record.picture.width, record.picture.height))
            encoded = detector.encode_image(pixels)
            for asking in self.asking:
                questions = [self._asked(category, asking, record) for category in self._categories(record)]
                found = detector.detect(encoded, [one.prompt() for one in questions], options=options)
                yield Answer(record, pixels, asking, in_records_pixels(_as_many(found, record)))

    def drawings(self, model: XPose, count: int) -> list[tuple[str, Image.Image]]:
        """Some of the pictures with their names: as labelled, then as found by each way of asking."""
        shown: dict[str, list[Image.Image]] = {}
        for answer in self.answers(model, self.records[:count]):
            name = key_of(answer.record)
            if name not in shown:
                shown[name] = [drawn(answer.pixels, labelled_figures(answer.record), side=_SIDE)]
            shown[name].append(drawn(answer.pixels, _found_figures(answer), side=_SIDE))
        ways = ", ".join(self.asking)
        return [(f"{name}: labelled, {ways}", beside(pictures)) for name, pictures in shown.items()]

    def _categories(self, record: Record) -> list[Category]:
        """What a picture is asked for: all that it shows; of a closed-set network everything it knows."""
        if self.classes:
            return list(self.classes)
        return list(dict.fromkeys(instance.category for instance in record.instances if not instance.iscrowd))

    def _asked(self, category: Category, asking: str, record: Record) -> AskedClass:
        others = [e for e in self._examples.get(category.name, ()) if key_of(e.record) != key_of(record)]
        if asking == "text" or not others:  # what has no example is asked for in words, as in training
            return AskedClass.of(category)
        return AskedClass.of(category, asking, (others[0],))


def _as_many(found: Poses, record: Record) -> Poses:
    """Of every category the best, as many as the record holds."""
    left = Counter(instance.category.name for instance in record.instances if not instance.iscrowd)
    keep = []
    for row in np.argsort(-found.scores, kind="stable").tolist():
        if left[found.categories[row]] > 0:
            left[found.categories[row]] -= 1
            keep.append(row)
    return found[keep]


def _examples_by_category(placed: Sequence[Placed]) -> dict[str, list[LabelledExample]]:
    """For each category some objects with at least half of their points in sight, the best shown and largest first."""
    found: dict[str, list[tuple[float, float, bytes, LabelledExample]]] = {}
    for record, place in placed:
        for number, instance in enumerate(record.instances):
            seen = sum(v == VISIBLE for *_, v in instance.keypoints.values())
            if instance.iscrowd or not seen or 2 * seen < len(instance.category.keypoints):
                continue
            share = seen / len(instance.category.keypoints)
            order = hashlib.sha256(f"{key_of(record)}/{number}".encode()).digest()
            rows = found.setdefault(instance.category.name, [])
            rows.append((-share, -max(instance.box[2:]), order, LabelledExample(record, place, number)))
            if len(rows) > 50 * _EXAMPLES:
                found[instance.category.name] = sorted(rows, key=lambda row: row[:3])[:_EXAMPLES]
    return {
        name: [example for *_, example in sorted(rows, key=lambda row: row[:3])[:_EXAMPLES]]
        for name, rows in found.items()
    }


def _found_figures(answer: Answer) -> list[Figure]:
    """For each labelled object the pose that belongs to it."""
    found, figures = answer.found, []
    for row in dict.fromkeys(row for row in match(answer.record, found) if row is not None):
        names = found.keypoint_names[row]
        points = {name: (float(x) + 0.5, float(y) + 0.5, 2) for name, (x, y) in zip(names, found.xy[row], strict=False)}
        box, score = found.boxes[row].tolist(), float(found.scores[row])
        figures.append(figure_of(box, found.categories[row], names, points, found.edges[row], score))
    return figures
