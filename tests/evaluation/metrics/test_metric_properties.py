"""What every metric promises: no order of pictures matters, pieces add up, perfect answers are perfect."""

import math
import re
from pathlib import Path

import pytest
from tests.evaluation.cases import perfect, random_pictures

from xpose.evaluation import (
    AUC,
    EPE,
    NME,
    PCK,
    BoxAP,
    Confidence,
    FalseAlarms,
    Metric,
    OksAP,
    PointRules,
    Swaps,
)

BOX = PointRules(normaliser="box")
METRICS = {
    "pck": (lambda: PCK((0.05, 0.2), mean="sets"), {"PCK@0.05": 1, "PCK@0.2": 1}),
    "pck by score": (lambda: PCK(0.1, mean="keypoints", rules=PointRules(match="best score")), {}),
    "nme": (lambda: NME(rules=BOX), {"NME": 0, "NME/AUC@0.08": 1, "NME/failed": 0}),
    "auc": (lambda: AUC(20), {"AUC@20": 1}),
    "area": (lambda: AUC(0.2, steps=None, mean="sets", rules=BOX), {"AUC@0.2": 1}),
    "epe": (EPE, {"EPE": 0, "EPE/found": 1}),
    "oks": (OksAP, {"AP": 1, "AR": 1}),
    "boxes": (BoxAP, {"box AP": 1, "box AR": 1}),
    "visibility": (lambda: Confidence.of_visibility(("visible", "hidden")), {"AUROC": 1, "ECE": 0}),
    "places": (Confidence.of_places, {"ECE": 0}),
    "objects": (Confidence.of_objects, {"ECE": 0}),
    "swaps": (Swaps, {"swaps": 0}),
    "false alarms": (lambda: FalseAlarms(["dog", "face", "zebra"]), {"false alarms": 0, "recall": 1}),
}
EVERY = pytest.mark.parametrize("name", METRICS)


def measured(metric, pictures):
    for truth, answer in pictures:
        metric.update(truth, answer)
    return metric.compute()


def same(one, other):
    assert one.keys() == other.keys()
    for key in one:
        assert one[key] == pytest.approx(other[key], abs=1e-12, nan_ok=True), key


@EVERY
def test_the_order_of_the_pictures_does_not_matter(name):
    make, pictures = METRICS[name][0], random_pictures(5)
    forwards = measured(make(), pictures)
    assert any(math.isfinite(value) and value for value in forwards.values())
    same(forwards, measured(make(), pictures[::-1]))


@EVERY
def test_numbers_in_between_change_nothing(name):
    make, pictures = METRICS[name][0], random_pictures(6)
    metric = make()
    measured(metric, pictures[:4])
    same(measured(metric, pictures[4:]), measured(make(), pictures))
    same(metric.compute(), metric.compute())


@EVERY
def test_perfect_answers(name):
    make, expected = METRICS[name]
    # Two objects at one place would let the box of one stand for the other.
    pictures = [(truth, perfect(truth)) for truth, _ in random_pictures(8, pictures=40, most=1)]
    numbers = measured(make(), pictures)
    assert {key: numbers[key] for key in expected} == pytest.approx(expected, abs=1e-5)


@EVERY
def test_no_picture_gives_no_number_and_no_error(name):
    numbers = METRICS[name][0]().compute()
    assert all(math.isnan(value) or value == 0 for value in numbers.values())


@EVERY
def test_all_of_them_are_metrics(name):
    metric = METRICS[name][0]()
    assert isinstance(metric, Metric)


def test_the_examples_of_the_page_run(capsys):
    page = Path(__file__).parents[3] / "docs" / "evaluation-metrics.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, str(page), "exec"), {})
    assert "PCK@0.2" in capsys.readouterr().out
