"""Results files of any program: read, refused with the entry's number, scored like pycocotools does, written."""

import json

import numpy as np
import pytest
from tests.evaluation.cases import DOG, FACE, found, labelled, pose, random_pictures, record
from tests.evaluation.metrics.test_average_precision import numbered
from tests.evaluation.oracle import BOXES, POSES, coco_files, coco_numbers

from xpose.errors import ConfigError, DataError
from xpose.evaluation import EPE, PCK, Confidence, PointRules
from xpose.evaluation.results import read_results, read_truth, score_results, write_results
from xpose.records import Category
from xpose.vocabulary import keypoint_sigmas, load_skeleton

BODY = Category("dog", "ap10k", load_skeleton("ap10k").keypoints)
PERSON = Category("person", "person", load_skeleton("person").keypoints)


def files(tmp_path, pictures, categories, sizes=True):
    content, poses, boxes = coco_files(pictures, categories)
    for image in content["images"]:
        image |= {"file_name": f"{image['id']}.jpg", "width": 300, "height": 200}
    for name, value in (("labels", content), ("poses", poses), ("boxes", boxes)):
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    return content, poses, boxes


@pytest.mark.parametrize("seed", range(4))
def test_scored_as_pycocotools_does(tmp_path, seed):
    categories = (PERSON, BODY)
    pictures = random_pictures(seed, pictures=10, categories=categories, noise=3)
    content, poses, boxes = files(tmp_path, pictures, categories)
    random = np.random.default_rng(seed)
    for entry in (*poses, *boxes):  # more digits than single precision holds: ties there would change the order
        entry["score"] = 0.5 + random.integers(0, 5) * 1e-9
        if "bbox" in entry:
            entry["bbox"] = [value + random.random() / 3 for value in entry["bbox"]]
    for name, value in (("poses", poses), ("boxes", boxes)):
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    truth = read_truth(tmp_path / "labels.json")
    assert [category.keypoints for category in truth.categories.values()] == [PERSON.keypoints, BODY.keypoints]
    ours = score_results(truth, read_results(tmp_path / "poses.json", truth))
    sigmas = [keypoint_sigmas(one.skeleton, one.keypoints) for one in categories]
    theirs = coco_numbers(content, json.loads(json.dumps(poses)), "keypoints", sigmas)
    for name in POSES:
        assert ours[name] == pytest.approx(theirs[name] if theirs[name] != -1 else np.nan, abs=1e-6, nan_ok=True)
    ours = score_results(truth, read_results(tmp_path / "boxes.json", truth))
    theirs = coco_numbers(content, json.loads(json.dumps(boxes)), "bbox")
    assert "AP" not in ours
    for name in BOXES:
        expected = theirs[name] if theirs[name] != -1 else np.nan
        assert ours[f"box {name}"] == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_poses_that_state_their_boxes_have_the_boxes_areas(tmp_path):
    pictures = random_pictures(11, pictures=8, categories=(PERSON,), noise=2)
    content, poses, _ = files(tmp_path, pictures, (PERSON,))
    both = [{**one, "bbox": [0, 0, 33 + number % 70, 33]} for number, one in enumerate(poses)]
    (tmp_path / "both.json").write_text(json.dumps(both))
    truth = read_truth(tmp_path / "labels.json")
    ours = score_results(truth, read_results(tmp_path / "both.json", truth))
    theirs = coco_numbers(content, both, "keypoints")
    plain = coco_numbers(content, poses, "keypoints")
    assert theirs["AP_M"] != plain["AP_M"]
    assert ours["AP_M"] == pytest.approx(theirs["AP_M"], abs=1e-6)


def test_other_metrics_see_the_same_answers(tmp_path):
    pictures = numbered(random_pictures(2, pictures=10, categories=(PERSON,)))
    files(tmp_path, pictures, (PERSON,))
    truth = read_truth(tmp_path / "labels.json")
    results = read_results(tmp_path / "poses.json", truth)
    rules = PointRules(match="best score")  # without boxes in the file, those round the points would decide
    pixels = PointRules(normaliser="pixel", match="best score")
    metrics = [PCK((0.05, 0.2), rules=rules), EPE(rules=pixels)]
    ours = score_results(truth, results, metrics)
    for metric, name in ((PCK((0.05, 0.2), rules=rules), "PCK@0.2"), (EPE(rules=pixels), "EPE")):
        for record_, answer in pictures:
            metric.update(record_, answer)
        assert ours[name] == pytest.approx(metric.compute()[name], rel=1e-5)
    assert 0 < ours["PCK@0.05"] < ours["PCK@0.2"] < 1


