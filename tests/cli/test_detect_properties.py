"""Whatever is given as a prompt or as a picture: a result, or an XPoseError that says why not. Never anything else."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.inference.conftest import own_detector

from xpose.errors import XPoseError
from xpose.inference import Detector
from xpose.pictures.reading import read_picture
from xpose.prompts import CombinedPrompt, TextPrompt, VisualPrompt, as_prompts
from xpose.results import Poses

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 56, 3), dtype=np.uint8)
FEW = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def detector() -> Detector:
    return own_detector(image_short=32, image_long=64)


def holds_together(poses: Poses) -> None:
    event("a result")  # seen with --hypothesis-show-statistics
    count = len(poses)
    assert poses.boxes.shape == (count, 4)
    assert len(poses.categories) == len(poses.keypoint_names) == poses.xy.shape[0] == count
    assert np.isfinite(poses.boxes).all()
    assert list(poses.scores) == sorted(poses.scores, reverse=True)
    for row, names in zip(poses.xy, poses.keypoint_names, strict=True):
        assert np.isfinite(row[: len(names)]).all()


junk: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.just(object()),
)
values = st.recursive(
    junk,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
word = st.one_of(
    st.text(max_size=30), st.sampled_from(["dog", "left eye", "68_face_points", "person, horse", ",", " "])
)


@FEW
@given(word)
def test_any_text_is_a_prompt_or_an_error(detector: Detector, text: str) -> None:
    try:
        poses = detector.detect(PICTURE, text, threshold=0.0, max_instances=3)
    except XPoseError:
        return
    holds_together(poses)
    assert set(poses.categories) <= {part.strip() for part in text.split(",")}


@FEW
@given(
    object=st.one_of(st.none(), word),
    keypoints=st.one_of(st.none(), st.lists(word, max_size=4)),
    style=st.none() | word,
)
def test_any_words_and_points(
    detector: Detector, object: str | None, keypoints: list[str] | None, style: str | None
) -> None:
    try:
        poses = detector.detect(PICTURE, TextPrompt(object, keypoints=keypoints, style=style), threshold=0.0)
    except XPoseError:
        return
    holds_together(poses)
    if keypoints:
        assert set(poses.keypoint_names) <= {tuple(keypoints)}


odd = st.one_of(st.floats(width=32), st.integers(-1000, 1000), junk)
inside = st.floats(0, 39)
good_point = st.tuples(inside, inside) | st.tuples(inside, inside, st.booleans()) | st.just((None, None, False))
odd_point = st.one_of(st.tuples(odd, odd), st.tuples(odd, odd, junk), junk)
good_words = st.sampled_from(["left eye", "Nose", "tip", "kärnä", "p1"])
corners = st.tuples(st.floats(0, 15), st.floats(0, 15), st.floats(20, 39), st.floats(20, 39))
mostly_good = st.dictionaries(good_words, good_point, min_size=1, max_size=4) | st.lists(good_point, max_size=4)
odd_points = st.one_of(st.dictionaries(word, odd_point | good_point, max_size=4), st.lists(odd_point, max_size=4), junk)


EXAMPLE = {"keypoints": mostly_good, "box": corners | st.none(), "name": good_words | st.none()}
ODD = {"keypoints": odd_points, "box": st.tuples(odd, odd, odd, odd) | junk, "name": word | junk}


@FEW
@given(which=st.sampled_from(["none", *ODD]), data=st.data())
def test_any_example(detector: Detector, which: str, data: st.DataObject) -> None:
    """At most one of the three is odd, so that every check is met by otherwise good examples."""
    example = {key: data.draw(ODD[key] if key == which else good, label=key) for key, good in EXAMPLE.items()}
    try:
        poses = detector.detect(PICTURE, VisualPrompt(PICTURE, **example), threshold=0.0, max_instances=3)
    except XPoseError:
        if which == "none":
            shown = any(value[-1] is not False for value in _values(example["keypoints"]))
            assert example["box"] is None, "a good example was refused"
            assert not shown, "a good example was refused"
        return
    holds_together(poses)
    assert set(poses.categories) <= {example["name"] or "object"}


def _values(points: Any) -> list[Any]:
    return list(points.values() if isinstance(points, dict) else points)


@FEW
@given(words=st.lists(good_words, min_size=1, max_size=4, unique=True), points=mostly_good)
def test_words_with_any_example(detector: Detector, words: list[str], points: Any) -> None:
    try:
        prompt = TextPrompt("leaf", keypoints=words) + VisualPrompt(PICTURE, points, box=(2, 2, 30, 30))
        poses = detector.detect(PICTURE, prompt, threshold=0.0)
    except XPoseError:
        return
    holds_together(poses)
    assert set(poses.keypoint_names) <= {tuple(words)}


@FEW
@given(values)
def test_anything_as_a_prompt(value: Any) -> None:
    try:
        prompts = as_prompts(value)
    except XPoseError:
        return
    assert prompts
    assert all(isinstance(one, (TextPrompt, VisualPrompt, CombinedPrompt)) for one in prompts)


@FEW
@given(values)
def test_anything_as_a_picture(value: Any) -> None:
    try:
        pixels, _ = read_picture(value)
    except XPoseError:
        return
    pytest.fail(f"{value!r} was read as a picture of {pixels.shape}")


shape = st.lists(st.integers(0, 6), max_size=4).map(tuple)
kind = st.sampled_from(
    ["uint8", "uint16", "int16", "int64", "float16", "float32", "float64", "bool", "complex64", "U3"]
)


@FEW
@given(shape=shape, kind=kind, seed=st.integers(0, 3), scale=st.sampled_from([0, 1, 255, 70_000, -1, float("nan")]))
def test_any_array_is_read_or_refused(shape: tuple[int, ...], kind: str, seed: int, scale: float) -> None:
    with np.errstate(all="ignore"):
        array = np.asarray(np.random.default_rng(seed).random(shape) * scale).astype(kind)
    for picture in (array, *([torch.from_numpy(array)] if kind not in ("U3",) else [])):
        try:
            pixels, _ = read_picture(picture)
        except XPoseError:
            continue
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3


@pytest.mark.filterwarnings("ignore::xpose.errors.XPoseWarning")  # damage can look like a further frame
@FEW
@given(ending=st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM"]), data=st.data())
def test_a_damaged_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, ending: str, data: st.DataObject
) -> None:
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, ending)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    path = tmp_path_factory.getbasetemp() / f"damaged.{ending.lower()}"
    path.write_bytes(bytes(content[:cut] if data.draw(st.booleans()) else content))
    try:
        pixels, _ = read_picture(path)
    except XPoseError:
        return
    assert pixels.shape[2] == 3


@FEW
@given(height=st.integers(1, 9), width=st.integers(1, 300), words=st.sampled_from(["dog", "face, hand"]))
def test_thin_pictures(detector: Detector, height: int, width: int, words: str) -> None:
    poses = detector.detect(np.full((height, width, 3), 99, np.uint8), words, threshold=0.0)
    holds_together(poses)
    assert poses.image_size == (height, width)
