"""The progress of a run: lines off a terminal, a bar on one."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from tests.training.run.test_log import report

from xpose.cli._progress import RunBar, run_line


def test_a_line_says_terms_speed_memory_and_what_is_left() -> None:
    text = run_line(report())
    terms = "loss 12.3 (class 0.5, box 0.25, box overlap 0.125, points 3, pose 0.75)"
    for part in ("step 20/100", terms, "17.5 pictures/s", "2.0 GB", "67 min left"):
        assert part in text
    assert "finite" not in text
    assert "2 step(s) without a finite number" in run_line(report(faulty=2))


def test_off_a_terminal_each_report_is_a_line() -> None:
    said: list[str] = []
    with RunBar(Console(file=io.StringIO()), say=said.append) as bar:
        bar.report(report())
        bar.note("step 20: text PCK@0.1 50.0")
    assert said == [run_line(report()), "step 20: text PCK@0.1 50.0"]
    said.clear()
    with RunBar(Console(file=io.StringIO()), say=said.append, quiet=True) as bar:
        bar.report(report())
        bar.note("nothing of this")
    assert said == []


def test_on_a_terminal_a_bar_shows_the_same() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=200, color_system=None)
    with RunBar(console, say=pytest.fail) as bar:
        bar.report(report(20))
        bar.report(report(40))
        bar.note("above the bar")
    shown = stream.getvalue()
    for part in ("40/100", "loss 12.3", "17.5 pictures/s", "2.0 GB", "above the bar"):
        assert part in shown