def test_what_is_written_is_read_back(tmp_path):
    truth_record = record(labelled(nose=(1, 1)), labelled(FACE, (0, 0, 9, 9), chin=(3, 3)))
    mixed = Category("Dog", "animal", ("tail base", "nose", "left eye"))
    answer = found(
        pose(mixed, (1, 2, 30, 40), 0.7, nose=(5.25, 6.125), tail_base=(9, 8), scores={"nose": 0.3}),
        pose(FACE, (2, 2, 9, 9), 0.6, chin=(3, 4)),
        pose(Category("ghost", "animal", ("nose",)), nose=(1, 1)),
    )
    files(tmp_path, [(truth_record, answer)], (DOG, FACE))
    truth = read_truth(tmp_path / "labels.json")
    for kind in ("keypoints", "boxes"):
        assert write_results(tmp_path / "out.json", [(1, answer)], truth.categories, kind) == 2
        results = read_results(tmp_path / "out.json", truth)
        back = results.poses(1, (200, 300))
        assert (results.keypoints, results.boxes) == (kind == "keypoints", kind == "boxes")
        assert back.categories == ("dog", "face")
        assert back.scores.tolist() == answer.scores[:2].tolist()
        if kind == "keypoints":
            assert back[0]["nose"][:3] == (5.25, 6.125, pytest.approx(0.3))
            assert tuple(back[0]["left eye"][:2]) == (0, 0)  # missing points are zeros in such files
        else:
            assert back.boxes[0].tolist() == [1, 2, 31, 42]
    with pytest.raises(ConfigError):
        write_results(tmp_path / "out.json", [], truth.categories, "segments")


@pytest.mark.parametrize(
    ("third", "stated", "expected"),
    [
        ((0.25, 1, 0), None, [0.25, 1, 0]),  # fractions: the program's confidences
        ((2, 1, 0), None, [np.nan] * 3),  # marks
        ((1, 1, 1), None, [np.nan] * 3),
        ((1, 1, 0), [0.5, None, 0.1], [0.5, 0, 0.1]),
    ],
)
def test_confidences_of_points(tmp_path, third, stated, expected):
    files(tmp_path, [(record(), found())], (FACE,))
    truth = read_truth(tmp_path / "labels.json")
    flat = [value for mark in third for value in (1, 2, mark)]
    entry = {"image_id": 1, "category_id": 1, "score": 1, "keypoints": flat}
    (tmp_path / "r.json").write_text(json.dumps([entry | ({"keypoint_scores": stated} if stated else {})]))
    back = read_results(tmp_path / "r.json", truth).poses(1, (200, 300))
    np.testing.assert_allclose(back.keypoint_scores[0], expected)


def test_scores_beyond_one_keep_their_order(tmp_path):
    files(tmp_path, [(record(labelled(nose=(1, 1))), found())], (DOG,))
    truth = read_truth(tmp_path / "labels.json")
    entries = [
        {"image_id": 1, "category_id": 1, "score": score, "keypoints": [score, 1, 2] * 4} for score in (-3, 250, 0.5, 9)
    ]
    (tmp_path / "r.json").write_text(json.dumps(entries))
    results = read_results(tmp_path / "r.json", truth)
    back = results.poses(1, (200, 300))
    assert not results.shares
    assert back.xy[:, 0, 0].tolist() == [250, 9, 0.5, -3]
    assert ((back.scores > 0) & (back.scores < 1)).all()


