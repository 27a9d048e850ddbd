"""NME, AUC, EPE, left-right swaps and expected errors: cases computed by hand, and scipy's rank correlation."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from tests.evaluation.cases import DOG, FACE, found, labelled, pose, record

from xpose.errors import ConfigError
from xpose.evaluation import AUC, EPE, NME, ExpectedErrors, PointRules, Swaps
from xpose.evaluation.metrics.distances import rank_correlation


def measured(metric, *pairs):
    for truth, answer in pairs:
        metric.update(truth, answer)
    return metric.compute()


FACE_AT = {"left_eye": (0, 0), "right_eye": (100, 0), "chin": (50, 80)}


def test_nme_by_hand():
    truth = record(labelled(FACE, (0, 0, 100, 100), **FACE_AT))  # eyes 100 pixels apart
    off = found(pose(FACE, (0, 0, 100, 100), left_eye=(3, 4), right_eye=(100, 1), chin=(50, 80)))
    numbers = measured(NME(0.04), (truth, off))
    assert numbers["NME"] == numbers["NME/set/set"] == numbers["NME/mean/sets"] == pytest.approx((5 + 1 + 0) / 3 / 100)
    assert numbers["NME/AUC@0.04"] == pytest.approx(1 - 0.02 / 0.04)
    assert (numbers["NME/failed"], numbers["NME/found"], numbers["objects"]) == (0, 1, 1)


def test_nme_of_what_was_not_found():
    truth = record(labelled(FACE, (0, 0, 100, 100), **FACE_AT))
    half = found(pose(FACE, (0, 0, 100, 100), left_eye=(0, 0), right_eye=(100, 0)))
    numbers = measured(NME(), (truth, found()), (truth, half), (truth, found(pose(FACE, (0, 0, 9, 9), **FACE_AT))))
    assert numbers["NME"] == 0
    assert numbers["NME/found"] == pytest.approx(1 / 3)
    assert numbers["NME/failed"] == pytest.approx(2 / 3)
    assert numbers["NME/AUC@0.08"] == pytest.approx(1 / 3)


def test_interpupil_takes_the_middle_of_six_points_round_each_eye():
    ring = ("eye outer corner", "upper eyelid outer", "upper eyelid inner", "eye inner corner", "lower eyelid inner",
            "lower eyelid outer")  # fmt: skip
    names = tuple(f"{side} {point}" for side in ("left", "right") for point in ring)
    face = type(FACE)("face", "face", (*names, "chin centre"))
    offsets = [(-3, 0), (-1, -2), (1, -2), (3, 0), (1, 2), (-1, 2)]
    places = {name: (10 + dx, 20 + dy) for name, (dx, dy) in zip(names[:6], offsets, strict=True)}
    places |= {name: (70 + dx, 100 + dy) for name, (dx, dy) in zip(names[6:], offsets, strict=True)}
    points = {name.replace(" ", "_"): place for name, place in places.items()}
    truth = record(labelled(face, (0, 0, 100, 100), chin_centre=(50, 90), **points))
    answer = found(pose(face, (0, 0, 100, 100), chin_centre=(50, 77), **points))
    numbers = measured(NME(rules=PointRules(normaliser="interpupil")), (truth, answer))
    assert numbers["NME"] == pytest.approx(13 / 100 / 13)  # 60 across, 80 down; 13 pixels off in one of 13 points
    outer = measured(NME(rules=PointRules(normaliser="interocular")), (truth, answer))
    assert outer["NME"] == pytest.approx(1 / math.hypot(60, 80))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (None, (1 + 0.75 + 0) / 3),  # 1 - d/30
        # PCK at 0, 10 and 20 pixels: 1/3, 2/3, 2/3
        (3, (1 / 3 + 2 / 3 + 2 / 3) / 3),
    ],
)
def test_auc_by_hand(steps, expected):
    truth = record(labelled(nose=(10, 10), left_eye=(20, 20), tail_base=(90, 40)))
    answer = found(pose(nose=(10, 10), left_eye=(20, 27.5), tail_base=(20, 40)))
    assert measured(AUC(30, steps=steps), (truth, answer))["AUC@30"] == pytest.approx(expected)


def test_auc_with_a_share_of_the_box():
    truth = record(labelled(nose=(10, 10)))  # longest side 100
    answer = found(pose(nose=(20, 10)))
    metric = AUC(0.2, steps=None, mean="sets", rules=PointRules())
    assert measured(metric, (truth, answer))["AUC@0.2"] == pytest.approx(0.5)


@pytest.mark.parametrize("make", [lambda: AUC(0), lambda: AUC(steps=0), lambda: AUC(steps=1.5), lambda: NME(-1)])
def test_wrong_settings_are_refused(make):
    with pytest.raises(ConfigError):
        make()


def test_epe_by_hand():
    truth = record(labelled(nose=(10, 10), left_eye=(20, 20), right_eye=(30, 30), tail_base=(90, 40)))
    answer = found(pose(nose=(13, 14), left_eye=(20, 20), right_eye=(30, 36)))
    numbers = measured(EPE(), (truth, answer))
    assert numbers["EPE"] == numbers["EPE/set/set"] == pytest.approx((5 + 0 + 6) / 3)
    assert numbers["EPE/median"] == 5
    assert (numbers["EPE/found"], numbers["points"]) == (0.75, 4)
    assert numbers["EPE/keypoint/nose"] == 5
    assert math.isnan(numbers["EPE/keypoint/tail base"])
    assert math.isnan(measured(EPE())["EPE"])


def test_swaps_by_hand():
    truth = record(
        labelled(left_eye=(10, 10), right_eye=(30, 10), nose=(20, 20)),
        labelled(DOG, (100, 0, 100, 50), left_eye=(110, 10), right_eye=(130, 10)),
        labelled(DOG, (200, 100, 90, 50), left_eye=(210, 110)),  # no pair
    )
    answer = found(
        pose(left_eye=(28, 11), right_eye=(12, 9), nose=(20, 20)),
        pose(DOG, (100, 0, 100, 50), left_eye=(115, 10), right_eye=(126, 10)),
        pose(DOG, (200, 100, 90, 50), left_eye=(280, 110), right_eye=(210, 110)),
    )
    metric = Swaps()
    assert measured(metric, (truth, answer)) == {
        "swaps": 0.5,
        "swaps/objects": 0.5,
        "swaps/set/set": 0.5,
        "pairs": 2,
    }


def test_both_points_on_one_spot_are_no_swap():
    truth = record(labelled(left_eye=(10, 10), right_eye=(30, 10)))
    assert measured(Swaps(), (truth, found(pose(left_eye=(20, 10), right_eye=(20, 10)))))["swaps"] == 0


def test_pairs_of_a_skeleton_that_nobody_knows_come_from_the_words():
    crab = type(DOG)("crab", "my crab", ("left claw", "right claw", "shell"))
    truth = record(labelled(crab, (0, 0, 90, 90), left_claw=(0, 0), right_claw=(90, 0), shell=(40, 40)))
    answer = found(pose(crab, (0, 0, 90, 90), left_claw=(90, 0), right_claw=(0, 0), shell=(40, 40)))
    assert measured(Swaps(), (truth, answer))["swaps"] == 1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=15))
def test_the_rank_correlation_is_scipys(pairs):
    one, other = (np.array([pair[i] for pair in pairs], dtype=float) for i in (0, 1))
    value = rank_correlation(one, other)
    if len(pairs) < 2 or len(set(one)) < 2 or len(set(other)) < 2:
        assert math.isnan(value)
    else:
        assert value == pytest.approx(spearmanr(one, other).statistic)


def predicted(answer, *errors):
    return dataclasses.replace(answer, keypoint_errors=np.array(errors, dtype=float))


def test_expected_errors_by_hand():
    """True errors 1, 2 and 5; the tail base has no label and the right eye of the second dog no place."""
    truth = record(labelled(nose=(10, 10), left_eye=(20, 20), right_eye=(30, 30)))
    answer = found(pose(nose=(11, 10), left_eye=(20, 22), right_eye=(33, 34), tail_base=(1, 1)))
    for errors, value in (((1, 2, 3, 0), 1.0), ((3, 2, 1, 9), -1.0), ((2, 1, 3, 9), 0.5)):
        metric = ExpectedErrors()
        metric.update(truth, predicted(answer, errors))
        assert metric.compute() == {"error correlation": pytest.approx(value), "error points": 3}
    metric.update(truth, predicted(found(pose(nose=(19, 10))), (9, 1, 1, 1)))
    assert metric.compute()["error points"] == 4


def test_weights_that_predict_no_errors_have_no_number():
    metric = ExpectedErrors()
    metric.update(record(labelled(nose=(1, 1))), found(pose(nose=(1, 1))))
    assert math.isnan(metric.compute()["error correlation"])
    assert metric.compute()["error points"] == 0
