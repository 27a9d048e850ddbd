"""Pictures of every kind become upright RGB bytes, or a clear error."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from xpose.errors import ImageError, XPoseWarning
from xpose.pictures import reading as images
from xpose.pictures.reading import (
    WEBP_HEAD,
    count_frames,
    find_pictures,
    natural_key,
    read_frames,
    read_picture,
    webp_size,
)

RAMP = np.linspace(0, 255, 12, dtype=np.uint8).reshape(3, 4)
COLOURS = np.arange(36, dtype=np.uint8).reshape(3, 4, 3) * 7


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(COLOURS, COLOURS, id="rgb bytes"),
        pytest.param(RAMP, RAMP[..., None].repeat(3, 2), id="grey bytes"),
        pytest.param(RAMP[..., None], RAMP[..., None].repeat(3, 2), id="grey with an axis"),
        pytest.param(RAMP.astype(np.uint16) * 257, RAMP[..., None].repeat(3, 2), id="16 bits"),
        pytest.param((RAMP / 255).astype(np.float32), RAMP[..., None].repeat(3, 2), id="floats to 1"),
        pytest.param(RAMP.astype(np.float64), RAMP[..., None].repeat(3, 2), id="floats to 255"),
        pytest.param(RAMP > 100, ((RAMP > 100) * np.uint8(255))[..., None].repeat(3, 2), id="mask"),
        pytest.param(torch.from_numpy(COLOURS).permute(2, 0, 1), COLOURS, id="tensor, channels first"),
        pytest.param(torch.from_numpy(COLOURS).permute(2, 0, 1)[None], COLOURS, id="tensor, batch of one"),
        pytest.param(torch.from_numpy(COLOURS[:2]), COLOURS[:2], id="tensor, channels last"),
        pytest.param(torch.from_numpy(COLOURS), COLOURS.transpose(1, 2, 0), id="where both fit, PyTorch's order"),
        pytest.param(Image.fromarray(COLOURS), COLOURS, id="PIL"),
        pytest.param(Image.fromarray(RAMP), RAMP[..., None].repeat(3, 2), id="PIL grey"),
        pytest.param(
            np.concatenate((COLOURS, np.zeros((3, 4, 1), np.uint8)), 2),
            np.full((3, 4, 3), 255),
            id="transparent is white",
        ),
        pytest.param(Image.new("RGBA", (4, 3), (9, 9, 9, 0)), np.full((3, 4, 3), 255), id="PIL transparent"),
        pytest.param(Image.new("1", (4, 3), 1), np.full((3, 4, 3), 255), id="PIL two colours"),
    ],
)
def test_kinds(source: object, expected: np.ndarray) -> None:
    pixels, path = read_picture(source)
    assert path is None
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, expected)


def test_twelve_bit_microscope_pictures_are_not_black() -> None:
    pixels, _ = read_picture(np.array([[0, 4095]], dtype=np.uint16))
    assert pixels.max() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_picture_upright(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((20, 30, 3), np.uint8)
    upright[:5, :5] = 255  # a mark in the top left corner of the upright picture
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that the orientation undoes
    stored = Image.fromarray(upright)
    if orientation in back:
        stored = stored.transpose(Image.Transpose(back[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    stored.save(path, exif=exif)
    pixels, found = read_picture(path)
    assert found == path
    np.testing.assert_array_equal(pixels, upright)
    pixels, found = read_picture(path.read_bytes())
    assert found is None
    np.testing.assert_array_equal(pixels, upright)


def save_frames(path: Path, *frames: Image.Image, **options: Any) -> Path:
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    return path


@pytest.mark.parametrize("name", ["a.gif", "a.tif", "a.webp", "a.png"])
def test_frames(tmp_path: Path, name: str) -> None:
    """Of a picture that says it has several, only the first is read, with a warning; or all of them."""
    colours = [(255, 255, 255), (0, 0, 0), (128, 128, 128)]
    path = save_frames(tmp_path / name, *(Image.new("RGB", (5, 4), colour) for colour in colours))
    for source in (path, str(path), path.read_bytes()):
        assert [tuple(pixels[2, 2]) for pixels in read_frames(source)] == colours
        with pytest.warns(XPoseWarning, match=r"has 3 frames; only the first is read\. .*xpose\.read_frames"):
            assert tuple(read_picture(source)[0][2, 2]) == colours[0]
    assert count_frames(path) == 3


def test_other_pictures_in_a_file_are_no_frames(tmp_path: Path) -> None:
    """A camera's second view in a JPEG, and the reduced copies in a TIFF."""
    large, small = Image.new("RGB", (40, 30), "white"), Image.new("RGB", (20, 15), "black")
    camera = save_frames(tmp_path / "a.jpg", large.copy(), small.copy(), format="MPO")
    small.encoderinfo = {"tiffinfo": {254: 1}}
    pyramid = save_frames(tmp_path / "a.tif", large, small)
    for path in (camera, pyramid):
        with Image.open(path) as picture:
            assert picture.n_frames == 2
        assert count_frames(path) == 1
        assert [pixels.shape for pixels in read_frames(path)] == [(30, 40, 3)]
        assert read_picture(path)[0].min() > 250


