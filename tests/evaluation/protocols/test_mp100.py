"""MP-100: episodes byte by byte, and the four modes against a case computed by hand."""

import hashlib
import random
from dataclasses import replace

import pytest
from tests.data.small_sets import record, write_prepared
from tests.evaluation.cases import found, pose
from tests.evaluation.drawn_sets import Known
from tests.inference.conftest import own_detector

from xpose.evaluation.protocols.mp100 import BOX, FREE, MULTI, ONE_SHOT, SINGLE, draw_episodes
from xpose.evaluation.questions import Settings
from xpose.evaluation.runner import evaluate
from xpose.prompts import VisualPrompt
from xpose.records import Category, Instance

CAT = Category("tabby cat", "toy_cat", ("nose", "tail", "ear"))
BED = Category("bed", "toy_bed", ("head", "foot"))
OBJECTS = {kind: [f"{kind}/{n}.jpg#{n}" for n in range(size)] for kind, size in (("bed", 40), ("cat", 25), ("few", 4))}


@pytest.mark.parametrize(
    ("shots", "digest"),
    [
        (1, "0539099c03a29b837e4fa771966a0162cf9d808177e8a67f8f21a9351af147a6"),
        (5, "5b2d90614f1049c26c66eb5287c667b48f5d7c33c4cde2e872f3be4b1e0f0653"),
    ],
)
def test_the_lists_are_the_same_byte_by_byte(shots, digest):
    text = "".join(
        f"{one.category}\t{one.number}\t{','.join(one.supports)}\t{','.join(one.queries)}\n"
        for one in draw_episodes(OBJECTS, shots)
    )
    assert hashlib.sha256(text.encode()).hexdigest() == digest


def test_the_rule_by_hand():
    """One stream with seed 1: a draw without repetition per episode, the examples first, category after category."""
    random.seed(1)
    expected = []
    for names in OBJECTS.values():
        for _ in range(3):
            drawn = random.sample(names, min(len(names), 16))
            expected.append((tuple(drawn[:1]), tuple(drawn[1:])))
    assert [(one.supports, one.queries) for one in draw_episodes(OBJECTS, 1, count=3)] == expected


@pytest.mark.parametrize("shots", [1, 5])
def test_counts_and_no_query_among_its_examples(shots):
    listed = list(draw_episodes(OBJECTS, shots))
    assert {one.category for one in listed} == ({"bed", "cat", "few"} if shots == 1 else {"bed", "cat"})
    assert len(listed) == 200 * len({one.category for one in listed})
    for one in listed:
        assert len(one.supports) == shots
        assert len(one.queries) == (15 if one.category != "few" else 3)
        assert not set(one.supports) & set(one.queries)


def placed(category, left, **points):
    return Instance(category, (left, 10.0, 40.0, 40.0), {name: (*place, 2) for name, place in points.items()})


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Three pictures of cats: one with two of them, two with one; one labelled only in part. A bed alone: no pair."""
    root = tmp_path_factory.mktemp("mp100")
    cats = {
        "a.png": [placed(CAT, 5.0, nose=(10, 20), tail=(40, 20)), placed(CAT, 60.0, nose=(65, 20), tail=(95, 20))],
        "b.png": [placed(CAT, 30.0, nose=(35, 20), tail=(65, 20), ear=(40, 40))],
        "c.png": [placed(CAT, 30.0, nose=(35, 20))],
        "d.png": [placed(BED, 30.0, head=(35, 20))],
    }
    records = []
    for file, instances in cats.items():
        empty = record("mp100", "split1-test", file)
        values = {name: getattr(empty, name) for name in type(empty).__dataclass_fields__}
        records.append(type(empty)(**{**values, "instances": tuple(instances)}))
    write_prepared(root, "mp100", records, {file: n for n, file in enumerate(cats)})
    return root


def test_the_four_modes_by_hand(tree):
    """Every answer holds two poses: the truth itself with score 0.5, and one with score 0.9 in the same place, whose
    points are all far off. So the labelled box, which both fit, picks the first of equal boxes; the score picks the
    wrong one. In b.png the right pose comes first and scores best."""

    def answer(task, question):
        (one,) = question.truth.instances
        right = {name: (x, y) for name, (x, y, _) in one.keypoints.items()}
        wrong = dict.fromkeys(right, (0, 0))
        scores = (0.9, 0.5) if task.key.endswith("b.png") else (0.5, 0.9)
        box = one.box if task.key.endswith("b.png") else (0, 0, 5, 5)
        return found(pose(CAT, one.box, scores[0], **right), pose(CAT, box, scores[1], **wrong), size=(90, 120))

    source = Known(answer)
    result = evaluate("mp100-1shot", source, tree)
    assert {task.record.picture.file for task in source.tasks} == {"a.png", "b.png", "c.png"}, "one bed makes no pair"
    assert result.summary[f"PCK@0.2/{BOX}"] == 1.0
    alone = [q for t in source.tasks if t.key.endswith(("b.png", "c.png")) for q in t.questions]
    right = [q for t in source.tasks if t.key.endswith("b.png") for q in t.questions]
    assert result.summary[f"PCK@0.2/{SINGLE}"] == pytest.approx(len(right) / len(alone))
    assert result.summary[f"PCK@0.2/{MULTI}"] == 0.0
    total = sum(len(task.questions) for task in source.tasks)
    assert total == 200 * 3, "four cats: one example, three queries"
    assert result.value == result.summary[f"PCK@0.2/{FREE}"] == pytest.approx(len(right) / total)
    assert result.tables[0].rows[0][:2] == ("split1-test", total)


def test_points_count_where_query_and_every_example_have_them(tree):
    source = Known(lambda task, question: found(size=(90, 120)))
    evaluate("mp100-1shot", source, tree)
    for task in source.tasks:
        for question in task.questions:
            (asked,), (target,) = question.asked, question.truth.instances
            (example,) = asked.examples
            assert set(target.keypoints) <= set(example.instance.keypoints)
            prompt = asked.prompt()
            assert isinstance(prompt, VisualPrompt)
            assert tuple(prompt.points) == CAT.keypoints, "all points are asked, also those the example lacks"
            assert {name for name, (*_, v) in prompt.points.items() if v} == set(example.instance.keypoints)


def test_a_detector_runs_at_both_sizes(tree):
    detector = own_detector()
    before = detector.model.config
    few = replace(
        ONE_SHOT,
        tasks=lambda data, settings: [replace(t, questions=t.questions[:3]) for t in ONE_SHOT.tasks(data, settings)],
    )
    settings = {side: Settings(prompts="visual", side=side) for side in (64, 128)}
    numbers = {side: evaluate(few, detector, tree, settings=one) for side, one in settings.items()}
    assert detector.model.config == before
    boxes = [[one.iou for one in result.scores.objects] for result in numbers.values()]
    assert boxes[0] != boxes[1]
    assert "128" in numbers[128].tables[0].notes[0]
