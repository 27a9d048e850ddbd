"""Protocols on words and kinds of prompts: what they ask, and cases computed by hand."""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from tests.evaluation.cases import found, pose
from tests.evaluation.drawn_sets import BIRD, TUBE, Known, repeated, thing, write_set
from tests.evaluation.prepared_sets import prepare_drawn
from tests.inference.conftest import own_detector

from xpose.data.loading.labelling import known_labelling
from xpose.evaluation.data import EvaluationData
from xpose.evaluation.protocols.paper_figures import FACE, RIGHT, WRONG, SimilaritySource
from xpose.evaluation.protocols.word_protocols import ABSENT, PRESENT, VARIANTS, may_lack, misspelt
from xpose.evaluation.questions import Settings
from xpose.evaluation.runner import evaluate
from xpose.model.checkpoints.calibration import Calibration
from xpose.results import Poses


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Two tubes in one picture, a bird in another, and a zebrafish larva."""
    root = tmp_path_factory.mktemp("sets")
    tubes = [thing((0, 0, 40, 20), (5, 10), (35, 10)), thing((10, 30, 60, 25), (15, 40), (65, 40))]
    bird = [thing((20, 10, 40, 40), (25, 15), (55, 45), (25, 45), (55, 15))]
    for name, category, names, things in (
        ("tubes", "glue tube", TUBE, tubes),
        ("birds", "bird", BIRD, bird),
        ("bees", "honey bee", ("head", "thorax"), [thing((20, 10, 40, 40), (25, 15), (55, 45))]),
    ):
        write_set(root / name, [(category, names)], {"train": [things], "val": [things]})
    return root


def swap_sides(task, question):
    """The truth, judged by place in the list: a detector that does not read the names."""
    (asked,) = question.asked
    truth = repeated(task, question)
    names = tuple(tuple(asked.names.values())[: len(own)] for own in truth.keypoint_names)
    values = {name: getattr(truth, name) for name in type(truth).__dataclass_fields__}
    return Poses(**{**values, "keypoint_names": names, "canonical_names": names, "edges": ()})


def test_robustness_asks_in_every_wording_and_keeps_the_meaning(tree):
    source = Known(repeated)
    result = evaluate("robustness", source, tree, only=["birds"])
    (task,) = source.tasks
    asked = {question.variant: question.asked[0] for question in task.questions}
    assert set(VARIANTS) - {"synonym"} <= set(asked), "only a synonym may be missing"
    usual = asked["usual words"].category.keypoints
    for name, one in asked.items():
        assert sorted(one.names.values()) == sorted(usual), name
    assert asked["related word"].called == "hen"
    assert list(asked["other order"].names) != list(usual)
    assert list(asked["left/right exchanged"].names) == ["head", "tail", "right wing", "left wing"]
    assert dict(asked["exchange ignored"].names) == {
        "head": "head",
        "tail": "tail",
        "right wing": "left wing",
        "left wing": "right wing",
    }
    shuffled = asked["shuffled points"].names
    assert set(shuffled) == set(usual)
    assert all(word != meant for word, meant in shuffled.items())
    assert asked["unrelated words"].called not in ("bird", "birds")
    assert asked["typos"].called != "bird"
    assert {result.summary[f"PCK@0.2/{name}"] for name in asked} == {1.0}


def test_robustness_by_hand(tree):
    """A detector that does not read keypoint names gives the list's places: exchanged names find the wrong wing, two
    of four points; judged by place it looks perfect. Words it does not know get a score of 0.2 instead of 0.9."""

    def answer(task, question):
        (asked,) = question.asked
        (one,) = question.truth.instances
        score = 0.9 if asked.called == "bird" else 0.2
        usual = one.category.keypoints
        # The place of the k-th usual point, whatever the k-th name is.
        points = {meant.replace(" ", "_"): one.keypoints[usual[k]][:2] for k, meant in enumerate(asked.names.values())}
        return found(pose(one.category, one.box, score, **points), size=(60, 80))

    summary = evaluate("robustness", Known(answer), tree, only=["birds"]).summary
    assert summary["PCK@0.2/usual words"] == summary["PCK@0.2/exchange ignored"] == summary["PCK@0.2/typos"] == 1.0
    assert summary["PCK@0.2/left/right exchanged"] == 0.5
    assert summary["PCK@0.2/other order"] < 1.0
    assert summary["score/usual words"] == pytest.approx(0.9)
    assert summary["score/unrelated words"] == pytest.approx(0.2)


def test_a_slip_of_the_fingers_is_one_slip():
    stream = random.Random(0)
    for words in ("left front paw", "nose", "eye", "12345"):
        for _ in range(30):
            wrong = misspelt(words, stream)
            if len(words) < 4 or not any(letter.isalpha() for letter in words):
                assert wrong == words
            assert abs(len(wrong) - len(words)) <= 1
            exchanged, missing = Counter(wrong) - Counter(words), Counter(words) - Counter(wrong)
            assert exchanged.total() <= 1
            assert missing.total() <= 1


def test_negatives_by_hand(tree):
    """Birds: the present class found, the absent one answered twice above 0.1. Tubes: one of two objects found, the
    absent one answered below 0.1. Bees: nothing at all."""

    def answer(task, question):
        (asked,) = question.asked
        if task.record.source == "bees":
            return Poses.empty((60, 80))
        if question.variant == ABSENT:
            scores = (0.5, 0.2) if task.record.source == "birds" else (0.05,)
            return found(*[pose(asked.category, (0, 0, 9, 9), s) for s in scores], size=(60, 80))
        return repeated(task, question)[:1]

    source = Known(answer)
    result = evaluate("negatives", source, tree, settings=Settings(threshold=0.1))
    for task in source.tasks:
        shown = {q.asked[0].called for q in task.questions if q.variant == PRESENT}
        absent = {q.asked[0].called for q in task.questions if q.variant == ABSENT}
        assert absent
        assert not shown & absent
        assert "bird" not in absent, "a bird may sit in any photograph"
    assert result.summary["false alarms per picture/birds"] == 2.0
    assert result.summary["false alarms per picture/tubes"] == 0.0
    assert result.value == pytest.approx(2 / 3)
    assert result.summary["questions answered"] == pytest.approx(1 / 3)
    assert result.summary["recall/tubes"] == 0.5
    assert result.summary["recall"] == pytest.approx((1.0 + 0.5 + 0.0) / 3)


def test_negatives_are_measured_at_the_thresholds_of_the_weights(tree):
    detector = own_detector()
    said = {}
    for limit in (0.0, 1.0):
        result = evaluate("negatives", detector.calibrated(Calibration({"": limit})), tree)
        said[limit] = result.value
        assert result.statement["threshold"].startswith("those of the weights, by class")
    assert said[0.0] > 0
    assert said[1.0] == 0
    assert evaluate("negatives", detector, tree, settings=Settings(threshold=1.0)).value == 0


def test_negatives_that_the_user_names(tree):
    """Every picture is asked for them where it does not show them, with the vocabulary's points."""
    source = Known(lambda task, question: Poses.empty((60, 80)))
    evaluate("negatives", source, tree, settings=Settings(threshold=0.1, absent=("dog", "bird")))
    asked = {
        task.record.source: {q.asked[0].called: q.asked[0].names for q in task.questions if q.variant == ABSENT}
        for task in source.tasks
    }
    assert {name: set(own) for name, own in asked.items()} == {
        "tubes": {"dog", "bird"},
        "bees": {"dog", "bird"},
        "birds": {"dog"},
    }
    assert "left eye" in asked["tubes"]["dog"]
    assert tuple(asked["tubes"]["bird"]) == ("head", "tail", "left wing", "right wing")  # as the data names them


