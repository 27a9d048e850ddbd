"""PCK: cases computed by hand, what it is the mean over, which pose belongs to an object."""

import math

import numpy as np
import pytest
from tests.evaluation.cases import DOG, FACE, found, labelled, perfect, pose, random_pictures, record

from xpose.errors import ConfigError
from xpose.evaluation import PCK, PointRules, match
from xpose.evaluation.matching import align, in_records_pixels


def measured(metric, *pairs):
    for truth, answer in pairs:
        metric.update(truth, answer)
    return metric.compute()


def test_by_hand():
    # The box is 100 x 50, so 0.2 of its longer side is 20 pixels and 0.05 is 5.
    truth = record(labelled(nose=(10, 10), left_eye=(20, 20, 1), tail_base=(90, 40)))
    answer = found(pose(nose=(10, 30), left_eye=(24, 23), tail_base=(90, 19.9), right_eye=(500, 500)))
    numbers = measured(PCK((0.2, 0.05)), (truth, answer))
    assert numbers["PCK@0.2"] == pytest.approx(2 / 3)  # nose at 20 (the edge counts), left eye at 5, tail at 20.1
    assert numbers["PCK@0.05"] == pytest.approx(1 / 3)
    assert numbers["PCK@0.2/keypoint/tail base"] == 0
    assert "PCK@0.2/keypoint/right eye" not in numbers  # not labelled
    assert (numbers["objects"], numbers["points"]) == (1, 3)


def test_only_visible_points():
    truth = record(labelled(nose=(10, 10), left_eye=(20, 20, 1)))
    answer = found(pose(nose=(10, 10), left_eye=(70, 20)))
    assert measured(PCK(), (truth, answer))["PCK@0.2"] == 0.5
    assert measured(PCK(rules=PointRules(points="visible")), (truth, answer))["PCK@0.2"] == 1


def test_the_means_differ_by_what_they_run_over():
    # set a: a dog with 1 of 4 points, a dog with 1 of 1; set b: a face with 0 of 1.
    a = record(
        labelled(nose=(0, 0), left_eye=(0, 1), right_eye=(0, 2), tail_base=(0, 3)),
        labelled(DOG, (100, 100, 100, 50), nose=(100, 100)),
        source="a",
    )
    b = record(labelled(FACE, (0, 0, 10, 10), chin=(5, 5)), source="b")
    far = (90, 90)
    answer_a = found(
        pose(nose=(0, 0), left_eye=far, right_eye=far, tail_base=far), pose(DOG, (100, 100, 100, 50), nose=(100, 100))
    )
    answer_b = found(pose(FACE, (0, 0, 10, 10), chin=far))
    numbers = measured(PCK(mean="sets"), (a, answer_a), (b, answer_b))
    assert numbers["PCK@0.2/mean/points"] == pytest.approx(2 / 6)
    assert numbers["PCK@0.2/mean/objects"] == pytest.approx((1 / 4 + 1 + 0) / 3)
    assert numbers["PCK@0.2/mean/keypoints"] == pytest.approx((1 + 0 + 0 + 0 + 0) / 5)  # nose 2 of 2, chin 0 of 1
    assert numbers["PCK@0.2/mean/categories"] == pytest.approx((5 / 8 + 0) / 2)
    assert numbers["PCK@0.2"] == numbers["PCK@0.2/mean/sets"] == pytest.approx((5 / 8 + 0) / 2)
    assert numbers["PCK@0.2/set/a"] == numbers["PCK@0.2/category/dog"] == pytest.approx(5 / 8)


@pytest.mark.parametrize(
    ("normaliser", "size"),
    [
        ("box", 100),
        ("box diagonal", math.hypot(100, 50)),
        ("box size", math.sqrt(5000)),
        ("interocular", 40),
        (("nose", "tail base"), 50),
        ("pixel", 1),
    ],
)
def test_normalisers(normaliser, size):
    truth = record(labelled(nose=(10, 10), left_eye=(20, 20), right_eye=(20, 60), tail_base=(40, 50)))
    for distance, share in ((0.99 * size, 1), (1.01 * size, 0)):
        answer = found(pose(nose=(10 + 0.1 * distance, 10)))
        rules = PointRules(normaliser=normaliser)
        assert measured(PCK(0.1, rules=rules), (truth, answer))["PCK@0.1/keypoint/nose"] == share


