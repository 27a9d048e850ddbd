"""Drawings of poses, looked at through their pixels."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.results.pose_cases import any_poses, two_dogs_and_a_box

from xpose.drawing.figures import (
    LEFT,
    MIDDLE,
    PAPER,
    RIGHT,
    SIDES,
    Colour,
    Figure,
    instance_colours,
    nearest_gap,
    picture_radius,
    point_radius,
    text_size,
)
from xpose.drawing.overlay import Style, draw_figures
from xpose.errors import ConfigError, ImageError
from xpose.pictures.reading import read_picture
from xpose.results import Poses

GREY = (128, 128, 128)
PLAIN = Style(boxes=False, labels=False, legend="none")
PLACES = {"left eye": (60.0, 50.0), "right eye": (120.0, 50.0), "nose": (90.0, 110.0)}


def figure(**changes: object) -> Figure:
    values: dict = {
        "box": (20.0, 20.0, 160.0, 140.0),
        "title": "cat",
        "score": 0.87,
        "names": tuple(PLACES),
        "sides": ("left", "right", "middle"),
        "xy": np.array(list(PLACES.values())),
        "confidence": np.ones(3),
        "visibility": np.array([2, 2, 2]),
        "edges": (("left eye", "nose"), ("right eye", "nose")),
    }
    return Figure(**(values | changes))


def sheet(width: int = 200, height: int = 200, colour: Colour = GREY) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def drawn(*figures: Figure, style: Style = PLAIN, ground: Image.Image | None = None) -> np.ndarray:
    return np.asarray(draw_figures(ground or sheet(), figures, style)).astype(int)


def at(pixels: np.ndarray, x: float, y: float) -> tuple[int, int, int]:
    return tuple(pixels[int(y), int(x)].tolist())


def about(pixels: np.ndarray, colour: Colour, within: int = 24) -> int:
    """How many pixels have about this colour."""
    return int((abs(pixels - np.array(colour)) <= within).all(-1).sum())


def test_points_and_edges_have_the_colours_of_their_sides():
    pixels = drawn(figure())
    assert at(pixels, *PLACES["left eye"]) == LEFT
    assert at(pixels, *PLACES["right eye"]) == RIGHT
    assert at(pixels, *PLACES["nose"]) == MIDDLE
    assert at(pixels, 75, 80) == pytest.approx(LEFT, abs=40), "an edge from the middle to the left is left"
    assert at(pixels, 105, 80) == pytest.approx(RIGHT, abs=40)
    across = drawn(figure(edges=(("left eye", "right eye"),)))
    assert at(across, 90, 50) == MIDDLE


@pytest.mark.parametrize("ground", [(0, 0, 0), (255, 255, 255)])
def test_points_stand_out_on_dark_and_on_light(ground):
    pixels = drawn(figure(), ground=sheet(colour=ground))
    radius = picture_radius(200, 200)
    x, y = PLACES["left eye"]
    rim = pixels[int(y), int(x + radius + 0.5)]
    assert abs(rim - np.array(LEFT)).max() > 60, "the rim is lighter than the point"
    assert about(pixels, ground, 0) < 200 * 200 - 3 * 3.14 * radius**2


def test_what_comes_in_stays_as_it_is():
    ground = sheet()
    before = ground.tobytes()
    draw_figures(ground, [figure()])
    assert ground.tobytes() == before


def test_a_point_that_is_not_there_is_left_out_with_its_edges():
    away = figure(visibility=np.array([0, 2, 2]))
    pixels = drawn(away)
    assert about(pixels, LEFT) == 0
    assert at(pixels, 75, 80) == GREY
    nowhere = figure(xy=np.array([[math.nan, math.nan], *list(PLACES.values())[1:]]), visibility=np.array([0, 2, 2]))
    assert about(drawn(nowhere), LEFT) == 0


def test_a_covered_point_has_a_white_heart():
    pixels = drawn(figure(visibility=np.array([1, 2, 2])), ground=sheet(200, 200))
    assert at(pixels, *PLACES["left eye"]) != LEFT
    assert min(at(pixels, *PLACES["left eye"])) > 128


def test_confidence_is_opacity():
    strength = []
    for confidence in (0.0, 0.3, 0.6, 1.0):
        pixels = drawn(figure(confidence=np.full(3, confidence), edges=()))
        strength.append(abs(np.array(at(pixels, *PLACES["right eye"])) - np.array(RIGHT)).sum())
    assert strength == sorted(strength, reverse=True)
    assert strength[0] > 100
    assert strength[-1] == 0
    fading = drawn(figure(confidence=np.array([1.0, 1.0, 0.0]), edges=(("left eye", "nose"),)))
    near, far = (abs(np.array(at(fading, *spot)) - np.array(LEFT)).sum() for spot in ((63, 56), (87, 104)))
    assert near < far, "an edge fades towards its unsure end"


def test_strokes_and_letters_grow_with_the_picture_and_shrink_on_small_objects():
    sizes = [(200, 200), (640, 480), (3840, 2160)]
    assert [text_size(*size) for size in sizes] == sorted(text_size(*size) for size in sizes)
    assert text_size(1, 1) >= 9
    radii = [picture_radius(*size) for size in sizes]
    assert radii == sorted(radii)
    assert 1.5 < radii[0] < 3
    assert 12 < radii[2] < 20
    large, small = figure(), figure(box=(50.0, 50.0, 60.0, 60.0), xy=np.array(list(PLACES.values())) / 12 + 50)
    assert point_radius(small, 4) < point_radius(large, 4)
    face = figure(
        names=tuple(f"p{i}" for i in range(68)),
        sides=("middle",) * 68,
        xy=np.stack([np.linspace(20, 160, 68), np.full(68, 80.0)], 1),
        confidence=np.ones(68),
        visibility=np.full(68, 2),
        edges=(),
    )
    assert 2 * point_radius(face, 4) < nearest_gap(face.seen), "dense points do not touch"


def test_each_of_several_objects_has_its_own_colour():
    assert instance_colours(1) == [PAPER]
    assert instance_colours(0) == []
    colours = np.array(instance_colours(12))
    apart = abs(colours[:, None] - colours[None]).sum(-1) + 999 * np.eye(12)
    assert apart.min() > 25
    boxes = dataclasses.replace(PLAIN, boxes=True)
    two = [figure(box=(10.0, 10.0, 60.0, 60.0)), figure(box=(100.0, 100.0, 180.0, 180.0))]
    pixels = drawn(*two, style=boxes)
    first, second = instance_colours(2)
    assert about(pixels[5:65, 5:65], first) > 50
    assert about(pixels[5:65, 5:65], second) == 0
    assert about(pixels[95:185, 95:185], second) > 50
    assert about(drawn(figure(), style=boxes), PAPER, 40) > about(drawn(figure()), PAPER, 40)


def test_labels_say_what_and_how_sure_and_do_not_lie_on_each_other():
    style = dataclasses.replace(PLAIN, labels=True)
    three = [figure(box=(40.0, 60.0, 150.0, 150.0), visibility=np.zeros(3)) for _ in range(3)]
    pixels = drawn(*three, style=style)
    areas = [about(pixels, colour) for colour in instance_colours(3)]
    assert min(areas) > 0.5 * max(areas), "none hides another"
    assert about(drawn(figure(title=""), style=style), PAPER) < about(drawn(figure(title="a cat"), style=style), PAPER)


def test_a_picture_that_is_smaller_than_a_label_has_none():
    style = dataclasses.replace(PLAIN, labels=True)
    for size in ((14, 25), (200, 40)):
        tiny = figure(xy=np.zeros((3, 2)), visibility=np.zeros(3), box=(2.0, 2.0, 9.0, 9.0))
        assert (drawn(tiny, style=style, ground=sheet(*size)) == GREY).all()
    assert (drawn(figure(visibility=np.zeros(3)), style=style) != GREY).any()


def test_what_people_labelled_has_no_score():
    def label(**changes: object) -> int:
        bare = {"xy": np.zeros((3, 2)), "visibility": np.zeros(3, dtype=int)}
        shown = drawn(figure(**bare, **changes), style=Style(boxes=False, legend="none"))
        return int((abs(shown - np.array(GREY)).sum(-1) > 60).sum())

    assert label(score=0.87) > label(score=None) > label(score=None, title="") == 0


def test_labels_can_have_a_least_height():
    def height(share: float) -> int:
        pixels = drawn(figure(), style=dataclasses.replace(PLAIN, labels=True, label_share=share))
        return int((pixels != GREY[0]).any(axis=(1, 2))[:20].sum())  # above the box, where nothing else is drawn

    assert height(0.01) == height(0.0)
    assert height(0.07) >= 14 > height(0.0)


@pytest.mark.parametrize(
    ("option", "value"),
    [("legend", "left"), ("legend", True), ("legend", "auto")]
    + [("line_width", width) for width in (0, -1, math.nan, math.inf, "4", 1e9)],
)
def test_a_wrong_style_is_refused(option, value):
    with pytest.raises(ConfigError, match=f"{option} is {value!r}. It must be "):
        two_dogs_and_a_box(source=None).draw(**{option: value})


def test_the_line_width_is_that_of_edges_and_scales_the_rest():
    pixels = drawn(figure(), style=dataclasses.replace(PLAIN, line_width=9))
    across = pixels[80, 70:120]  # two edges of 27 degrees from the vertical
    assert about(across, LEFT, 60) == pytest.approx(9 / math.cos(math.radians(27)), abs=1.5)
    disc = pixels[38:63, 40:80]
    assert about(disc, LEFT) == pytest.approx(math.pi * 9**2, rel=0.15)
    thin = drawn(figure(), style=dataclasses.replace(PLAIN, line_width=1, boxes=True))
    thick = drawn(figure(), style=dataclasses.replace(PLAIN, line_width=12, boxes=True))
    assert about(thick[15:26], PAPER, 60) > 2 * about(thin[15:26], PAPER, 60), "the box too"


# Pictures


def test_16_bits_are_drawn_as_they_are_detected_in(tmp_path):
    deep = np.linspace(0, 3000, 100 * 200).reshape(100, 200).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    for picture in (deep, tmp_path / "deep.png"):
        drawn = two_dogs_and_a_box()[:0].draw(picture)
        np.testing.assert_array_equal(np.asarray(drawn), read_picture(picture)[0])


def test_a_file_is_turned_as_its_exif_says(tmp_path):
    stored = Image.new("RGB", (200, 100), (10, 10, 10))
    stored.paste((250, 0, 0), (0, 0, 100, 100))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the stored left is the top
    stored.save(tmp_path / "a.png", exif=exif)
    poses = Poses.empty((200, 100), source=str(tmp_path / "a.png"))
    picture = poses.draw()
    assert picture.size == (100, 200)
    assert picture.getpixel((50, 20))[0] > 200
    with pytest.raises(ImageError, match="100 x 200 pixels, the poses are from one of 200 x 100"):
        Poses.empty((100, 200), source=poses.source).draw()


@pytest.mark.parametrize("image", ["missing.png", np.zeros((2, 2, 7)), np.zeros((0, 3)), "text", 7, np.array(["a"])])
def test_what_is_no_picture_is_refused(image):
    with pytest.raises(ImageError):
        two_dogs_and_a_box().draw(image)


def test_a_picture_of_another_size_gets_the_poses_at_the_same_place():
    poses = two_dogs_and_a_box(boxes=[[10, 20, 110, 70]] * 3)[:1]
    style = {"boxes": False, "labels": False, "legend": "none"}
    large = np.asarray(poses.draw(np.full((400, 800, 3), 128, np.uint8), **style)).astype(int)
    assert at(large, 80, 120) == pytest.approx(SIDES["left"], abs=20)
    with pytest.raises(ConfigError, match="At most 16384"):
        Poses.empty((1, 100_000)).draw()


def test_without_a_picture_a_plain_sheet():
    poses = two_dogs_and_a_box(source=None)
    assert poses.draw(legend="none").size == (200, 100)


STYLES = st.fixed_dictionaries(
    {
        "boxes": st.booleans(),
        "labels": st.booleans(),
        "legend": st.sampled_from(["inside", "below", "none"]),
        "line_width": st.none() | st.floats(0.01, 1000),
    }
)


@given(any_poses(), STYLES)
@settings(max_examples=60)
def test_any_result_can_be_drawn(poses, style):
    picture = dataclasses.replace(poses, source=None).draw(**style)
    height, width = poses.image_size
    assert picture.width == width
    assert picture.height == height or style["legend"] == "below"


def test_a_tentative_pose_has_a_dashed_box():
    poses = two_dogs_and_a_box(source=None)[:1]
    style = {"labels": False, "legend": "none"}
    solid = np.asarray(poses.draw(**style), int)
    dashed = np.asarray(dataclasses.replace(poses, tentative=[True]).draw(**style), int)
    y, x = np.nonzero((solid != dashed).any(-1))
    x1, y1, x2, y2 = poses[0].box
    distance = np.minimum(np.abs(np.subtract.outer(x, [x1, x2])).min(1), np.abs(np.subtract.outer(y, [y1, y2])).min(1))
    assert len(x) > 50
    assert distance.max() <= 3, "only the outline differs"


@pytest.mark.parametrize("count", [0, 1, 40])
def test_the_smallest_picture(count):
    poses = Poses(
        boxes=np.tile([0, 0, 1, 1], (count, 1)).reshape(-1, 4),
        scores=np.ones(count),
        categories=("speck",) * count,
        xy=np.full((count, 2, 2), 0.5),
        keypoint_scores=np.ones((count, 2)),
        visibility=np.full((count, 2), 2),
        keypoint_names=(("left", "right"),) * count,
        edges=((("left", "right"),),) * count,
        image_size=(1, 1),
    )
    assert poses.draw().size == (1, 1)
    assert poses.draw(Image.new("RGB", (200, 200))).width == 200
