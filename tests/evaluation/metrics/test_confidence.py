"""Scores: AUROC and calibration error against cases computed by hand, and against the definition by brute force."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluation.cases import DOG, FACE, found, labelled, pose, record

from xpose.errors import ConfigError
from xpose.evaluation import Confidence, FalseAlarms, PointRules
from xpose.evaluation.matching import FALSE, HIT, IGNORED, judge
from xpose.evaluation.metrics.confidence import auroc, calibration_error


def measured(metric, *pairs):
    for truth, answer in pairs:
        metric.update(truth, answer)
    return metric.compute()


def test_auroc_by_hand():
    # right: 0.9, 0.5; wrong: 0.5, 0.1. Of four pairs three are in order and one is a tie.
    scores = np.array([0.9, 0.5, 0.5, 0.1])
    assert auroc(scores, np.array([True, True, False, False])) == pytest.approx(3.5 / 4)
    assert math.isnan(auroc(scores, np.ones(4, dtype=bool)))


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.7, 1.0]), st.booleans()), max_size=30))
def test_auroc_is_the_share_of_pairs_in_order(pairs):
    scores, right = np.array([s for s, _ in pairs]), np.array([r for _, r in pairs], dtype=bool)
    yes, no = scores[right], scores[~right]
    value = auroc(scores, right)
    if len(yes) and len(no):
        assert value == pytest.approx(np.mean((yes[:, None] > no) + 0.5 * (yes[:, None] == no)))
    else:
        assert math.isnan(value)


def test_calibration_error_by_hand():
    # Two bins: below 0.5 two scores with mean 0.3, one right; above three with mean 0.8, all right.
    scores = np.array([0.2, 0.4, 0.7, 0.8, 0.9])
    right = np.array([True, False, True, True, True])
    assert calibration_error(scores, right, 2) == pytest.approx(2 / 5 * 0.2 + 3 / 5 * 0.2)
    assert calibration_error(np.array([0.0, 1.0]), np.array([False, True])) == 0
    assert math.isnan(calibration_error(np.zeros(0), np.zeros(0, dtype=bool)))


def test_visible_against_absent_points():
    truth = record(labelled(nose=(1, 1), left_eye=(2, 2, 1)), labelled(FACE, (200, 0, 50, 50)))
    answer = found(
        pose(nose=(1, 1), left_eye=(9, 9), right_eye=(3, 3), tail_base=(4, 4), scores={"nose": 0.75, "left_eye": 0.5,
             "right_eye": 0.25, "tail_base": 0.9}),
        pose(FACE, (200, 0, 50, 50), chin=(210, 10), scores={"chin": 1.0}),  # its object has no label at all
    )  # fmt: skip
    absent = measured(Confidence.of_visibility(), (truth, answer))
    assert absent == {"AUROC": 0.5, "ECE": pytest.approx((0.25 + 0.25 + 0.9) / 3), "right": 1, "wrong": 2}
    hidden = measured(Confidence.of_visibility(wrong=("hidden",)), (truth, answer))
    assert (hidden["AUROC"], hidden["right"], hidden["wrong"]) == (1, 1, 1)
    both = measured(Confidence.of_visibility(right=("visible", "hidden")), (truth, answer))
    assert both["AUROC"] == 0.5
    assert math.isnan(measured(Confidence.of_visibility(), (truth, found()))["ECE"])


def test_points_in_their_place():
    truth = record(labelled(nose=(10, 10), left_eye=(20, 20), right_eye=(30, 30)))
    answer = found(pose(nose=(10, 25), left_eye=(20, 90), scores={"nose": 0.75, "left_eye": 0.25}))
    numbers = measured(Confidence.of_places(0.2), (truth, answer))
    assert numbers == {"AUROC": 1, "ECE": pytest.approx(0.25), "right": 1, "wrong": 1}
    strict = Confidence.of_places(0.1, rules=PointRules(points="visible"))
    assert measured(strict, (truth, answer))["right"] == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Confidence.of_visibility(right=("seen",)),
        lambda: Confidence.of_visibility(right=("absent",)),
        lambda: Confidence.of_visibility(wrong=()),
        lambda: FalseAlarms("dog"),
        lambda: FalseAlarms(["dog"], 2),
    ],
)
def test_wrong_settings_are_refused(make):
    with pytest.raises(ConfigError):
        make()


def test_which_poses_are_objects():
    truth = record(
        labelled(DOG, (0, 0, 100, 50)),
        labelled(DOG, (0, 100, 300, 100), iscrowd=True),
        labelled(FACE, (200, 0, 50, 50)),
    )
    answer = found(
        pose(DOG, (0, 0, 100, 50), 0.5),  # right, but the better score takes the dog
        pose(DOG, (0, 0, 100, 40), 0.9),
        pose(DOG, (100, 110, 20, 20), 0.8),  # in the crowd
        pose(DOG, (200, 0, 50, 50), 0.7),  # a dog where a face is
        pose(FACE, (225, 0, 50, 50), 0.6),  # IoU 1/3
    )
    verdicts, missed = judge(truth, answer)
    assert verdicts.tolist() == [FALSE, HIT, IGNORED, FALSE, FALSE]
    assert missed.tolist() == [False, False, True]
    numbers = measured(Confidence.of_objects(), (truth, answer))
    assert numbers["ECE"] == pytest.approx((0.1 + 0.7 + 0.6 + 0.5) / 4)
    assert (numbers["AUROC"], numbers["right"], numbers["wrong"]) == (1, 1, 3)
    assert judge(truth, found())[1].tolist() == [True, False, True]
    assert judge(record(), answer)[0].tolist() == [FALSE] * 5


def test_false_alarms_by_hand():
    first = record(labelled(DOG, (0, 0, 100, 50)), labelled(DOG, (150, 0, 100, 50)))
    second = record(labelled(FACE, (0, 0, 50, 50)))
    answer = found(
        pose(DOG, (0, 0, 100, 50), 0.9), pose(FACE, (0, 0, 50, 50), 0.4), pose(FACE, (9, 9, 50, 50), 0.3),
        pose(DOG, (150, 0, 100, 50), 0.05),
    )  # fmt: skip
    metric = FalseAlarms(["dog", "Face", "zebra"], 0.1)
    numbers = measured(metric, (first, answer), (second, found(pose(FACE, (0, 0, 50, 50)))))
    assert numbers == {
        "false alarms": 2 / 2,  # two faces in the first picture
        "false alarms/asked": 1 / 4,  # of face, zebra; dog, zebra
        "recall": pytest.approx(2 / 3),  # one dog is below the threshold
        "absent": 4,
        "objects": 3,
        "pictures": 2,
    }
    own = FalseAlarms(lambda truth: ["zebra"], 0.1)
    assert measured(own, (first, answer))["false alarms"] == 0
    assert math.isnan(measured(FalseAlarms(["dog"]))["false alarms"])
