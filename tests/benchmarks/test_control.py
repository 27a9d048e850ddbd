"""The control itself: an oracle passes it, a lookup table does not."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from xpose.prompts import TextPrompt
from xpose.results import Poses

NAMES = ("nose", "tail", "paw")


@pytest.fixture(scope="module")
def control() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "control.py"
    spec = importlib.util.spec_from_file_location("control", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["control"] = module
    spec.loader.exec_module(module)
    return module


def content(folder: Path) -> dict:
    images, annotations = [], []
    rng = np.random.default_rng(0)
    for i in range(6):
        Image.new("RGB", (100, 100), (i, i, i)).save(folder / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png"})
        points = rng.uniform(0, 100, (3, 2))
        keypoints = [v for x, y in points for v in (float(x), float(y), 2)]
        annotations.append({"id": i, "image_id": i, "category_id": 1, "bbox": [0, 0, 100, 100], "keypoints": keypoints})
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cat", "keypoints": list(NAMES)}],
    }


def answer(points: np.ndarray) -> Poses:
    return Poses(
        boxes=np.array([[0, 0, 100, 100]], np.float32),
        scores=np.ones(1, np.float32),
        categories=("cat",),
        xy=points[None].astype(np.float32),
        keypoint_scores=np.ones((1, 3), np.float32),
        visibility=np.full((1, 3), 2, np.uint8),
        keypoint_names=(NAMES,),
        canonical_names=(NAMES,),
        edges=((),),
        image_size=(100, 100),
    )


def test_an_oracle_passes_and_a_lookup_table_fails(control: ModuleType, tmp_path: Path) -> None:
    truth = content(tmp_path)
    points = {a["image_id"]: np.array(a["keypoints"]).reshape(3, 3)[:, :2] for a in truth["annotations"]}

    def by_words(path: Path, prompt: TextPrompt, **options: object) -> Poses:
        return answer(points[int(Path(path).stem)][[NAMES.index(n) for n in prompt.resolved.names]])

    oracle = SimpleNamespace(detect=by_words)
    by_place = SimpleNamespace(detect=lambda path, prompt, **options: answer(points[int(Path(path).stem)]))
    table = SimpleNamespace(detect=lambda path, prompt, **options: answer(points[0]))
    good = control.control(oracle, truth, tmp_path, 100)
    assert good["as asked"] == 100
    assert good["names exchanged"] < 60
    assert good["another picture"] < 60
    deaf = control.control(by_place, truth, tmp_path, 100)
    assert deaf["as asked"] == deaf["names exchanged"] == 100
    blind = control.control(table, truth, tmp_path, 100)
    assert blind["as asked"] == blind["another picture"]
