"""OKS-AP and box AP: equal to pycocotools on random and adversarial pictures, and to cases computed by hand."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluation.cases import DOG, FACE, found, labelled, perfect, pose, random_pictures, record
from tests.evaluation.oracle import BOXES, POSES, coco_files, coco_numbers

from xpose.errors import ConfigError, MissingExtraError
from xpose.evaluation import BoxAP, OksAP
from xpose.records import Category
from xpose.vocabulary import keypoint_sigmas, load_skeleton

CAT = Category("cat", "animal", DOG.keypoints)


def measured(metric, pictures):
    for truth, answer in pictures:
        metric.update(truth, answer)
    return metric.compute()


def numbered(pictures):
    """The same pictures with ids by place, in one set, as COCO would number them."""
    return [
        (record(*truth.instances, file=f"{number}.jpg", source_id=str(number)), answer)
        for number, (truth, answer) in enumerate(pictures, start=1)
    ]


def compare(pictures, categories):
    pictures = numbered(pictures)
    content, poses, boxes = coco_files(pictures, categories)
    sigmas = [keypoint_sigmas(one.skeleton, one.keypoints) for one in categories]
    for metric, names, results, kind in ((OksAP(), POSES, poses, "keypoints"), (BoxAP(), BOXES, boxes, "bbox")):
        ours = measured(metric, pictures)
        theirs = coco_numbers(content, results, kind, sigmas if kind == "keypoints" else None)
        for name in names:
            own = ours[metric.prefix + name]
            if theirs is None:  # pycocotools cannot read an empty list; nothing found of something is 0
                assert own == 0 or math.isnan(own), name
            elif theirs[name] == -1:
                assert math.isnan(own), name
            else:
                assert own == pytest.approx(theirs[name], abs=1e-6), name


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("categories", [(DOG,), (DOG, FACE), (DOG, CAT, FACE)], ids=["one", "two", "three"])
def test_random_pictures(seed, categories):
    compare(random_pictures(seed, pictures=15, categories=categories, noise=(1.0, 4.0)[seed % 2]), categories)


def test_crowded_pictures_have_more_answers_than_count():
    compare(random_pictures(9, pictures=3, categories=(DOG,), most=60, noise=3), (DOG,))


def test_people_with_the_official_sigmas_are_coco_as_it_is():
    skeleton = load_skeleton("person")
    person = Category("person", "person", skeleton.keypoints)
    pictures = numbered(random_pictures(4, pictures=20, categories=(person,), noise=3))
    content, poses, _ = coco_files(pictures, [person])
    ours, theirs = measured(OksAP(), pictures), coco_numbers(content, poses, "keypoints")
    assert {name: ours[name] for name in POSES} == pytest.approx(theirs, abs=1e-6)
    assert 0.1 < ours["AP"] < 0.9


POINTS = {"nose": (30, 20), "left_eye": (60, 30), "right_eye": (20, 40), "tail_base": (90, 45)}


def dog(x=0.0, y=0.0, side=100.0, **more):
    points = {name: (x + a * side / 100, y + b * side / 100) for name, (a, b) in POINTS.items()}
    return labelled(DOG, (x, y, side, side / 2), **points, **more)


def dog_pose(x=0.0, y=0.0, score=0.9, side=100.0):
    points = {name: (x + a * side / 100, y + b * side / 100) for name, (a, b) in POINTS.items()}
    return pose(DOG, (x, y, side, side / 2), score, **points)


ADVERSARIAL = {
    "nothing at all": [(record(), found())],
    "nothing found": [(record(dog()), found()), (record(dog(5)), found())],
    "nothing labelled": [(record(), found(dog_pose()))],
    "no picture": [],
    "only a crowd": [(record(dog(iscrowd=True)), found(dog_pose()))],
    "a crowd beside a dog": [(record(dog(), dog(150, iscrowd=True)), found(dog_pose(), dog_pose(152, 3, 0.95)))],
    "several answers in a crowd": [
        (record(dog(iscrowd=True), dog(150)), found(*(dog_pose(d, d, 0.5 + d / 10) for d in range(4)), dog_pose(150)))
    ],
    "an object without points": [(record(labelled(), dog(150)), found(dog_pose(), dog_pose(150, 0, 0.8)))],
    "only an object without points": [(record(labelled()), found(dog_pose()))],
    "an object without points, far from everything": [
        (record(labelled(DOG, (250, 150, 40, 40)), dog()), found(dog_pose(), dog_pose(60, 60, 0.95)))
    ],
    "ties within a picture": [(record(dog(), dog(150)), found(*(dog_pose(d, 0, 0.5) for d in (70, 0, 150, 30))))],
    "ties across pictures": [
        (record(dog()), found(dog_pose(40, 0, 0.5))),
        (record(dog()), found(dog_pose(0, 0, 0.5))),
        (record(), found(dog_pose(0, 0, 0.5))),
    ],
    "the same answer twice": [(record(dog()), found(dog_pose(), dog_pose()))],
    "two dogs at one place": [(record(dog(), dog()), found(dog_pose(0, 0, 0.9), dog_pose(1, 0, 0.8)))],
    "scores of 0 and 1": [(record(dog(), dog(150)), found(dog_pose(0, 0, 0.0), dog_pose(150, 0, 1.0)))],
    "areas on the edges of the ranges": [
        (record(*(dog(area=area) for area in (32**2, 96**2, 32**2 - 1e-9, 0.0))), found(dog_pose(), dog_pose(2)))
    ],
    "tiny and huge": [
        (record(dog(side=2), dog(10, 10, 250)), found(dog_pose(side=2), dog_pose(11, 10, 0.8, 250), dog_pose(side=3)))
    ],
    "points not found": [(record(dog()), found(pose(nose=(30, 20))))],
    "a category without truth": [(record(dog()), found(dog_pose(), pose(FACE, (0, 0, 9, 9), 0.99, chin=(3, 3))))],
    "an answer in the category's other pictures": [
        (record(dog()), found()),
        (record(labelled(FACE, (0, 0, 9, 9), chin=(3, 5))), found(dog_pose(), pose(FACE, (0, 0, 9, 9), chin=(3, 5)))),
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", ADVERSARIAL)
def test_adversarial_pictures(case):
    compare(ADVERSARIAL[case], (DOG, FACE))


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0, 30), st.integers(1, 4))
def test_any_pictures(seed, noise, most):
    compare(random_pictures(seed, pictures=4, most=most, noise=noise), (DOG, FACE))


def test_by_hand():
    # Two dogs. The best answer is wrong, the second exact: precision is 0, 1/2, and recall ends at 1/2.
    # Recall levels 0 to 0.5 (51 of 101) have precision 1/2, the rest 0.
    pictures = [(record(dog(), dog(150)), found(dog_pose(60, 90, 0.9), dog_pose(0, 0, 0.8)))]
    for metric in (OksAP(), BoxAP()):
        numbers = measured(metric, pictures)
        assert numbers[f"{metric.prefix}AP"] == pytest.approx(51 / 101 / 2)
        assert numbers[f"{metric.prefix}AR"] == pytest.approx(0.5)
        assert numbers[f"{metric.prefix}AP/category/dog"] == pytest.approx(51 / 101 / 2)
        curve = metric.curves()
        assert curve["precision@0.5"][:51] == pytest.approx([0.5] * 51)
        assert curve["precision"][51:] == [0] * 50
    assert (numbers["objects"], numbers["pictures"]) == (2, 1)


def test_skeletons_of_different_length_are_averaged_over_categories():
    # The dog is found (1), the face is not (0): the mean over categories is 1/2, whatever the numbers of points.
    truth = record(dog(), labelled(FACE, (200, 0, 60, 60), chin=(230, 50), left_eye=(240, 20)))
    numbers = measured(OksAP(), [(truth, found(dog_pose()))])
    assert numbers["AP"] == pytest.approx(0.5)
    assert (numbers["AP/category/dog"], numbers["AP/category/face"]) == (pytest.approx(1), 0)


def test_one_name_with_other_keypoints_in_another_set():
    head = Category("dog", "animal", ("nose", "left eye"))
    first = record(dog(), source="bodies")
    second = record(labelled(head, (0, 0, 100, 50), nose=(30, 20)), source="heads")
    empty = record(source="heads", file="2.jpg")
    pictures = [(first, found(dog_pose())), (second, found(pose(head, nose=(30, 20)))), (empty, found(pose(head)))]
    for order in (pictures, pictures[::-1]):
        numbers = measured(OksAP(), order)
        assert numbers["AP"] == pytest.approx(1)  # what is wrong has no higher score


def test_own_sigmas():
    far = [(record(dog()), found(dog_pose(3, 0)))]
    strict = dict.fromkeys(DOG.keypoints, 0.001)
    assert measured(OksAP(), far)["AP50"] == pytest.approx(1)
    assert measured(OksAP(sigmas=strict), far)["AP50"] == 0
    with pytest.raises(ConfigError, match='sigma of "nose" is 0'):
        OksAP(sigmas={"nose": 0})


def test_perfect_answers_give_one():
    pictures = [(truth, perfect(truth)) for truth, _ in random_pictures(1, pictures=30)]
    assert measured(OksAP(), pictures)["AP"] == pytest.approx(1)
    assert measured(BoxAP(), pictures)["box AP"] == pytest.approx(1)


def test_nothing_to_measure_is_no_number():
    numbers = measured(OksAP(), [])
    assert all(math.isnan(numbers[name]) for name in POSES)
    assert np.isnan(OksAP().curves()["precision"]).all()


@pytest.mark.parametrize("metric", [OksAP, BoxAP])
def test_the_missing_package_is_named(monkeypatch, metric):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(MissingExtraError, match=r"xpose\[eval\]"):
        measured(metric(), [(record(dog()), found(dog_pose()))])
