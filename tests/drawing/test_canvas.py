"""Smooth shapes and words on a sheet."""

from __future__ import annotations

import math

import pytest
from PIL import Image

from xpose.drawing import text
from xpose.drawing.canvas import Canvas
from xpose.drawing.figures import Colour


def sheet(width: int = 200, height: int = 200, colour: Colour = (128, 128, 128)) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


# Shapes


def test_a_line_covers_its_area_without_seams():
    for end in ((180.0, 160.0), (20.5, 190.0), (190.0, 20.5), (20.0, 20.0)):
        canvas = Canvas(sheet(200, 200, (0, 0, 0)))
        canvas.line((20.0, 20.0), end, 3.0, (255, 255, 255))
        area = canvas.pixels[..., 0].sum() / 255
        assert area == pytest.approx(6 * math.dist((20, 20), end) + math.pi * 9, rel=0.02)
    half = Canvas(sheet(200, 200, (0, 0, 0)))
    half.line((20.0, 20.0), (180.0, 160.0), 3.0, (200, 200, 200), (0.5, 0.5))
    assert half.pixels.max() == 100, "no pixel is painted twice"


def test_frames_are_painted_once_and_clipped():
    canvas = Canvas(sheet(60, 60, (0, 0, 0)))
    canvas.frame((10.0, 10.0, 50.0, 40.0), 2.0, (200, 200, 200), 0.5)
    assert canvas.pixels.max() == 100
    assert (canvas.pixels[..., 0] > 0).sum() == 44 * 34 - 36 * 26
    for box in ((-1e30, -1e30, 1e30, 1e30), (30.0, 30.0, 30.0, 30.0), (100.0, 100.0, 200.0, 200.0)):
        canvas.frame(box, 2.0, (200, 200, 200), 0.5)


def test_dashes_leave_gaps_and_keep_the_corners():
    solid, dashed = Canvas(sheet(120, 90, (0, 0, 0))), Canvas(sheet(120, 90, (0, 0, 0)))
    for canvas, dash in ((solid, None), (dashed, 9.0)):
        canvas.frame((10.0, 10.0, 110.0, 80.0), 1.0, (200, 200, 200), 0.5, dash)
    ink, whole = dashed.pixels[..., 0].astype(int), solid.pixels[..., 0].astype(int)
    assert (ink <= whole).all()
    assert 0.4 < ink.sum() / whole.sum() < 0.6
    for y in (10, 79):
        assert ink[y, 10] == ink[y, 109] == 100
    row = ink[10, 10:110] > 50
    assert (row[1:] & ~row[:-1]).sum() == 6, "100 pixels hold six periods of about 18"
    for box in ((-1e30, -1e30, 1e30, 1e30), (30.0, 30.0, 30.0, 30.0)):
        dashed.frame(box, 2.0, (200, 200, 200), 0.5, 9.0)


def test_discs_and_rings():
    canvas = Canvas(sheet(60, 60, (0, 0, 0)))
    canvas.disc((30.0, 30.0), 10.0, (255, 255, 255))
    assert canvas.pixels[..., 0].sum() / 255 == pytest.approx(math.pi * 100, rel=0.01)
    ring = Canvas(sheet(60, 60, (0, 0, 0)))
    ring.disc((30.0, 30.0), 10.0, (255, 255, 255), hole=5.0)
    assert ring.pixels[..., 0].sum() / 255 == pytest.approx(math.pi * 75, rel=0.02)


# Words


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("left  eye", "left eye"),
        ("two\nlines\t\x00", "two lines"),
        ("x" * 50, "x" * 37 + "..."),
        ("a\ud800b", "a b"),
        ("", ""),
    ],
)
def test_names_become_one_short_line(raw, shown):
    assert text.clean(raw) == shown


def test_letters_without_a_font_are_spelt_otherwise(monkeypatch):
    monkeypatch.setattr(text, "_FONT_FILES", ())
    for cached in (text.font_for, text.spelling):
        cached.cache_clear()
    try:
        assert text.spelling("café", 12) == "cafe"
        assert text.spelling("a日", 12) == "a?"
        assert text.spelling("plain", 12) == "plain"
    finally:
        for cached in (text.font_for, text.spelling):
            cached.cache_clear()


def test_a_font_with_the_letters_is_found_where_there_is_one():
    if text._installed("DejaVuSans.ttf", 12) is None:
        pytest.skip("no DejaVu Sans on this machine")
    assert text.spelling("café рука", 12) == "café рука"


def test_words_have_a_halo():
    canvas = Canvas(sheet(100, 40))
    text.write(canvas, (10, 20), "cat", 20, (255, 255, 255), (0, 0, 0))
    assert canvas.pixels.max() == 255
    assert canvas.pixels.min() < 60
    before = canvas.pixels.copy()
    text.write(canvas, (10, 20), "", 20)
    assert (canvas.pixels == before).all()
