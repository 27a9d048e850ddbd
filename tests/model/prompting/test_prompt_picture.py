"""Pictures prepared for CLIP: pixels and points."""

import numpy as np
import pytest
from PIL import Image

from xpose.errors import ImageError, PromptError
from xpose.model.prompting.picture import MEAN, STD, prompt_picture


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def dot(height: int, width: int, x: int, y: int, radius: int) -> Image.Image:
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[max(y - radius, 0) : y + radius, max(x - radius, 0) : x + radius] = 255
    return Image.fromarray(image)


@pytest.mark.parametrize(
    ("size", "point", "box"),
    [
        ((300, 500), (250, 150), (200, 100, 330, 180)),
        ((300, 500), (40, 30), (0, 0, 120, 90)),
        ((300, 500), (470, 280), (400, 250, 620, 400)),
    ],
)
def test_points_move_with_the_pixels(size, point, box):
    height, width = size
    picture = prompt_picture(dot(height, width, *point, radius=8), box)
    ground = picture.pixels.sum(0)
    bright = np.argwhere(ground > ground.max() - 1).mean(0)[::-1] + 0.5
    placed, visible = picture.place(np.array([point]), np.array([True]))
    np.testing.assert_allclose(placed[0] * 224, bright, rtol=0, atol=1.0)
    assert visible.all()


def test_a_box_is_cut_out_with_its_margin():
    picture = prompt_picture(noise(400, 400), (100, 150, 180, 190))
    corners, visible = picture.place(np.array([[90, 120], [190, 220], [140, 170], [89, 170]]), np.ones(4))
    np.testing.assert_allclose(corners[:3], [[0, 0], [1, 1], [0.5, 0.5]], rtol=0, atol=1e-6)
    assert visible.tolist() == [True, True, True, False], "what is cut off becomes invisible"


def test_an_invisible_or_missing_point_stays_invisible():
    picture = prompt_picture(noise(50, 50), (0, 0, 50, 50))
    _, visible = picture.place(np.array([[10.0, 10.0], [np.nan, 10.0]]), np.array([0, 1]))
    assert visible.tolist() == [False, False]


def test_beyond_the_picture_lies_clips_mean_colour():
    pixels = prompt_picture(np.full((100, 100, 3), 255, dtype=np.uint8), (60, 60, 140, 140)).pixels
    assert np.abs(pixels[:, 200:, 200:]).max() < 0.01
    white = (1 - np.array(MEAN)) / np.array(STD)
    np.testing.assert_allclose(pixels[:, 5, 5], white, rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
def test_the_smallest_and_the_longest(shape):
    pixels = prompt_picture(noise(*shape), (0, 0, 1, 1)).pixels
    assert pixels.shape == (3, 224, 224)
    assert np.isfinite(pixels).all()


def test_other_modes_become_rgb():
    grey = Image.fromarray(noise(30, 30)[..., 0])
    assert prompt_picture(grey, (0, 0, 30, 30)).pixels.shape == (3, 224, 224)
    assert prompt_picture(Image.new("RGBA", (30, 30)), (0, 0, 30, 30)).pixels.shape == (3, 224, 224)


@pytest.mark.parametrize("array", [noise(5, 5)[..., 0], noise(5, 5) / 255, np.zeros((0, 5, 3), dtype=np.uint8)])
def test_arrays_of_another_kind_are_refused(array):
    with pytest.raises(ImageError, match=r"Got an array of shape .*\[H, W, 3\] of uint8.*Convert"):
        prompt_picture(array, (0, 0, 5, 5))


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((10, 10, 10, 20), "no area"),
        ((20, 10, 10, 20), "no area"),
        ((0, 0, float("nan"), 5), "no area"),
        ((60, 60, 80, 80), "outside the picture of 50 x 50"),
        ((-20, -20, 0, 0), "outside the picture"),
    ],
)
def test_boxes_that_cannot_be_cut_out(box, message):
    with pytest.raises(PromptError, match=message):
        prompt_picture(noise(50, 50), box)


def test_an_enormous_box_does_not_exhaust_the_memory():
    assert np.isfinite(prompt_picture(noise(50, 50), (-1e9, -1e9, 1e9, 1e9)).pixels).all()
