"""Validation during training: the right questions about the right pictures, measured in the record's pixels."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.evaluation import cases
from tests.evaluation.cases import DOG, FACE, found, labelled, pose
from tests.inference.conftest import own_detector

from xpose.data.loading.pool import read_places
from xpose.data.synthetic.scenes import write_synthetic
from xpose.evaluation.data import Placed
from xpose.evaluation.questions import key_of
from xpose.inference import DetectionOptions
from xpose.model.checkpoints.calibration import Calibration
from xpose.prompts import CombinedPrompt, TextPrompt, VisualPrompt
from xpose.records import Record
from xpose.results import Poses
from xpose.training.recipes import validation
from xpose.training.recipes.validation import PoseValidator

DETECTOR = own_detector()


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Placed]:
    folder = tmp_path_factory.mktemp("drawn") / "set"
    write_synthetic(folder, 8, seed=1, size=(96, 96), kinds=("fish", "face"), objects=(1, 2), validation=0.0)
    return [(record, place) for record, place in read_places(folder, "train") if record.instances]


class Knowing:
    """Stands in for the detector: finds what is labelled, `off` pixels to the right, and notes what it is asked."""

    records: dict[bytes, Record]
    off = 0.0
    asked: list[tuple[Record, list[Any]]]

    thresholds: list[dict[str, float]]

    def __init__(self, engine: object, prompts: object, name: str, calibration: Calibration) -> None:
        self.calibration = calibration

    def encode_image(self, pixels: np.ndarray) -> Record:
        return type(self).records[pixels.tobytes()]

    def detect(self, record: Record, prompts: list[Any], **options: object) -> Poses:
        type(self).asked.append((record, prompts))
        type(self).thresholds.append(dict(self.calibration.thresholds))
        assert options == {"options": DetectionOptions(threshold=0.0, rivals=())}
        names = tuple(one.category.keypoints for one in record.instances)
        widest = max(map(len, names))
        xy = np.full((len(names), widest, 2), np.nan, np.float32)
        for row, one in enumerate(record.instances):
            for column, name in enumerate(one.category.keypoints):
                x, y, _ = one.point(name)
                xy[row, column] = x + 0.5 + type(self).off, y + 0.5  # a detector counts continuously
        boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in (one.box for one in record.instances)], np.float32)
        return Poses(
            boxes=boxes,
            scores=np.ones(len(names), np.float32),
            categories=tuple(one.category.name for one in record.instances),
            xy=xy,
            keypoint_scores=np.ones((len(names), widest), np.float32),
            visibility=np.where(np.isnan(xy[..., 0]), 0, 2).astype(np.uint8),
            keypoint_names=names,
            canonical_names=names,
            edges=tuple(() for _ in names),
            image_size=(record.picture.height, record.picture.width),
        )


@pytest.fixture
def knowing(records: list[Placed], monkeypatch: pytest.MonkeyPatch) -> type[Knowing]:
    def content(record: Record, place: Any) -> bytes:
        size = (record.picture.width, record.picture.height)
        return validation.read_pixels(place, record.picture.file, size).tobytes()

    Knowing.records = {content(record, place): record for record, place in records}
    Knowing.asked, Knowing.thresholds, Knowing.off = [], [], 0.0
    monkeypatch.setattr(validation, "Detector", Knowing)
    return Knowing


def test_what_is_found_in_its_place_counts_in_full_and_nothing_else(
    records: list[Placed], knowing: type[Knowing]
) -> None:
    validator = PoseValidator(records, DETECTOR.prompts)
    assert validator(DETECTOR.model) == {"text PCK@0.1": 1.0, "text PCK@0.2": 1.0}
    smallest = min(max(one.box[2:]) for record, _ in records for one in record.instances)
    knowing.off = 0.09 * smallest
    assert validator(DETECTOR.model)["text PCK@0.1"] == 1.0, "half a pixel more or less would not pass here"
    knowing.off = 100.0
    assert validator(DETECTOR.model) == {"text PCK@0.1": 0.0, "text PCK@0.2": 0.0}


def test_the_quality_of_every_category(records: list[Placed], knowing: type[Knowing]) -> None:
    """Weighed by its objects, it is the whole."""
    knowing.off = 6.0
    measures = PoseValidator(records, DETECTOR.prompts)(DETECTOR.model)
    counts = Counter(
        (one.category.name, one.category.skeleton) for record, _ in records for one in record.instances if one.keypoints
    )
    assert {key: quality.objects for key, quality in measures.quality.items()} == counts
    for name, whole in measures.items():
        shares = [quality.measures[name] * quality.objects for quality in measures.quality.values()]
        assert sum(shares) / counts.total() == pytest.approx(whole)


def test_of_every_category_as_many_answers_count_as_there_are_objects() -> None:
    shown = cases.record(labelled(), labelled(), labelled(DOG, iscrowd=True), labelled(FACE))
    answers = [pose(DOG, (0, 0, 9, 9), score) for score in (0.2, 0.9, 0.5)]
    answers += [pose(FACE, (0, 0, 9, 9), score) for score in (0.6, 0.7)]
    kept = validation._as_many(found(*answers), shown)
    assert list(zip(kept.categories, kept.scores.tolist(), strict=True)) == [
        ("dog", pytest.approx(0.9)),
        ("face", pytest.approx(0.7)),
        ("dog", pytest.approx(0.5)),
    ]
    assert len(validation._as_many(found(*answers), cases.record())) == 0


def test_every_way_of_asking_has_its_numbers_and_examples_of_other_pictures(
    records: list[Placed], knowing: type[Knowing]
) -> None:
    ways = ("text", "visual", "combined")
    validator = PoseValidator(records, DETECTOR.prompts, asking=ways, examples=records)
    assert set(validator(DETECTOR.model)) == {f"{way} PCK@{t}" for way in ways for t in (0.1, 0.2)}
    kinds = (TextPrompt, VisualPrompt, CombinedPrompt)
    for number, (record, prompts) in enumerate(knowing.asked):
        assert all(isinstance(one, kinds[number % 3]) for one in prompts)
        assert len(prompts) == len({one.category.name for one in record.instances})
    for category in {one.category for record, _ in records for one in record.instances}:
        for record, _ in records:
            asked = validator._asked(category, "visual", record)
            assert asked.examples
            assert all(key_of(one.record) != key_of(record) for one in asked.examples)


def test_what_has_no_example_is_asked_for_in_words(records: list[Placed], knowing: type[Knowing]) -> None:
    PoseValidator(records[:1], DETECTOR.prompts, asking=("visual",), examples=records[:1])(DETECTOR.model)
    assert all(isinstance(one, TextPrompt) for _, prompts in knowing.asked for one in prompts)


def test_a_closed_set_is_asked_for_all_its_classes_in_order(records: list[Placed], knowing: type[Knowing]) -> None:
    classes = sorted({one.category for record, _ in records for one in record.instances}, key=lambda one: one.name)
    other = replace(classes[0], name="something else")
    PoseValidator(records, DETECTOR.prompts, classes=(*classes, other))(DETECTOR.model)
    for _, prompts in knowing.asked:
        assert [one.object for one in prompts] == [*(one.name for one in classes), "something else"]


def test_a_real_network_is_measured_and_drawn(records: list[Placed], tmp_path: Path) -> None:
    validator = PoseValidator(records[:3], DETECTOR.prompts, asking=("text", "visual"), examples=records)
    values = validator(DETECTOR.model)
    assert all(0 <= value <= 1 for value in values.values())
    assert values == validator(DETECTOR.model)
    drawings = validator.drawings(DETECTOR.model, 2)
    assert [caption for caption, _ in drawings] == [f"{key_of(r)}: labelled, text, visual" for r, _ in records[:2]]
    assert all(picture.width > 3 * 300 for _, picture in drawings)


def test_thresholds_that_the_weights_began_with_do_not_count(records: list[Placed], knowing: type[Knowing]) -> None:
    """By them several classes are compared in use; what is learned now they know nothing of."""
    begun = own_detector(thresholds={"fish": 0.05, "face": 0.95})
    PoseValidator(records, begun.prompts, calibration=begun.calibration)(begun.model)
    assert knowing.thresholds == [{}] * len(records)
