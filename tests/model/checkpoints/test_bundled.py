"""The weights that come with xpose: whole, described, and good for something, on photographs of scikit-image."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from skimage import data

import xpose
from xpose.geometry import box_iou
from xpose.inference import Detector
from xpose.model.checkpoints.calibration import read_calibration
from xpose.model.checkpoints.known import DEFAULT, bundled_weights
from xpose.model.device import multiplies_bf16
from xpose.training.recipes.recipe import load_recipe

WEIGHTS = bundled_weights()
FREE = set(
    load_recipe("nano-real-open").data.only
)  # tests/training/recipes/test_overlap.py compares it with the sets' index


@pytest.fixture(scope="module")
def detector() -> Detector:
    return xpose.load()


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return data.astronaut()


def test_the_default_is_there() -> None:
    assert DEFAULT in WEIGHTS


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_a_folder_is_small_and_its_card_is_of_its_file(name: str) -> None:
    file, card = WEIGHTS[name] / "model.safetensors", (WEIGHTS[name] / "README.md").read_text("utf-8")
    content = file.read_bytes()
    assert len(content) <= 20_000_000
    assert hashlib.sha256(content).hexdigest() in card
    with safe_open(file, "np") as tensors:
        kinds = {tensors.get_slice(key).get_dtype() for key in tensors.keys()}  # noqa: SIM118
        assert all(np.isfinite(tensors.get_tensor(key)).all() for key in tensors.keys())  # noqa: SIM118
    assert kinds <= {"F16", "I64"}
    thresholds = read_calibration(WEIGHTS[name]).thresholds
    assert thresholds.keys() > {""}, "not calibrated"
    for known in thresholds.keys() - {""}:
        assert known in card


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_a_card_says_what_the_weights_may_be_used_for(name: str) -> None:
    card = (WEIGHTS[name] / "README.md").read_text("utf-8")
    licence = re.search(r"^license: (.+)$", card, re.MULTILINE)
    assert licence
    recipe = tomllib.loads((WEIGHTS[name] / "recipe.toml").read_text("utf-8"))
    only = set(recipe["data"]["only"])
    free = bool(only) and only <= FREE
    assert ("research only" in licence[1]) is not free
    assert not free or name != DEFAULT


def overlap(box: np.ndarray, other: tuple[float, float, float, float]) -> float:
    return float(box_iou(box[None], np.array([other], np.float32))[0])


def test_a_face_is_found_with_its_points(detector: Detector, astronaut: np.ndarray) -> None:
    """Where they were read off the photograph by eye."""
    (face,) = detector.detect(astronaut, "face", max_instances=1)
    assert overlap(face.box, (160, 78, 285, 190)) > 0.6
    for name, (x, y) in {
        "nose tip": (226, 133),
        "left eye outer corner": (263, 112),
        "chin centre": (214, 187),
    }.items():
        assert np.hypot(face.points[name].x - x, face.points[name].y - y) < 0.1 * 125, name


def test_known_boxes_get_the_keypoints_that_detection_finds(detector: Detector, astronaut: np.ndarray) -> None:
    (face,) = detector.detect(astronaut, "face", max_instances=1)
    (again,) = detector.detect(astronaut, "face", boxes=[face.box])
    (elsewhere,) = detector.detect(astronaut, "face", boxes=[face.box + 200])
    side = float(max(face.box[2:] - face.box[:2]))
    assert np.median(np.linalg.norm(again.xy - face.xy, axis=-1)) < 0.05 * side
    assert np.median(np.linalg.norm(elsewhere.xy - face.xy, axis=-1)) > side
    assert elsewhere.score < again.score


def test_nothing_is_found_of_what_is_not_there(detector: Detector, astronaut: np.ndarray) -> None:
    for words in ("cow", "honey bee", "salmon"):
        assert len(detector.detect(astronaut, words)) == 0, words
        assert len(detector.detect(data.coffee(), words)) == 0, words


def test_a_batch_of_different_sizes_finds_what_each_picture_alone_does(
    detector: Detector, astronaut: np.ndarray
) -> None:
    """The smaller picture is padded; boxes and points are in its own measure all the same."""
    wide = np.asarray(Image.fromarray(astronaut).crop((60, 0, 400, 220)))
    alone = [detector.detect(one, "face", max_instances=1, threshold=0.0) for one in (astronaut, wide)]
    together = detector.detect([astronaut, wide], "face", max_instances=1, threshold=0.0, batch_size=2)
    for one, other in zip(alone, together, strict=True):
        assert overlap(one.boxes[0], tuple(other.boxes[0])) > 0.8
        side = max(one.boxes[0][2:] - one.boxes[0][:2])
        assert np.median(np.abs(one.xy - other.xy)) < 0.05 * side


def test_the_weights_read_examples_too(detector: Detector, astronaut: np.ndarray) -> None:
    """One face shows what a face is."""
    shown = detector.detect(astronaut, "face", max_instances=1)[0]
    points = {name: (point.x, point.y) for name, point in shown.points.items()}
    example = xpose.VisualPrompt(astronaut, points, tuple(shown.box), name="face")
    mirrored = np.ascontiguousarray(astronaut[:, ::-1])
    (found,) = detector.detect(mirrored, example, max_instances=1, threshold=0.0)
    assert overlap(found.box, (512 - 285, 78, 512 - 160, 190)) > 0.5


def test_the_cards_pictures_are_there() -> None:
    for folder in WEIGHTS.values():
        card = (folder / "README.md").read_text("utf-8")
        for link in re.findall(r"\]\(([\w.-]+)\)", card):
            assert (folder / Path(link)).is_file(), link


@pytest.mark.parametrize(
    ("name", "words", "found"),
    [
        ("chelsea", "person, cat", ["cat"]),  # the cat's score is lower than its threshold would be as a person
        ("chelsea", "kitten", ["kitten"]),  # has the threshold of cats
        ("camera", "person, face, cat", ["person"]),  # a face does not compete with a person
        ("astronaut", "person, face, dog", ["face", "person"]),
    ],
)
def test_several_words_find_what_each_of_them_finds(
    detector: Detector, name: str, words: str, found: list[str]
) -> None:
    assert sorted(detector.detect(getattr(data, name)(), words).categories) == found


@pytest.mark.skipif(not multiplies_bf16(torch.device("cpu")), reason="this processor has no bfloat16")
def test_auto_takes_bfloat16_which_hardly_changes_the_results(detector: Detector) -> None:
    """On photographs as on the picture of the check."""
    quick = xpose.load(dtype="auto")
    assert next(quick.model.backbone.parameters()).dtype == torch.bfloat16
    for name, word in (("astronaut", "face"), ("chelsea", "cat"), ("camera", "person")):
        exact, lowered = (one.detect(getattr(data, name)(), word) for one in (detector, quick))
        assert len(exact) == len(lowered) == 1
        side = (exact.boxes[0, 2:] - exact.boxes[0, :2]).max()
        assert np.nanmedian(np.linalg.norm(exact.xy - lowered.xy, axis=-1)) < 0.02 * side
        assert abs(exact.scores - lowered.scores).max() < 0.03