def test_torso_and_head():
    truth = record(
        labelled(nose=(10, 10)),  # neither is labelled: not measured
        labelled(PERSON, (0, 0, 50, 50), left_shoulder=(0, 0), right_hip=(30, 40), neck=(0, 0), head_top=(0, 10)),
    )
    answer = found(pose(PERSON, (0, 0, 50, 50), left_shoulder=(0, 9), right_hip=(30, 40), neck=(0, 0), head_top=(0, 8)))
    torso = measured(PCK(0.2, rules=PointRules(normaliser="torso")), (truth, answer))
    assert (torso["objects"], torso["PCK@0.2"]) == (1, 1)  # 50 pixels: 10 are allowed
    head = measured(PCK(0.2, rules=PointRules(normaliser="head")), (truth, answer))
    assert head["PCK@0.2"] == 3 / 4  # 10 pixels: 2 are allowed


PERSON = type(DOG)("person", "lspet_person", ("left shoulder", "right hip", "neck", "head top"))


@pytest.mark.parametrize(
    ("how", "expected"), [("best box", [1, 0, None]), ("best score", [0, 0, None]), ("given", [0, 1, 2])]
)
def test_which_pose_belongs_to_which_object(how, expected):
    truth = record(
        labelled(DOG, (0, 0, 100, 50), nose=(1, 1)),
        labelled(DOG, (150, 0, 100, 50), nose=(1, 1)),
        labelled(FACE, (0, 0, 10, 10), chin=(1, 1)),
    )
    answer = found(
        pose(DOG, (150, 0, 100, 60), 0.9), pose(DOG, (10, 0, 100, 50), 0.8), pose(DOG, (0, 0, 100, 50), 0.7)
    )[:3]
    if how == "best box":
        answer = answer[[0, 1]]
    assert match(truth, answer, how) == expected


def test_a_pose_of_another_category_counts_only_when_asked():
    truth, answer = record(labelled(nose=(1, 1))), found(pose(FACE))
    assert match(truth, answer) == [None]
    assert match(truth, answer, any_category=True) == [0]


def test_names_of_categories_and_points_are_compared_loosely():
    spelt = type(DOG)("Dog", "animal", ("Nose", "left_eye"))
    truth = record(labelled(nose=(1, 2), left_eye=(3, 4)))
    answer = found(pose(spelt, Nose=(1, 2), left_eye=(3, 4), names=("Nose", "left eye")))
    one = align(truth.instances[0], answer, match(truth, answer)[0])
    np.testing.assert_array_equal(one.predicted[:2], [(1, 2), (3, 4)])
    assert np.isnan(one.predicted[2:]).all()


def test_given_needs_one_pose_for_each_object():
    with pytest.raises(ConfigError, match="2 objects and 1 poses"):
        match(record(labelled(nose=(1, 1)), labelled(nose=(1, 1))), found(pose()), "given")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: PCK(0), "must be a number above 0"),
        (lambda: PCK(()), "at least one"),
        (lambda: PCK(math.nan), "must be a number above 0"),
        (lambda: PCK(mean="object"), 'Did you mean "objects"'),
        (lambda: PointRules(normaliser="torsoo"), 'Did you mean "torso"'),
        (lambda: PointRules(match="box"), "best box"),
        (lambda: PointRules(points="all"), "labelled, visible"),
    ],
)
def test_wrong_settings_are_named(make, told):
    with pytest.raises(ConfigError, match=told):
        make()


def test_nothing_found_is_a_miss_and_nothing_labelled_is_no_number():
    truth = record(labelled(nose=(1, 1)), labelled(), labelled(iscrowd=True, nose=(1, 1)))
    assert measured(PCK(), (truth, found()))["PCK@0.2"] == 0
    assert measured(PCK(), (truth, found()))["objects"] == 1
    assert math.isnan(measured(PCK(), (record(), found()))["PCK@0.2"])


def test_half_a_pixel_between_detector_and_records():
    moved = in_records_pixels(found(pose(nose=(10, 20))))
    assert moved.xy[0, 0].tolist() == [9.5, 19.5]
    assert moved.boxes.tolist() == [[0, 0, 100, 50]]


def test_perfect_answers_give_one():
    pictures = [(truth, perfect(truth)) for truth, _ in random_pictures(1)]
    numbers = measured(PCK(1e-4), *pictures)
    assert {value for name, value in numbers.items() if name.startswith("PCK")} == {1}
