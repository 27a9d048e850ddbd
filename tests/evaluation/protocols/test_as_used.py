"""Right objects and wrong answers: cases by hand, COCO's own matching as the answer to compare with, the protocol."""

import contextlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tests.evaluation.cases import DOG, FACE, found, labelled, perfect, pose, random_pictures, record
from tests.evaluation.drawn_sets import BIRD, TUBE, Known, repeated, thing, write_set
from tests.evaluation.oracle import coco_files
from tests.inference.conftest import own_detector

from xpose.data.loading.labelling import known_labelling
from xpose.errors import ConfigError
from xpose.evaluation import AsUsed, judge_answers
from xpose.evaluation.data import EvaluationData
from xpose.evaluation.protocols import load_protocol
from xpose.evaluation.questions import Settings
from xpose.evaluation.run_file import read_run, write_run
from xpose.evaluation.runner import evaluate
from xpose.evaluation.sources import DetectorSource
from xpose.inference import DetectionOptions
from xpose.records import Category
from xpose.results import Poses

PLACES = {"nose": (20, 20), "left_eye": (30, 20), "right_eye": (40, 20), "tail_base": (90, 30)}
FAR = (260.0, 190.0)
TEN = Category("worm", "worm", tuple(f"joint {number}" for number in range(10)))


def dog(x=0.0, y=0.0, **changes):
    """A labelled dog whose box is 100 wide and 50 high."""
    points = {name: (px + x, py + y) for name, (px, py) in PLACES.items()}
    return labelled(DOG, (x, y, 100, 50), **{**points, **changes})


def answer(x=0.0, y=0.0, score=0.9, *, box=None, shift=(0.0, 0.0), far=()):
    """A found dog: its points moved by `shift`, those in `far` quite elsewhere."""
    points = {name: FAR if name in far else (px + x + shift[0], py + y + shift[1]) for name, (px, py) in PLACES.items()}
    return pose(DOG, box or (x, y, 100, 50), score, **points)


def counts(truth, *answers):
    """Right objects, objects whose box was found, wrong answers."""
    judged = judge_answers(truth, found(*answers))
    assert not (judged.right & ~judged.found).any(), "who is right was found"
    assert not (judged.right & ~judged.asked).any()
    assert not (judged.shown & ~judged.right).any()
    return int(judged.right.sum()), int(judged.found.sum()), int(judged.wrong.sum())


@pytest.mark.parametrize(
    ("what", "answers", "wanted"),
    [
        ("perfect", [answer()], (1, 1, 0)),
        ("nothing", [], (0, 0, 0)),
        ("points off by 0.19 of the longer side", [answer(shift=(0, 19))], (1, 1, 0)),
        ("by exactly 0.2", [answer(shift=(0, 20))], (1, 1, 0)),
        ("by 0.21", [answer(shift=(0, 21))], (0, 1, 0)),
        ("three of four points, 75 %", [answer(far=["nose"])], (1, 1, 0)),
        ("two of four", [answer(far=["nose", "left_eye"])], (0, 1, 0)),
        # Moved by d the IoU of boxes 100 wide is (100 - d) / (100 + d): 0.5 at a third.
        ("IoU 0.504", [answer(box=(33, 0, 100, 50))], (1, 1, 0)),
        ("IoU 0.4925", [answer(box=(34, 0, 100, 50))], (0, 0, 1)),
        ("IoU exactly 0.5", [answer(box=(0, 0, 50, 50))], (1, 1, 0)),
        ("twice", [answer(), answer(score=0.5)], (1, 1, 1)),
        ("first with wrong points, then right", [answer(shift=(0, 30)), answer(score=0.5)], (1, 1, 1)),
        ("another category", [pose(FACE, (0, 0, 100, 50), 0.9)], (0, 0, 1)),
        ("points that were not found", [pose(DOG, (0, 0, 100, 50), 0.9)], (0, 1, 0)),
        ("elsewhere", [answer(120, 100)], (0, 0, 1)),
    ],
)
def test_one_dog_and(what, answers, wanted):
    assert counts(record(dog()), *answers) == wanted


def test_seven_of_ten_points_are_seventy_percent():
    places = {f"joint_{number}": (10.0 * number, 10.0) for number in range(10)}
    truth = record(labelled(TEN, (0, 0, 100, 50), **places))
    for near, right in ((7, 1), (6, 0)):
        told = {name: place if number < near else FAR for number, (name, place) in enumerate(places.items())}
        assert counts(truth, pose(TEN, (0, 0, 100, 50), 0.9, **told)) == (right, 1, 0)