def test_pictures_of_which_it_is_not_known_are_not_asked(tree):
    (record, _) = next(iter(EvaluationData.at(tree, only=["tubes"]).records()))
    assert may_lack("dog", record)
    assert not may_lack("glue tube", record)
    assert may_lack("dog", replace(record, source="coco_person"))
    unsure = min(known_labelling()["coco_person"].unsure)
    for file in (unsure, f"images/{unsure}"):  # sets keep their pictures in a folder
        picture = replace(record.picture, file=file)
        assert not may_lack("dog", replace(record, source="coco_person", picture=picture))


def test_class_against_points_by_hand(tree):
    """Words: the right class with no point; examples: a wrong class in the same place with every point."""

    def answer(task, question):
        right, wrong = question.asked[0].category, question.asked[1].category
        rows = []
        for one in question.truth.instances:
            points = {name.replace(" ", "_"): (x, y) for name, (x, y, _) in one.keypoints.items()}
            if question.variant == "text":
                rows.append(pose(right, one.box, 0.9, **dict.fromkeys(points, (-90, -90))))
            else:
                row = pose(right, one.box, 0.9, **points)
                rows.append({**row, "categories": wrong.name})
        return found(*rows, size=(60, 80))

    source = Known(answer)
    summary = evaluate("class-point", source, tree).summary
    assert (summary["class accuracy/text"], summary["PCK@0.2/text"]) == (1.0, 0.0)
    assert (summary["class accuracy/visual"], summary["PCK@0.2/visual"]) == (0.0, 1.0)
    for task in source.tasks:
        for question in task.questions:
            names = [one.called for one in question.asked]
            assert len(set(names)) == len(names) == 3, "two other categories exist"
            assert names[0] == task.record.instances[0].category.name


