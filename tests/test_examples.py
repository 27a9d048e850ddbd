"""All scripts of examples/ run, and the demo prints and draws correct results."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.inference.conftest import own_detector, saved

EXAMPLES = Path(__file__).parents[1] / "examples"

# Script -> the arguments before WEIGHTS, a part of what it prints, and the start of the name of its output file.
CALLS = {
    "words.py": (["photo.png"], "dogs", "leaves.png"),
    "example_picture.py": (["photo.png", "leaf.png", "leaf.json"], "like the example, with tip, stalk", "like_the"),
    "words_and_example.py": (["photo.png", "leaf.png", "leaf.json"], "leaves by words and example", "words_and"),
    "several_classes.py": (["photo.png"], "shape of the faces' points", None),
    "prompt_bank.py": (["photo.png"], "found of wren, eagle, nest", "birds.safetensors"),
    "video_frames.py": (["frames"], "Wrote mouse.csv, 3 frames", "mouse.csv"),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A tiny network with random weights: what it finds means nothing, but every call is made."""
    return str(saved(own_detector(thresholds={"": 0.0}), tmp_path_factory.mktemp("examples") / "tiny"))


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A folder with what the scripts are called with."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(["photo.png", "leaf.png", *(f"frames/{n}.png" for n in (1, 2, 10))]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "leaf.json").write_text(json.dumps({"tip": [20, 20], "stalk": [40, 30]}))
    return tmp_path


def test_every_script_is_called_here():
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*CALLS, "quickstart.py"}


@pytest.mark.parametrize("script", sorted(CALLS))
def test_example_runs(script, pictures, weights, monkeypatch, capsys):
    arguments, printed, left = CALLS[script]
    before = {path.name for path in pictures.iterdir()}
    monkeypatch.setattr(sys, "argv", [script, *arguments, weights])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    assert printed in capsys.readouterr().out
    written = [path.name for path in pictures.iterdir() if path.name not in before]
    assert [name for name in written if left is None or not name.startswith(left)] == []
    assert bool(written) is (left is not None)


@pytest.mark.parametrize("script", sorted(CALLS))
def test_an_example_without_arguments_says_how_to_call_it(script, monkeypatch):
    monkeypatch.setattr(sys, "argv", [script])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    assert f"python examples/{script}" in stop.value.code


def test_video_frames_come_in_order(pictures, weights, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["video_frames.py", "frames", weights])
    runpy.run_path(str(EXAMPLES / "video_frames.py"), run_name="__main__")
    rows = (pictures / "mouse.csv").read_text("utf-8").splitlines()[1:]
    assert list(dict.fromkeys(row.split(",")[0] for row in rows)) == ["1.png", "2.png", "10.png"]


def test_the_demo_finds_what_the_photographs_show(tmp_path):
    out = tmp_path / "new" / "demo.png"
    command = [sys.executable, str(EXAMPLES / "quickstart.py"), "--out", str(out)]
    first = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert first.startswith("xpose-nano, loaded in")
    assert "astronaut, asked for face: 1 found" in first
    assert "admiral, asked for face: 1 found" in first
    assert first.count("68 points") == 2
    picture = Image.open(out)
    assert picture.height >= 480
    assert picture.width > 800
    command[1:1] = ["-X", "importtime"]
    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert _points(first) == _points(second.stdout)
    assert "xpose.inference.detector" in second.stderr
    assert "torch._dynamo" not in second.stderr, "PyTorch's compiler takes a second to load; detection does not use it"


def test_the_demo_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(SystemExit, match=r'pip install "xpose\[examples\]"'):
        runpy.run_path(str(EXAMPLES / "quickstart.py"))["photographs"]()


def _points(text):
    return [line for line in text.splitlines() if line.startswith("  ")]