ENTRY = {"image_id": 1, "category_id": 1, "score": 0.5, "keypoints": [0] * 12}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"a": 1}, "holds no list"),
        ([7], 'entry 1 is "7"'),
        ([ENTRY, {**ENTRY, "image_id": 99}], 'entry 2 is about the image 99, which the labels "labels" lack'),
        ([ENTRY, {**ENTRY, "image_id": "1"}], 'entry 2: "image_id" is "1"'),
        ([{**ENTRY, "category_id": None}], '"category_id" is "None"'),
        ([{**ENTRY, "score": "high"}], '"score" is "high"'),
        ([{**ENTRY, "score": float("nan")}], '"score" is "nan"'),
        ([{**ENTRY, "score": 10**400}], '"score" is "1000'),
        ([{**ENTRY, "score": True}], '"score" is "True"'),
        ([{**ENTRY, "keypoints": [0] * 11}], "must be a list of 12 finite numbers"),
        ([{**ENTRY, "keypoints": [0] * 11 + [None]}], "must be a list of 12 finite numbers"),
        ([ENTRY, {**ENTRY, "keypoints": 3}], 'entry 2: "keypoints" is "3"'),
        ([{**ENTRY, "keypoint_scores": [0.1] * 3}], '"keypoint_scores"'),
        ([{**ENTRY, "keypoint_scores": [2] * 4}], "not from 0 to 1"),
        ([{**ENTRY, "bbox": [0, 0, -1, 3]}], "at least 0"),
        ([{**ENTRY, "bbox": [1, 2, 3, 4]}, ENTRY], 'entry 2: "bbox" is "None"'),
        ([{"image_id": 1, "category_id": 1, "score": 0.5}], 'entry 1 has neither "keypoints" nor "bbox"'),
    ],
)
def test_malformed_results_name_the_entry(tmp_path, content, told):
    files(tmp_path, [(record(labelled(nose=(1, 1))), found())], (DOG,))
    truth = read_truth(tmp_path / "labels.json")
    (tmp_path / "r.json").write_text(json.dumps(content))
    with pytest.raises(DataError) as error:
        read_results(tmp_path / "r.json", truth)
    assert told in str(error.value)


def test_answers_about_unknown_categories_are_counted_and_left_out(tmp_path):
    files(tmp_path, [(record(labelled(nose=(1, 1))), found())], (DOG,))
    truth = read_truth(tmp_path / "labels.json")
    (tmp_path / "r.json").write_text(json.dumps([ENTRY, {**ENTRY, "category_id": 77, "keypoints": [0] * 51}]))
    results = read_results(tmp_path / "r.json", truth)
    assert results.ignored == 1
    assert len(results.poses(1, (9, 9))) == 1
    (tmp_path / "r.json").write_text("[]")
    numbers = score_results(truth, read_results(tmp_path / "r.json", truth))
    assert numbers["AP"] == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda labels: labels.pop("images"), '"images" is missing'),
        (lambda labels: labels["images"].append(labels["images"][0]), "also that of another image"),
        (lambda labels: labels["annotations"][0].update(image_id=5), "annotation number 1: there is no image 5"),
        (lambda labels: labels["annotations"][0].update(category_id=5), "there is no category 5"),
        (lambda labels: labels["annotations"][0].update(bbox=[1, 2]), '"bbox"'),
        (lambda labels: labels["annotations"][0].update(keypoints=[1]), '"keypoints"'),
        (lambda labels: labels["categories"][0].update(keypoints=["a", "a"]), "more than once"),
        (lambda labels: labels["annotations"][0].pop("bbox") and labels["annotations"][0].pop("keypoints"), "neither"),
    ],
)
def test_malformed_labels_name_the_entry(tmp_path, change, told):
    content, *_ = files(tmp_path, [(record(labelled(nose=(1, 1))), found())], (DOG,))
    change(content)
    (tmp_path / "labels.json").write_text(json.dumps(content))
    with pytest.raises(DataError) as error:
        read_truth(tmp_path / "labels.json")
    assert told in str(error.value)


def test_labels_of_a_folder_set(tmp_path):
    (tmp_path / "dogs").mkdir()
    files(tmp_path / "dogs", [(record(labelled(nose=(1, 1))), found())], (DOG,))
    (tmp_path / "dogs" / "labels.json").rename(tmp_path / "dogs" / "val.json")
    truth = read_truth(tmp_path / "dogs")
    ((image_id, one),) = truth
    assert (image_id, one.source, one.split, one.picture.file) == (1, "dogs", "val", "1.jpg")
    with pytest.raises(DataError, match=r"no file .*train\.json"):
        read_truth(tmp_path / "dogs", "train")


def test_points_without_a_skeleton_keep_the_files_names(tmp_path):
    odd = Category("gizmo", "", ("left knob", "dial"))
    files(tmp_path, [(record(labelled(odd, (0, 0, 9, 9), dial=(1, 1))), found())], (odd,))
    (category,) = read_truth(tmp_path / "labels.json").categories.values()
    assert (category.skeleton, category.keypoints) == ("", ("left knob", "dial"))


def test_confidence_of_a_results_file(tmp_path):
    pictures = [(record(labelled(nose=(1, 1))), found(pose(nose=(1, 1))))]
    files(tmp_path, pictures, (DOG,))
    truth = read_truth(tmp_path / "labels.json")
    numbers = score_results(truth, read_results(tmp_path / "boxes.json", truth), [Confidence.of_objects()])
    assert numbers["ECE"] == pytest.approx(0.1)