def test_faces_are_asked_for_all_68_points_and_judged_by_the_shared_ones(tmp_path):
    root = prepare_drawn(tmp_path, "animalweb", "300w")

    def answer(task, question):
        """Eyes exact, everything else far away."""
        truth = repeated(task, question)
        values = {name: getattr(truth, name) for name in type(truth).__dataclass_fields__}
        far = np.array([["eye" not in name for name in own] for own in truth.keypoint_names])
        return Poses(**{**values, "xy": truth.xy + 900 * far[..., None]})

    source = Known(answer)
    result = evaluate("faces68", source, root, split="train")
    assert {task.record.source for task in source.tasks} == {"animalweb", "300w"}
    for task in source.tasks:
        (asked,) = task.questions[0].asked
        assert tuple(asked.names) == FACE.keypoints
        assert asked.called.endswith("face")
    (animal, *_) = (task for task in source.tasks if task.record.source == "animalweb")
    labelled = [name for name in FACE.keypoints if name in animal.record.instances[0].category.keypoints]
    assert len(labelled) >= 3
    eyes = sum("eye" in name for name in FACE.keypoints) / 68
    assert result.summary["PCK@0.2/set/300w"] == pytest.approx(eyes)
    shared = [name for name in labelled if "eye" in name]
    assert result.summary["PCK@0.2/set/animalweb"] == pytest.approx(len(shared) / len(labelled))


def test_similarity_by_hand(tree):
    """Right words 0.8 and 0.7, wrong ones 0.3 and 0.6, but for one object of each that is 0.75 against 0.8."""

    def answer(task, question):
        right = question.variant == RIGHT
        rows = []
        for number, one in enumerate(question.truth.instances):
            points = {name.replace(" ", "_"): (x, y) for name, (x, y, _) in one.keypoints.items()}
            told = dict.fromkeys(points, 0.7 if right else 0.6)
            score = (0.8 if right else 0.3) if number == 0 else (0.75 if right else 0.8)
            row = pose(one.category, one.box, score, scores=told, **points)
            rows.append({**row, "categories": question.asked[0].category.name})
        return found(*rows, size=(60, 80))

    summary = evaluate("similarity", Known(answer), tree, only=["tubes", "birds"]).summary
    assert summary[f"instance/{RIGHT}"] == pytest.approx((0.8 + 0.75 + 0.8) / 3)
    assert summary[f"instance/{WRONG}"] == pytest.approx((0.3 + 0.8 + 0.3) / 3)
    # Of nine pairs: 0.8 > 0.3 twice and = 0.8 once (half), for both objects with 0.8; 0.75 > 0.3 twice.
    assert summary["instance/AUROC"] == pytest.approx((2.5 + 2.5 + 2) / 9)
    assert summary["keypoint/AUROC"] == 1.0


def test_ablations_ask_by_words_and_by_examples(tmp_path):
    root = prepare_drawn(tmp_path, "ap10k")
    source = Known(lambda task, q: repeated(task, q) if q.variant == "text" else Poses.empty((90, 120)))
    result = evaluate("ablations", source, root)
    assert (result.summary["AP/text"], result.summary["AP/visual"]) == (1.0, 0.0)
    assert result.tables[1].title.startswith("Published")
    assert [row[2] for row in result.tables[1].rows][:3] == [45.5, 72.6, 73.2]


@pytest.mark.parametrize("name", ["robustness", "negatives", "class-point", "faces68", "similarity"])
def test_a_detector_runs_through(tree, name, tmp_path):
    detector = own_detector()
    source = SimilaritySource(detector) if name == "similarity" else detector
    root, split = (prepare_drawn(tmp_path, "300w"), "train") if name == "faces68" else (tree, "val")
    result = evaluate(name, source, root, split=split, settings=Settings(limit=1))
    assert not result.faults
    assert result.scores.pictures
    if name == "similarity":
        assert 0 <= result.summary[f"instance/{RIGHT}"] <= 1
        assert 0 <= result.summary[f"keypoint/{WRONG}"] <= 1


def test_similarities_are_the_detectors_own_cosines(tree):
    detector = own_detector()
    known = Known(lambda task, question: Poses.empty((60, 80)))
    evaluate("similarity", known, tree, only=["birds"])
    (task,) = known.tasks
    (answers,) = SimilaritySource(detector).answer([task], [task.pixels()], Settings())
    question = task.questions[0]
    direct = detector.similarity(task.pixels(), [question.asked[0].prompt()], max_instances=question.most)
    np.testing.assert_allclose(answers[0].scores * 2 - 1, direct.objects, atol=1e-5)
    np.testing.assert_allclose(answers[0].keypoint_scores * 2 - 1, direct.keypoints, atol=1e-5)
    np.testing.assert_allclose(answers[0].xy, direct.poses.xy - 0.5, atol=1e-4)
