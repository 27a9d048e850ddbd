"""COCO files, read back by pycocotools."""

from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from tests.results.pose_cases import any_poses, two_dogs_and_a_box

from xpose.errors import ConfigError
from xpose.results import Poses
from xpose.results.formats import coco
from xpose.vocabulary import load_skeleton

pycocotools = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed: pip install pycocotools")
DOGS = two_dogs_and_a_box()


def loaded(values):
    with contextlib.redirect_stdout(io.StringIO()):
        found = pycocotools.COCO()
        found.dataset = json.loads(json.dumps(values, allow_nan=False))
        found.createIndex()
    return found


def test_instances_have_names_edges_from_one_and_nothing_where_a_point_is_not():
    found = coco.instances([DOGS], image_ids=[5])
    assert found["images"] == [{"id": 5, "file_name": "dogs.jpg", "height": 100, "width": 200}]
    dog, hand = found["categories"]
    assert (dog["id"], dog["name"], hand["name"]) == (1, "dog", "hand")
    assert dog["keypoints"] == ["left eye", "nose", "tail"]
    assert [[dog["keypoints"][a - 1], dog["keypoints"][b - 1]] for a, b in dog["skeleton"]] == [
        ["left eye", "nose"],
        ["nose", "tail"],
    ]
    first, second, third = found["annotations"]
    assert first["bbox"] == [10, 20, 100, 50]
    assert (first["area"], first["num_keypoints"], first["score"]) == (5000, 3, 0.9)
    assert first["keypoints"] == [20, 30, 2, 30.13, 40, 1, 100, 60, 2]
    assert second["keypoints"][6:] == [0, 0, 0]
    assert second["num_keypoints"] == 2
    assert third["keypoints"] == []
    assert "EXIF" in found["info"]["coordinates"]


def test_results_keep_the_coordinates_the_evaluators_compare():
    first, second = coco.results([DOGS], image_ids=[5])
    assert (first["image_id"], first["category_id"]) == (5, 1)
    assert second["keypoints"][6:] == [45, 35, 0], "v says it is not there, the place stays"
    boxes = coco.results([DOGS], kind="boxes")
    assert [box["bbox"] for box in boxes] == [[10, 20, 100, 50], [0, 0, 50, 40], [150, 50, 50, 50]]
    assert not any("keypoints" in box for box in boxes)


def test_pycocotools_scores_a_perfect_answer_with_one():
    skeleton = load_skeleton("person")
    rng = np.random.default_rng(0)
    people = Poses(
        boxes=[[10, 10, 200, 300], [300, 50, 500, 400]],
        scores=[0.9, 0.8],
        categories=("person", "person"),
        xy=rng.uniform(20, 300, (2, 17, 2)).round(1),
        keypoint_scores=np.ones((2, 17)),
        visibility=np.full((2, 17), 2),
        keypoint_names=(skeleton.keypoints,) * 2,
        edges=(skeleton.edges,) * 2,
        image_size=(480, 640),
    )
    truth = loaded(coco.instances([people], image_ids=[3], category_ids={"person": 1}))
    from pycocotools.cocoeval import COCOeval

    for kind, name in (("keypoints", "keypoints"), ("boxes", "bbox")):
        with contextlib.redirect_stdout(io.StringIO()):
            entries = coco.results([people], image_ids=[3], category_ids={"person": 1}, kind=kind)
            answer = truth.loadRes(entries)
            evaluation = COCOeval(truth, answer, name)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        assert evaluation.stats[0] == pytest.approx(1.0)
    # A hidden point costs nothing: its place is still compared.
    hidden = people.filter(keypoint_threshold=1.0)
    assert coco.results([hidden]) == coco.results([people])
    unsure = Poses(**{**vars(people), "keypoint_scores": np.full((2, 17), 0.1)}).filter(keypoint_threshold=0.5)
    assert coco.instances([unsure])["annotations"][0]["num_keypoints"] == 0
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(coco.results([unsure], image_ids=[3])), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


@given(any_poses(), any_poses())
@settings(max_examples=40)
def test_pycocotools_loads_any_result(one, other):
    values = coco.instances([one, other], file_names=["a", "b"])
    found = loaded(values)
    assert len(found.getAnnIds()) == len(one) + len(other)
    for category in values["categories"]:
        assert all(1 <= end <= len(category["keypoints"]) for edge in category["skeleton"] for end in edge)
    for annotation in values["annotations"]:
        assert len(annotation["keypoints"]) == 3 * len(found.cats[annotation["category_id"]]["keypoints"])
    answer = coco.results([one, other], kind="boxes")
    if answer:
        with contextlib.redirect_stdout(io.StringIO()):
            assert len(found.loadRes(answer).getAnnIds()) == len(answer)


def test_two_skeletons_of_one_name_are_two_categories():
    other = two_dogs_and_a_box(keypoint_names=(("a", "b", "c"), ("left eye", "nose", "tail"), ()), edges=())
    assert [c["name"] for c in coco.instances([other])["categories"]] == ["dog", "dog", "hand"]
    with pytest.raises(ConfigError, match='"dog" shares its id with other keypoints'):
        coco.instances([other], category_ids={"dog": 1, "hand": 2})
    entries = coco.results([other], category_ids={"dog": 1, "hand": 2})
    assert [entry["category_id"] for entry in entries] == [1, 1]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: coco.instances([DOGS], image_ids=[1, 2]), "1 results and 2 different image ids"),
        (lambda: coco.instances([DOGS, DOGS], image_ids=[1, 1]), "2 results and 1 different image ids"),
        (lambda: coco.instances([DOGS], file_names=[]), "1 results and 0 file names"),
        (lambda: coco.instances([DOGS], category_ids={"dog": 1}), '"hand" has no id'),
        (lambda: coco.results([DOGS], kind="masks"), "kind is 'masks'"),
    ],
)
def test_what_does_not_fit_is_refused(call, expected):
    with pytest.raises(ConfigError) as refused:
        call()
    assert expected in str(refused.value)