def test_frames_of_damaged_files(tmp_path: Path) -> None:
    """What is before the damage is read, and the message says where it is."""
    noise = np.random.default_rng(0).integers(0, 255, (3, 40, 50, 3), dtype=np.uint8)
    whole = save_frames(tmp_path / "whole.gif", *map(Image.fromarray, noise)).read_bytes()
    (tmp_path / "cut.gif").write_bytes(whole[: int(0.9 * len(whole))])
    frames = read_frames(tmp_path / "cut.gif")
    for pixels in (next(frames), next(frames)):
        assert pixels.shape == (40, 50, 3)
    with pytest.raises(ImageError, match=r'Frame 3 of ".*cut\.gif" is damaged or cut short'):
        next(frames)
    assert next(frames, None) is None
    (tmp_path / "text.gif").write_text("no picture")
    assert count_frames(tmp_path / "text.gif") == 1
    with pytest.raises(ImageError, match="is not a picture"):
        next(read_frames(tmp_path / "text.gif"))
    with pytest.raises(ImageError, match="There is no picture"):
        next(read_frames(tmp_path / "gone.gif"))


def test_cmyk_and_palette(tmp_path: Path) -> None:
    for mode, name in (("CMYK", "a.jpg"), ("P", "b.png")):
        Image.new("RGB", (6, 5), (200, 30, 30)).convert(mode).save(tmp_path / name)
        pixels, _ = read_picture(tmp_path / name)
        assert pixels.shape == (5, 6, 3)
        assert pixels[0, 0, 0] > 150 > pixels[0, 0, 1]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param("nothing.jpg", "There is no picture", id="missing"),
        pytest.param(3.5, "is not a picture", id="a number"),
        pytest.param(np.zeros((0, 4, 3), np.uint8), "at least one pixel", id="empty"),
        pytest.param(np.zeros((4, 4, 2), np.uint8), "height, width", id="two channels"),
        pytest.param(np.zeros(4, np.uint8), "height, width", id="one axis"),
        pytest.param(np.full((2, 2), np.nan), "NaN", id="NaN"),
        pytest.param(np.full((2, 2), -1.0), "Undo any normalisation", id="normalised"),
        pytest.param(np.full((2, 2), -1), "0 upwards", id="negative integers"),
        pytest.param(np.zeros((2, 2), complex), "not understood", id="complex"),
    ],
)
def test_refused(source: object, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_picture(source)


def test_damaged_files(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(buffer, "JPEG")
    for name, content, message in (
        ("cut.jpg", buffer.getvalue()[:800], "damaged or cut short"),
        ("text.jpg", b"hello", "not a picture"),
        ("empty.png", b"", "not a picture"),
    ):
        (tmp_path / name).write_bytes(content)
        for source in (tmp_path / name, content):
            with pytest.raises(ImageError, match=message):
                read_picture(source)
    with pytest.raises(ImageError, match="is a folder"):
        read_picture(tmp_path)


def test_a_small_file_with_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (3000, 2000)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(images, "MOST_PIXELS", 1_000_000)
    with pytest.raises(ImageError, match="3000 x 2000 pixels; at most 1,000,000"):
        read_picture(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match="at most 1,000,000"):
        read_picture(tmp_path / "bomb.png")


@given(st.binary(max_size=400))
def test_any_bytes_are_a_picture_or_an_image_error(content: bytes) -> None:
    with contextlib.suppress(ImageError):
        assert read_picture(content)[0].dtype == np.uint8


def test_find_pictures(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "notes.txt", "sub/c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [p.name for p in find_pictures(tmp_path)] == ["a.png", "b.JPG", "c.webp"]


@pytest.mark.parametrize(
    ("mode", "options"),
    [("RGB", {}), ("RGB", {"lossless": True}), ("RGBA", {}), ("RGBA", {"lossless": True}), ("RGB", {"exif": b"Exif"})],
    ids=str,
)
@given(size=st.tuples(st.integers(1, 40), st.integers(1, 40)))
@settings(max_examples=10, deadline=None)
def test_the_head_of_a_webp_file_tells_what_pillow_finds(mode: str, options: dict, size: tuple[int, int]) -> None:
    buffer = io.BytesIO()
    Image.new(mode, size, (200, 90, 30, 77)[: len(mode)]).save(buffer, format="WEBP", **options)
    content = buffer.getvalue()
    with Image.open(buffer) as found:
        assert webp_size(content[:WEBP_HEAD], len(content)) == found.size == size
    assert webp_size(content[:WEBP_HEAD], len(content) - 1) is None, "cut short"
    assert webp_size(b"x" + content[1:WEBP_HEAD], len(content)) is None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["b10", "b2", "a"], ["a", "b2", "b10"]),
        (["Z1", "a1"], ["a1", "Z1"]),
        (["1_2", "1_10", "01_3"], ["1_2", "01_3", "1_10"]),
        (["frame", "frame1", "٣", "9" * 200], ["٣", "9" * 200, "frame", "frame1"]),
    ],
)
def test_natural_order(names: list[str], expected: list[str]) -> None:
    assert [str(path) for path in sorted(map(Path, names), key=natural_key)] == expected