def test_points_without_a_label_do_not_count_and_hidden_ones_do():
    bare = labelled(DOG, (0, 0, 100, 50), nose=(20, 20, 1))
    assert counts(record(bare), answer(far=["left_eye", "right_eye", "tail_base"])) == (1, 1, 0)
    assert counts(record(bare), answer(far=["nose"])) == (0, 1, 0)


def test_an_object_without_points_is_judged_by_its_box_alone():
    truth = record(labelled(DOG, (0, 0, 100, 50)), dog(150, 100))
    judged = judge_answers(truth, found(answer(), answer(150, 100)))
    assert judged.asked.tolist() == [False, True]
    assert judged.boxed.tolist() == [True, True]
    assert judged.right.tolist() == [False, True]
    assert judged.found.tolist() == [True, True]
    assert not judged.wrong.any()


def test_two_whose_points_are_exchanged_are_both_found_and_neither_right():
    truth = record(dog(), dog(150, 100))
    there, here = answer(150, 100), answer()
    swapped = [{**here, "xy": there["xy"]}, {**there, "xy": here["xy"]}]
    assert counts(truth, *swapped) == (0, 2, 0)
    assert counts(truth, here, there) == (2, 2, 0)


def test_of_two_that_overlap_an_answer_takes_the_one_whose_points_it_has():
    """Both boxes overlap both dogs by more than half; the better score has the points of the dog it overlaps less."""
    truth = record(dog(), dog(0, 8))
    first = answer(0, 0, 0.9, box=(0, 6, 100, 50), shift=(0, -13))
    second = answer(0, 8, 0.8, box=(0, 2, 100, 50), shift=(0, 13))
    assert judge_answers(truth, found(first, second)).right.tolist() == [True, True]
    assert counts(truth, first) == (1, 1, 0)
    assert judge_answers(truth, found(first)).answer.tolist() == [0, -1]


def test_in_a_crowd_nothing_is_wrong_and_nothing_is_missed():
    crowd = labelled(DOG, (150, 0, 150, 200), iscrowd=True)
    truth = record(dog(), crowd)
    inside, half, less = ((150, 20, 40, 40), (130, 20, 40, 40), (129, 20, 40, 40))
    for box, wrong in ((inside, 0), (half, 0), (less, 1)):
        assert counts(truth, answer(), answer(box=box)) == (1, 1, wrong)
    judged = judge_answers(truth, found(answer()))
    assert judged.boxed.tolist() == [True, False]
    assert counts(truth, pose(FACE, inside, 0.9))[2] == 1, "the crowd is one of dogs"
    whole = answer(box=(150, 0, 150, 200))
    assert counts(truth, whole) == (0, 0, 0), "a crowd is no object that could be found"


def test_points_that_the_answer_calls_absent_are_not_shown():
    for hidden, shown in ((1, True), (2, False)):
        told = answer()
        told["visibility"] = [0] * hidden + [2] * (4 - hidden)
        judged = judge_answers(record(dog()), found(told))
        assert judged.right.tolist() == [True]
        assert judged.shown.tolist() == [shown]


def test_empty_pictures():
    assert counts(record()) == (0, 0, 0)
    assert counts(record(), answer(), answer(50)) == (0, 0, 2)


@given(st.integers(0, 10_000))
def test_properties(seed):
    for truth, answers in random_pictures(seed, pictures=2):
        judged = judge_answers(truth, answers)
        taken = judged.answer[judged.found].tolist()
        assert len(set(taken)) == len(taken)
        assert not judged.wrong[taken].any()
        assert not (judged.found & ~judged.boxed).any()
        whole = judge_answers(truth, perfect(truth))
        assert not whole.wrong[judged.boxed].any(), "a label of the same place is never wrong"
        assert (whole.right == whole.asked).all() or len(truth.instances) > 1
        order = np.random.default_rng(seed).permutation(len(answers))
        other = judge_answers(truth, answers[order])
        if len(set(answers.scores.tolist())) == len(answers):
            assert (other.right == judged.right).all()
            assert (other.wrong == judged.wrong[order]).all()


