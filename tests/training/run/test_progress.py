"""What a run tells: lines off a terminal, a bar on one, curves for TensorBoard."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from xpose.training.run.progress import Bar, TensorBoard, in_words, line
from xpose.training.run.settings import Progress

TERMS = {"total": 12.345, "object_alignment": 0.5, "box_l1": 0.25, "giou": 0.125, "keypoint_l1": 3.0, "oks": 0.75}


def report(step: int = 20, faulty: int = 0) -> Progress:
    return Progress(step, 100, TERMS, 3e-4, 17.5, 61.0, faulty=faulty, memory=2048.0, remaining=4000.0)


@pytest.mark.parametrize(("seconds", "words"), [(45, "45 s"), (600, "10 min"), (12_000, "3 h 20 min")])
def test_times(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_a_line_says_terms_speed_memory_and_what_is_left() -> None:
    text = line(report())
    for part in ("step 20/100", "loss 12.3", "class 0.5", "points 3", "17.5 images/s", "2.0 GB", "67 min left"):
        assert part in text
    assert "finite" not in text
    assert "2 step(s) without a finite number" in line(report(faulty=2))


def test_off_a_terminal_each_report_is_a_line() -> None:
    said: list[str] = []
    with Bar(Console(file=io.StringIO()), say=said.append) as bar:
        bar.report(report())
        bar.note("step 20: text PCK@0.1 50.0")
    assert said == [line(report()), "step 20: text PCK@0.1 50.0"]
    said.clear()
    with Bar(Console(file=io.StringIO()), say=said.append, quiet=True) as bar:
        bar.report(report())
        bar.note("nothing of this")
    assert said == []


def test_on_a_terminal_a_bar_shows_the_same() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=200, color_system=None)
    with Bar(console, say=pytest.fail) as bar:
        bar.report(report(20))
        bar.report(report(40))
        bar.note("above the bar")
    shown = stream.getvalue()
    for part in ("40/100", "loss 12.3", "17.5 images/s", "2.0 GB", "above the bar"):
        assert part in shown


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
