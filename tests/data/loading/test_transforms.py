"""What a transform does to the pixels it does to the labels: dots are where their points say, under the right names."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.data.pools import category, colours, dot_pool, dotted, record, spread

from xpose.data.loading.pictures import Pictures, letterbox, move_boxes, move_labels, similarity
from xpose.data.loading.pool import Pool
from xpose.data.loading.samples import Kind, Labels, join
from xpose.data.loading.transforms import (
    NO_COLOURS,
    Augmentation,
    Colours,
    choose_view,
    colour_matrix,
    good_view,
    mosaic,
    paste,
    plain_view,
    shape_for,
    show,
    vary_colours,
)
from xpose.errors import ConfigError
from xpose.records import Instance
from xpose.vocabulary import list_skeletons

pytest.importorskip("cv2", reason="the extra 'data' is not installed")

STILL = Augmentation(size=128, colours=NO_COLOURS)
PERSON = category("person", "person")


def labels_of(kind: Kind, count: int = 1, seed: int = 0) -> Labels:
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 100, (count, len(kind), 3)).astype(np.float32)
    points[..., 2] = rng.integers(1, 3, (count, len(kind)))
    boxes = np.tile(np.array([0, 0, 100, 100], np.float32), (count, 1))
    return Labels((kind,), np.zeros(count, np.int64), boxes, points, np.zeros(count, bool))


def check_dots(sample, shades, dots, reach=2.5, row=0):
    """At every labelled point stands the dot of that name, and its middle is there; returns how many there were."""
    kind = sample.labels.kinds[sample.labels.label[row]]
    seen = 0
    for name, (x, y, _) in sample.labels.keypoints(row).items():
        assert name in kind.names
        left, top = int(x - 6), int(y - 6)
        if left < 0 or top < 0 or left + 13 > sample.pixels.shape[1] or top + 13 > sample.pixels.shape[0]:
            continue
        shade = shades[dots.get(name, name)]
        patch = sample.pixels[top : top + 13, left : left + 13].astype(float)
        like = np.clip((patch @ shade) / (shade @ shade), 0, 1) * (np.abs(patch - shade).max(-1) < 90)
        assert like.sum() > 0.5, (name, x, y)
        rows, columns = np.mgrid[top : top + 13, left : left + 13] + 0.5
        middle = np.array([(like * columns).sum(), (like * rows).sum()]) / like.sum()
        assert np.hypot(*(middle - (x, y))) < reach, (name, middle, (x, y))
        seen += 1
    return seen


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skeleton", list_skeletons(), ids=lambda skeleton: skeleton.name)
def test_flipping_twice_is_identity_for_every_skeleton(skeleton):
    before = labels_of(Kind.of("thing", skeleton.name, skeleton.keypoints, skeleton.edges), count=2)
    flip = similarity(1.0, 0.0, True, (50, 50), (50, 50))
    limits = {"mirror": True, "least_share": 0.0, "least_side": 0.0}
    once = move_labels(before, flip, (100, 100), **limits)
    twice = move_labels(once, flip, (100, 100), **limits)
    assert twice.kinds == before.kinds
    np.testing.assert_allclose(twice.points, before.points, atol=1e-4)
    np.testing.assert_allclose(twice.boxes, before.boxes, atol=1e-4)
    for row in range(2):
        was, now = before.keypoints(row), once.keypoints(row)
        for name, (x, y, v) in was.items():
            there = now[skeleton.flips[name]]
            assert there == (pytest.approx(100 - x, abs=1e-3), pytest.approx(y, abs=1e-3), v)


@pytest.mark.parametrize("skeleton", list_skeletons(), ids=lambda skeleton: skeleton.name)
def test_flipping_one_sided_parts_twice_is_identity(skeleton):
    """A set may label the left points only: the mirrored picture then shows the right ones."""
    names = [name for name in skeleton.keypoints if skeleton.flips[name] >= name]
    before = labels_of(Kind.of("thing", skeleton.name, names))
    once = before.renamed_for_mirror()
    assert set(once.keypoints(0)) == {skeleton.flips[name] for name in names}
    twice = once.renamed_for_mirror()
    assert twice.kinds == before.kinds
    np.testing.assert_array_equal(twice.points, before.points)


def test_free_names_flip_by_their_words():
    kind = Kind.of("thing", "of my own", ["left fin", "right fin", "tail"])
    labels = labels_of(kind)
    assert labels.renamed_for_mirror().keypoints(0)["right fin"] == labels.keypoints(0)["left fin"]
    assert labels.renamed_for_mirror().keypoints(0)["tail"] == labels.keypoints(0)["tail"]


def test_joining_keeps_every_point_under_its_name():
    left = labels_of(Kind.of("thing", "of my own", ["left fin", "tail"]), seed=1)
    right = labels_of(Kind.of("thing", "of my own", ["tail", "right fin"]), seed=2)
    other = labels_of(Kind.of("other", "of my own", ["left fin", "tail", "eye"]), seed=3)
    both = join([left, right, other])
    assert [both.kinds[row].category for row in both.label] == ["thing", "thing", "other"]
    for row, part in enumerate((left, right, other)):
        assert both.keypoints(row) == part.keypoints(0)
    assert both.kinds[0].mirror[0] == both.kinds[0]  # together they have both sides


# --- pixels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "size", "ending", "settings"),
    [
        ("enlarged, turned, cropped", (150, 110), ".png", STILL),
        ("reduced", (500, 375), ".png", STILL),
        ("a JPEG decoded at a part of its size, with a rest at the edges", (1203, 901), ".jpg", STILL),
        ("a JPEG decoded at an eighth", (2049, 1537), ".jpg", replace(STILL, scale=(0.9, 1.3))),
        ("short sides and crops", (420, 315), ".png", replace(STILL, size=None, sides=(96, 160), longest=300)),
    ],
)
def test_dots_are_where_the_points_say(tmp_path, what, size, ending, settings):
    radius = max(3, max(size) // 60)
    pictures = Pictures(dot_pool(tmp_path, [size], ending, radius))
    shades = colours(PERSON.keypoints)
    flips = dict(zip(PERSON.keypoints, Kind.of("person", "person", PERSON.keypoints).mirrored, strict=True))
    seen, mirrored = 0, set()
    for seed in range(25):
        view = good_view(np.random.default_rng(seed), pictures, 0, settings)
        sample = show(pictures, 0, view, settings)
        mirrored.add(sample.mirrored)
        seen += check_dots(sample, shades, flips if sample.mirrored else {}, reach=0.6)
        # What left the frame is invisible, what stayed is not lost.
        truth = pictures.pool.labels(0)
        places = truth.points[0, :, :2] @ view.matrix[:, :2].T + view.matrix[:, 2]
        inside = ((places >= 0) & (places < view.frame)).all(1)
        assert len(sample.labels.keypoints(0)) == inside.sum()
        points = sample.labels.points[0]
        assert (points[points[:, 2] == 0] == 0).all()
    assert seen > 60, what
    assert mirrored == {False, True}


@pytest.mark.parametrize("form", ["pixels", "jpeg"])
def test_kept_copies_show_the_same(tmp_path, form):
    pool = dot_pool(tmp_path, [(801, 603), (600, 900)], ".jpg", radius=15)
    pictures = Pictures(pool)
    settings = replace(STILL, size=256, flip=0.0)
    assert pictures.keep(200, 10, form=form) == 2
    for number in range(2):
        assert max(pictures.read(number)[0].shape) == 200
        for seed in range(8):
            view = good_view(np.random.default_rng(seed), pictures, number, settings)
            assert check_dots(show(pictures, number, view, settings), colours(PERSON.keypoints), {}, reach=0.7) > 0


def test_memory_for_copies_is_not_exceeded(tmp_path):
    pictures = Pictures(dot_pool(tmp_path, [(100, 100)] * 5))
    assert pictures.keep(100, 0.065) == 2  # of 30,000 bytes each
    np.testing.assert_array_equal(pictures.read(0)[0], pictures.read(4)[0])


def test_mosaic_shows_four_pictures_with_their_points(tmp_path):
    pictures = Pictures(dot_pool(tmp_path, [(300, 200), (200, 300), (250, 250), (150, 100)], radius=7))
    settings = replace(STILL, size=256, flip=0.0, rotation=10)
    for seed in range(6):
        sample = mosaic(np.random.default_rng(seed), pictures, [0, 1, 2, 3], settings)
        assert sample.pictures == (0, 1, 2, 3)
        assert 3 <= len(sample.labels) <= 4
        assert sum(check_dots(sample, colours(PERSON.keypoints), {}, row=row) for row in range(len(sample.labels))) > 9


def test_pasted_objects_bring_their_points_and_hide_those_below(tmp_path):
    donor = dotted((200, 200), spread(PERSON.keypoints, (80, 80)), 3)
    donor.save(tmp_path / "donor.png")
    points = {name: (float(x), float(y), 2) for name, (x, y) in spread(PERSON.keypoints, (80, 80)).items()}
    Image.new("RGB", (200, 200), (255, 255, 255)).save(tmp_path / "white.png")
    sparse = {"nose": (100.0, 100.0, 2), "left eye": (150.0, 150.0, 2), "right eye": (20.0, 180.0, 2),
              "left ear": (180.0, 20.0, 2)}  # fmt: skip
    pool = Pool(
        [
            (record("white.png", (200, 200), [Instance(PERSON, (0.0, 0.0, 200.0, 200.0), sparse)]),
             tmp_path / "white.png"),
            (record("donor.png", (200, 200), [Instance(PERSON, (0.0, 0.0, 80.0, 80.0), points)]),
             tmp_path / "donor.png"),
        ]
    )  # fmt: skip
    pictures = Pictures(pool)
    settings = replace(STILL.plain(), size=200, scale=(0.8, 1.2))
    hidden = pasted = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        base = show(pictures, 0, plain_view((200, 200), settings), settings)
        result = paste(rng, base, pictures, 1, settings)
        if result is base:
            continue
        pasted += 1
        assert len(result.labels) == 2
        assert result.pictures == (0, 1)
        assert check_dots(result, colours(PERSON.keypoints), {}, row=1) > 5
        for x, y, v in result.labels.keypoints(0).values():
            under = (result.pixels[int(y), int(x)] < 250).any()
            assert not under or v == 1
            hidden += v == 1
    assert pasted > 20
    assert hidden > 0


# --- boxes, crops --------------------------------------------------------------------------------------------------


def test_a_box_that_is_not_turned_is_moved_exactly():
    labels = labels_of(Kind.of("thing", "of my own", ["a"]))
    matrix = similarity(1.5, 0.0, True, (50, 50), (80, 60))
    np.testing.assert_allclose(move_boxes(labels.boxes, labels.points, matrix), [[5, -15, 155, 135]], atol=1e-4)


@given(st.floats(-25, 25), st.integers(0, 1000))
def test_a_turned_box_holds_its_points_and_is_no_larger_than_the_turned_corners(degrees, seed):
    labels = labels_of(Kind.of("thing", "of my own", list("abcdef")), seed=seed)
    matrix = similarity(1.0, degrees, False, (50, 50), (50, 50))
    (box,) = move_boxes(labels.boxes, labels.points, matrix)
    places = labels.points[0, :, :2] @ matrix[:, :2].T + matrix[:, 2]
    corners = np.array([[0, 0], [0, 100], [100, 0], [100, 100]]) @ matrix[:, :2].T + matrix[:, 2]
    assert (places >= box[:2] - 1e-3).all()
    assert (places <= box[2:] + 1e-3).all()
    assert (box[:2] >= corners.min(0) - 1e-3).all()
    assert (box[2:] <= corners.max(0) + 1e-3).all()


def test_points_cropped_away_are_invisible_and_objects_that_left_count_no_more():
    kind = Kind.of("thing", "of my own", ["a", "b"])
    boxes = np.array([[0, 0, 40, 40], [30, 0, 110, 50], [90, 90, 99, 99]], np.float32)
    points = np.array([[[10, 10, 2], [35, 35, 1]], [[45, 20, 2], [100, 20, 2]], [[95, 95, 2], [96, 96, 2]]], np.float32)
    labels = Labels((kind,), np.zeros(3, np.int64), boxes, points, np.zeros(3, bool))
    moved = move_labels(labels, letterbox((50, 50), (50, 50)), (50, 50), mirror=False, least_share=0.3, least_side=0.0)
    assert len(moved) == 2  # the third is gone
    assert moved.crowd.tolist() == [False, True]  # of the second a quarter is left: neither right nor wrong
    assert moved.keypoints(0) == {"a": (10, 10, 2), "b": (35, 35, 1)}
    assert moved.keypoints(1) == {}
    np.testing.assert_allclose(moved.boxes, [[0, 0, 40, 40], [30, 0, 50, 50]])
    kept = move_labels(labels, letterbox((50, 50), (50, 50)), (50, 50), mirror=False, least_share=0.2, least_side=0.0)
    assert kept.keypoints(1) == {"a": (45, 20, 2)}  # "b" is outside, not clamped to the edge


def test_objects_without_points_stay(tmp_path):
    Image.new("RGB", (60, 60)).save(tmp_path / "a.png")
    item = record("a.png", (60, 60), [Instance(PERSON, (10.0, 10.0, 30.0, 30.0)),
                                      Instance(PERSON, (0.0, 0.0, 60.0, 60.0), iscrowd=True)])  # fmt: skip
    pictures = Pictures(Pool([(item, tmp_path / "a.png")]))
    sample = show(pictures, 0, plain_view((60, 60), STILL), STILL)
    assert sample.labels.crowd.tolist() == [False, True]
    assert sample.labels.keypoints(0) == {}


@pytest.mark.parametrize("size", [(640, 480), (100, 900), (33, 31)])
def test_plain_views_show_the_whole_picture(size):
    view = plain_view(size, STILL)
    corners = np.array([[0, 0], size]) @ view.matrix[:, :2].T + view.matrix[:, 2]
    assert view.frame == (128, 128)
    np.testing.assert_allclose(corners.sum(0), [128, 128], atol=1e-6)
    assert (corners[1] - corners[0]).max() == pytest.approx(128)
    long = plain_view(size, replace(STILL, size=None, sides=(480, 800), longest=1333))
    assert long.frame == shape_for(size, 800, 1333)
    assert max(long.frame) <= 1333


@pytest.mark.parametrize("size", [(640, 480), (100, 900), (33, 31)])
def test_views_stay_within_the_settings(size):
    for seed in range(50):
        view = choose_view(np.random.default_rng(seed), size, replace(STILL, size=256))
        linear = view.matrix[:, :2]
        scale = np.sqrt(abs(np.linalg.det(linear))) / min(256 / size[0], 256 / size[1])
        assert 0.6 - 1e-6 <= scale <= 1.5 + 1e-6
        assert (np.linalg.det(linear) < 0) == view.mirror
        upright = linear @ np.diag([-1 if view.mirror else 1, 1])
        assert abs(np.degrees(np.arctan2(upright[1, 0], upright[0, 0]))) <= 25 + 1e-6


# --- decoding, colours ---------------------------------------------------------------------------------------------


def test_colours_in_the_middle_change_nothing_and_grey_is_grey():
    np.testing.assert_allclose(colour_matrix(Colours(), np.full(4, 0.5), False), np.eye(3, 4), atol=1e-12)
    grey = colour_matrix(Colours(), np.full(4, 0.5), True)[:, :3] @ (200, 100, 50)
    np.testing.assert_allclose(grey, 0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    turned = colour_matrix(Colours(hue=120), np.array([0.5, 0.5, 0.5, 1.0]), False)
    np.testing.assert_allclose(turned[:, :3] @ (80, 80, 80), 80)  # grey has no hue


def test_colours_vary_as_often_as_asked():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    rng = np.random.default_rng(1)
    changed = [not np.array_equal(vary_colours(pixels, Colours(share=0.5, grey=0, blur=0), rng), pixels)
               for _ in range(200)]  # fmt: skip
    assert 75 <= sum(changed) <= 125
    assert np.array_equal(vary_colours(pixels, NO_COLOURS, rng), pixels)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 3}, "size is 3"),
        ({"flip": 1.5}, "flip is 1.5"),
        ({"scale": (2.0, 1.0)}, "scale"),
        ({"sides": (900,), "longest": 800}, "sides"),
        ({"colours": Colours(share=-1)}, "colours: share"),
        ({"rotation": float("nan")}, "rotation"),
    ],
)
def test_wrong_settings_are_named(wrong, message):
    with pytest.raises(ConfigError, match=message):
        Augmentation(**wrong)
