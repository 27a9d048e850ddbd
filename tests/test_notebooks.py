"""The notebooks run, and their stored outputs are small and show what they promise."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
STEPS = re.compile(r"--steps \d+")


def printed(notebook):
    """What each cell prints on standard output; it may arrive in several pieces."""
    cells = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    return ["".join(output.text for output in outputs if output.get("name") == "stdout") for outputs in cells]


def pictures(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return sum("image/jpeg" in output.get("data", {}) for output in outputs)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path):
    stored = nbformat.read(path, 4)
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        cell.source = STEPS.sub("--steps 1", cell.source)  # what training learns is seen in the stored outputs
        if cell.cell_type == "code":
            cell.outputs = []
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    assert pictures(notebook) == pictures(stored) > 0
    if path.stem == "first_steps":
        assert printed(notebook) == printed(stored)
    else:
        assert [bool(text) for text in printed(notebook)] == [bool(text) for text in printed(stored)]
        assert "Done: 1 step" in "".join(printed(notebook))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_with_its_outputs(path):
    notebook = nbformat.read(path, 4)
    numbers = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert numbers == list(range(1, len(numbers) + 1))
    assert path.stat().st_size < 500_000
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert {output.get("name", output.output_type) for output in outputs} == {"stdout", "execute_result"}


def test_there_are_two_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["first_steps", "own_object"]