def coco_counts(pictures, categories):
    """Objects found and answers that are wrong, by COCO's matching at IoU 0.5 with all sizes and all answers."""
    content, _, boxes = coco_files(pictures, categories)
    with contextlib.redirect_stdout(io.StringIO()):
        labels = COCO()
        labels.dataset = content
        labels.createIndex()
        evaluator = COCOeval(labels, labels.loadRes(boxes), "bbox")
        evaluator.params.iouThrs, evaluator.params.maxDets = np.array([0.5]), [1000]
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluator.evaluate()
    hits = wrong = 0
    for one in filter(None, evaluator.evalImgs):
        matched, ignored = one["dtMatches"][0] > 0, one["dtIgnore"][0].astype(bool)
        hits += int((matched & ~ignored).sum())
        wrong += int((~matched & ~ignored).sum())
    return hits, wrong


def without_points(truth):
    kept = tuple(replace(one, keypoints={}) for one in truth.instances)
    return replace(truth, instances=kept)


@pytest.mark.parametrize("seed", range(12))
def test_boxes_are_matched_as_coco_matches_them(seed):
    """Without labelled points only boxes count, and the rule is COCO's: found and wrong are the same numbers."""
    pictures = [(without_points(truth), answers) for truth, answers in random_pictures(seed, noise=16.0)]
    metric = AsUsed()
    for truth, answers in pictures:
        metric.update(truth, answers)
    numbers = metric.compute()
    hits, wrong = coco_counts(pictures, (DOG, FACE))
    assert 0 < hits < numbers["boxes"]
    assert wrong > 0
    assert round(numbers["found"] * numbers["boxes"]) == hits
    assert round(numbers["wrong answers per picture"] * numbers["pictures"]) == wrong
    assert np.isnan(numbers["right"])


@pytest.mark.parametrize("seed", range(6))
def test_with_points_boxes_are_still_matched_as_coco_does_where_no_answer_has_a_choice(seed):
    pictures = [one for one in random_pictures(seed, pictures=60, most=2) if not ambiguous(*one)]
    metric = AsUsed()
    for truth, answers in pictures:
        metric.update(truth, answers)
    numbers = metric.compute()
    hits, wrong = coco_counts(pictures, (DOG, FACE))
    assert hits > 10
    assert round(numbers["found"] * numbers["boxes"]) == hits
    assert round(numbers["wrong answers per picture"] * numbers["pictures"]) == wrong
    assert 0 < numbers["right"] < 1


def ambiguous(truth, answers):
    from xpose.evaluation.matching import overlaps

    return bool(((overlaps(truth, answers)[0] >= 0.5).sum(1) > 1).any())


def test_the_metric_adds_up_and_leaves_out_what_is_not_known():
    metric = AsUsed(lambda truth: truth.source != "partly")
    metric.update(record(dog()), found(answer(), answer(score=0.2)))
    metric.update(record(dog(), file="2.jpg"), found())
    metric.update(record(labelled(FACE, (0, 0, 9, 9), chin=(3, 3)), file="2.jpg"), found(answer(), answer(100)))
    metric.update(record(dog(), source="partly"), found(answer(), answer(150, 100)))
    numbers = metric.compute()
    assert numbers["right"] == numbers["found"] == 0.5
    assert (numbers["objects"], numbers["pictures"]) == (4, 2), "two questions about one picture are one picture"
    assert numbers["wrong answers per picture"] == 1.5
    assert np.isnan(AsUsed().compute()["wrong answers per picture"])


# --- the protocol ---------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path):
    """Two tubes in a picture and none in another; birds and bees in one set; athletes, who are not all labelled."""
    tubes = [thing((0, 0, 40, 20), (5, 10), (35, 10)), thing((10, 30, 60, 25), (15, 40), (65, 40))]
    write_set(tmp_path / "tubes", [("glue tube", TUBE)], {"train": [tubes], "val": [tubes, []]})
    bird = thing((20, 10, 40, 40), (25, 15), (55, 45), (25, 45), (55, 15))
    bee = thing((0, 0, 15, 15), (2, 2), (12, 12), category=2)
    kinds = [("bird", BIRD), ("honey bee", ("head", "thorax"))]
    write_set(tmp_path / "both", kinds, {"train": [[bird, bee]], "val": [[bird, bee], [bird], []]})
    write_set(tmp_path / "lspet", [("glue tube", TUBE)], {"train": [tubes], "val": [tubes[:1]]})
    index = [{"name": "tubes", "since": 1}, {"name": "both", "since": 2}, {"name": "lspet", "since": 1}]
    (tmp_path / "index.json").write_text(json.dumps(index))
    return tmp_path


