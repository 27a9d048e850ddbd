"""Answers to be judged by eye: the same pictures whatever the weights and the other sets, one drawing for each."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.judge import COLUMNS, TILE, chosen, judged, sheet
from tests.evaluation.drawn_sets import BIRD, TUBE, thing, write_set
from tests.inference.conftest import own_detector

from xpose.evaluation.data import EvaluationData


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tube = [thing((0, 0, 40, 20), (5, 10), (35, 10))]
    write_set(tmp_path / "tubes", [("glue tube", TUBE)], {"val": [tube] * 9})
    return tmp_path


def test_the_choice_depends_on_seed_and_names_alone(tree: Path) -> None:
    first = [task.key for task in chosen(EvaluationData.at(tree), 3, None, 0)]
    assert len(set(first)) == 3
    bird = [thing((20, 10, 40, 40), (25, 15), (55, 45), (25, 45), (55, 15))]
    write_set(tree / "birds", [("bird", BIRD)], {"val": [bird] * 2})
    both = [task.key for task in chosen(EvaluationData.at(tree), 3, None, 0)]
    assert [key for key in both if key.startswith("tubes/")] == first
    assert len(both) == 5, "a set with fewer pictures gives all of them"
    assert len(chosen(EvaluationData.at(tree), 3, 4, 0)) == 4
    assert first not in [
        [task.key for task in chosen(EvaluationData.at(tree, only=["tubes"]), 3, None, n)] for n in (1, 2, 3)
    ]


def test_a_picture_says_what_was_asked_and_how_much_was_found(tree: Path) -> None:
    (task,) = chosen(EvaluationData.at(tree), 1, None, 0)
    asked, drawing = judged(own_detector(), task, 1)
    assert asked == "glue tube"
    assert max(drawing.size) >= 640
    assert sheet([drawing] * (COLUMNS + 1)).size == (COLUMNS * TILE, 2 * TILE)
