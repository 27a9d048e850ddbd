"""`xpose export`: what it takes, and its mistakes; `tests/export` checks what it writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from xpose.export import exporting
from xpose.export.exporting import ExportOptions, ExportReport
from xpose.export.parity import Differences

Run = Callable[..., tuple[int, str, str]]


def test_the_options_and_the_report(here: Path, run: Run, weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def export(detector, folder, pictures, words, options, *, licence, note):
        import numpy as np

        calls.append((folder, len(pictures), words, options, licence))
        folder.mkdir()
        (folder / "encode.onnx").touch()
        differences = Differences(4, 1, np.array([0.01]), np.array([0.002]), np.array([0.03]))
        return ExportReport(folder, (folder / "encode.onnx",), differences)

    monkeypatch.setattr(exporting, "export_detector", export)
    code, out, _ = run("export", weights, "--out", "exported", "-t", "dog, cat", "--sampling", "gather")
    assert code == 0
    assert calls == [(Path("exported"), 3, ["dog", "cat"], ExportOptions("onnx", "gather"), "not stated")]
    assert "Wrote exported (1 file). Compared with PyTorch for 4 objects" in " ".join(out.split())


def test_mistakes(here: Path, run: Run, weights: str) -> None:
    code, _, err = run("export", weights, "--precision", "int8")
    assert code == 1
    assert "--precision int8 was given without --pictures" in " ".join(err.split())
    code, _, err = run("export", weights, "--pictures", "nowhere.jpg")
    assert code == 1
    assert "nowhere.jpg" in err
    assert not (here / "exported").exists()
