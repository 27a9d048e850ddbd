"""What a run reports: times in words, and curves for TensorBoard."""

from __future__ import annotations

from pathlib import Path

import pytest

from xpose.training.run.log import Progress, TensorBoard, in_words

TERMS = {"total": 12.345, "object_alignment": 0.5, "box_l1": 0.25, "giou": 0.125, "keypoint_l1": 3.0, "oks": 0.75}


def report(step: int = 20, faulty: int = 0) -> Progress:
    return Progress(step, 100, TERMS, 3e-4, 17.5, 61.0, faulty=faulty, memory=2048.0, remaining=4000.0)


@pytest.mark.parametrize(("seconds", "words"), [(45, "45 s"), (600, "10 min"), (12_000, "3 h 20 min")])
def test_times(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_tensorboard_gets_terms_and_measures(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = TensorBoard(tmp_path, 0)
    board.report(report(20))
    board.report(report(40))
    board.measures(40, {"text PCK@0.1": 0.5})
    board.close()
    found = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(one.step, round(one.value, 3)) for one in found.Scalars("loss/total")] == [(20, 12.345), (40, 12.345)]
    assert [(one.step, one.value) for one in found.Scalars("validation/text PCK@0.1")] == [(40, 0.5)]