def test_what_is_asked(tree):
    source = Known(repeated)
    evaluate("as-used", source, tree)
    asked = {task.key: [question.asked for question in task.questions] for task in source.tasks}
    names = {key: [one.called for (one,) in questions] for key, questions in asked.items()}
    assert names == {
        "tubes/images/val-0.png": ["glue tube"],
        "tubes/images/val-1.png": ["glue tube"],
        "both/images/val-0.png": ["bird", "honey bee"],
        "both/images/val-1.png": ["bird"],
        "lspet/images/val-0.png": ["glue tube"],
    }
    assert all(question.most is None for task in source.tasks for question in task.questions)


def test_by_hand(tree, tmp_path):
    """Of two tubes one is right and one has its points elsewhere; the empty picture gets two answers. The bee is not
    found, and the bird twice. The athlete is right, and an answer beside him is nothing that can be called wrong."""

    def known(task, question):
        truth = repeated(task, question)
        if task.key == "tubes/images/val-0.png":
            return replace(truth, xy=truth.xy + np.array([0, 50])[:, None, None])
        if task.key == "tubes/images/val-1.png":
            return found(*(pose(question.asked[0].category, (30 * n, 0, 20, 20), 0.5) for n in (0, 1)), size=(60, 80))
        if question.asked[0].called == "honey bee":
            return Poses.empty((60, 80))
        if task.record.source == "both":
            return Poses.concatenate([truth, truth])
        extra = found(pose(question.asked[0].category, (50, 30, 20, 20), 0.5), size=(60, 80))
        return Poses.concatenate([truth, extra])

    assert not known_labelling()["lspet"].exhaustive
    result = evaluate("as-used", Known(known), tree)
    summary = result.summary
    assert summary["right/set/tubes"] == 0.5
    assert summary["found/set/tubes"] == 1.0
    assert summary["wrong answers per picture/set/tubes"] == 1.0
    assert summary["right/set/both"] == pytest.approx(2 / 3)
    assert summary["wrong answers per picture/set/both"] == 1.0, "two duplicates in two pictures with a question"
    assert summary["right/set/lspet"] == 1.0
    assert np.isnan(summary["wrong answers per picture/set/lspet"])
    assert result.value == summary["right"] == pytest.approx((0.5 + 2 / 3 + 1) / 3)
    assert summary["right/first sets"] == 0.75
    assert summary["wrong answers per picture"] == summary["wrong answers per picture/first sets"] == 1.0
    assert "lspet" in result.tables[0].notes[-1]
    (tmp_path / "out").mkdir()
    write_run(tmp_path / "out/run.json", result)
    rows = [one for picture in read_run(tmp_path / "out").pictures for one in picture.objects]
    assert sum(one.values["right"] for one in rows) == 4


def test_without_dates_there_are_no_first_sets(tree):
    assert EvaluationData.at(tree).first_sets() == {"tubes", "lspet"}
    for content in ("[{}, 3]", "[", '{"since": 1}', None):
        path = tree / "index.json"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
        assert EvaluationData.at(tree).first_sets() == set()
    assert "right/first sets" not in evaluate("as-used", Known(repeated), tree).summary


def test_a_detector_is_asked_as_in_use(tree, monkeypatch):
    """One picture at a time, the weights' own rules; with another threshold their rivals stay."""
    detector = own_detector()
    seen = []
    plain = type(detector).detect

    def detect(self, images, prompts=None, **rules):
        seen.append((images, rules))
        return plain(self, images, prompts, **rules)

    monkeypatch.setattr(type(detector), "detect", detect)
    for source in (detector, DetectorSource(detector, batch=8)):
        for settings, threshold in ((None, None), (replace(load_protocol("as-used").usual, threshold=0.3), 0.3)):
            seen.clear()
            result = evaluate("as-used", source, tree, settings=settings)
            assert len(seen) == 6
            for images, rules in seen:
                assert not isinstance(images, list)
                assert rules == {"options": DetectionOptions(threshold=threshold)}
            assert result.statement["input"].endswith("one picture at a time")
            assert "of the weights" in result.statement["threshold"]


def test_examples_are_refused(tree):
    with pytest.raises(ConfigError, match="in words alone"):
        evaluate("as-used", Known(repeated), tree, settings=Settings(prompts="visual"))


def test_settings_that_were_always_there_look_as_before():
    assert "rivals" not in Settings().to_json()
    assert Settings(rivals=True).to_json()["rivals"] is True
