"""The flip test: turning back is exact, the mean is the mean, and nothing is added."""

import dataclasses

import numpy as np
import pytest
from tests.data.small_sets import category
from tests.evaluation.cases import found, labelled, pose, record
from tests.evaluation.drawn_sets import BIRD, thing, write_set
from tests.inference.conftest import own_detector

from xpose.evaluation.questions import AskedClass, Question, Settings
from xpose.evaluation.runner import evaluate
from xpose.evaluation.sources import DetectorSource, in_records_words, merged, unflipped

BIRDS = category("bird", "alpine_bird")
QUESTION = Question(
    (AskedClass.of(BIRDS),), record(labelled(BIRDS, (10, 10, 60, 40), head=(20, 20)), size=(60, 80)), 1, "set"
)
POINTS = {"head": (20, 20), "tail": (60, 40), "left_wing": (30, 45), "right_wing": (40, 12)}


def mirrored(poses, question=QUESTION):
    """What a perfect detector finds in the mirror image of an 80 pixel wide picture."""
    return unflipped(poses, question)


def test_turning_back_by_hand():
    """Column 20 of 80 is column 59 of the mirror image; a box from 10 to 70 is one from 10 to 70."""
    back = unflipped(found(pose(BIRDS, (5, 10, 20, 40), 0.9, **POINTS), size=(60, 80)), QUESTION)
    named = dict(zip(back.keypoint_names[0], back.xy[0].tolist(), strict=True))
    assert named == {"head": [59, 20], "tail": [19, 40], "right wing": [49, 45], "left wing": [39, 12]}
    assert back.boxes.tolist() == [[55, 10, 75, 50]]


def test_turning_twice_changes_nothing():
    poses = found(pose(BIRDS, (5, 10, 20, 40), 0.9, **POINTS), pose(BIRDS, (30, 10, 20, 40), 0.5), size=(60, 80))
    again = unflipped(unflipped(poses, QUESTION), QUESTION)
    assert again.keypoint_names == poses.keypoint_names
    np.testing.assert_array_equal(again.xy, poses.xy)
    np.testing.assert_allclose(again.boxes, poses.boxes)


def test_a_perfect_answer_stays_as_it_is():
    poses = found(pose(BIRDS, (10, 10, 60, 40), 0.9, **POINTS), size=(60, 80))
    both = merged(poses, mirrored(poses), QUESTION)
    np.testing.assert_allclose(both.xy, poses.xy, atol=1e-5)
    np.testing.assert_allclose(both.boxes, poses.boxes, atol=1e-5)
    np.testing.assert_allclose(both.scores, poses.scores)


def test_the_mean_by_hand():
    """The mirrored picture moves the head by 4, and the score falls from 0.9 to 0.5; the second pose has no partner."""
    straight = found(
        pose(BIRDS, (10, 10, 60, 40), 0.9, **POINTS), pose(BIRDS, (0, 0, 8, 8), 0.8, head=(3, 3)), size=(60, 80)
    )
    other = found(pose(BIRDS, (14, 10, 60, 40), 0.5, **{**POINTS, "head": (24, 20)}), size=(60, 80))
    both = merged(straight, mirrored(other), QUESTION)
    assert len(both) == 2
    np.testing.assert_allclose(both.scores, [0.8, 0.7], rtol=1e-6)  # best first again
    np.testing.assert_allclose(both.xy[1, 0], [22, 20], atol=1e-5)
    np.testing.assert_allclose(both.boxes[1], [12, 10, 72, 50], atol=1e-5)
    np.testing.assert_allclose(both.boxes[0], straight.boxes[1])
    assert [round(value, 6) for value in both.xy[0, 0].tolist()] == [3.0, 3.0]


def test_what_only_the_mirror_shows_is_dropped():
    nothing = found(size=(60, 80))
    seen = found(pose(BIRDS, (10, 10, 60, 40), 0.9, **POINTS), size=(60, 80))
    assert len(merged(nothing, mirrored(seen), QUESTION)) == 0
    assert merged(seen, nothing, QUESTION) == seen


def test_a_detector_is_asked_both_ways(tmp_path):
    bird = thing((20, 10, 40, 40), (25, 15), (55, 45), (25, 45), (55, 15))
    write_set(tmp_path / "birds", [("bird", BIRD)], {"train": [[bird]], "val": [[bird]]})
    listened = []

    class Listening(DetectorSource):
        def answer(self, tasks, pixels, settings):
            answers = super().answer(tasks, pixels, settings)
            listened.extend(zip(tasks, answers, strict=True))
            return answers

    detector = own_detector()
    detector = detector.calibrated(dataclasses.replace(detector.calibration, nms=1.0))
    settings = Settings(flip=True)
    result = evaluate("nano-real", Listening(detector), tmp_path, settings=settings)
    ((task, (answer,)),) = listened
    question, pixels = task.questions[0], task.pixels()
    rules = {"threshold": 0.0, "nms": 1.0, "rivals": (), "max_instances": question.most}
    straight, other = (
        in_records_words(detector.detect(np.ascontiguousarray(one), question.prompts(), **rules), question, settings)
        for one in (pixels, pixels[:, ::-1])
    )
    assert answer == merged(straight, other, question)
    assert result.statement["flip test"].startswith("yes")


def test_names_without_sides_stay():
    kind = dataclasses.replace(BIRDS, keypoints=("head", "left wing"), edges=())
    question = Question((AskedClass.of(kind),), record(size=(60, 80)), 1, "set")
    poses = found(pose(kind, (5, 10, 20, 40), 0.9, head=(1, 1), left_wing=(2, 2)), size=(60, 80))
    back = unflipped(poses, question)
    assert back.keypoint_names == (("head", "right wing"),)
    # The straight answer has no right wing, so nothing of the mirrored one is mixed into its left wing.
    both = merged(poses, mirrored(poses, question), question)
    assert both.xy[0, 1].tolist() == pytest.approx([2, 2])
