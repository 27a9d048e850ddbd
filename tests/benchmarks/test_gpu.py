"""The benchmark of GPUs runs every part anywhere, and no part stops the others."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


def loaded(name: str, file: str, patch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    patch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        loaded("training", "training.py", patch)  # by this name, pytest may know the folder tests/training
        yield loaded("benchmark_gpu", "gpu.py", patch)


def test_every_part_is_measured(benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is compiled, which takes long."""
    monkeypatch.setattr(benchmark, "compile_network", lambda model: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        code = benchmark.main(["--tiny", "--one-process", "--out", str(tmp_path)])
    finally:
        torch.set_num_threads(threads)
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert code == 0, [row for row in report["rows"] if row["failed"]]
    assert {row["part"] for row in report["rows"]} == set(benchmark.PARTS)
    assert all(row["value"] is not None or row["note"] for row in report["rows"])
    table = (tmp_path / "gpu.md").read_text()
    assert table.startswith("# NO GPU") is not torch.cuda.is_available()
    assert table.count("\n| ") == len(report["rows"]) + 1
    assert "times as fast as the padded form" in table


def test_a_part_that_fails_or_hangs_is_reported(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a program in place of Python that measures one row, and then fails or hangs."""
    row = json.dumps({"part": "kernels", "what": "first", "value": 1.0, "unit": "ms"})
    program = tmp_path / "program"
    program.write_text(
        f"#!/bin/sh\necho '{row}'\ncase $3 in kernels) echo broken >&2; exit 3;; *) exec sleep 60;; esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(benchmark.sys, "executable", str(program))
    monkeypatch.setitem(benchmark.MOST_SECONDS, "latency", 0.2)
    assert benchmark.main(["--out", str(tmp_path), "--only", "kernels", "latency"]) == 1
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert [entry["what"] for entry in rows] == ["first", "stopped"] * 2
    assert rows[1]["note"] == "exit code 3: broken"
    assert "out of time" in rows[3]["note"]
    assert benchmark.main(["--out", str(tmp_path), "--minutes", "0"]) == 1
    assert {entry["what"] for entry in json.loads((tmp_path / "gpu.json").read_text())["rows"]} == {"left out"}
