"""Results to test with: a small one that can be read, and a hypothesis strategy for any valid one."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from xpose.results import Poses
from xpose.vocabulary import load_skeleton

NASTY = ["nose", "left eye", "Right_Ear", "=1+1", "é 日本 ☃", 'a "b", <c>', "two\nlines", "", "\ud800", "x" * 300]
EDGES = (("left eye", "nose"), ("nose", "tail"))


def two_dogs_and_a_box(**changes: object) -> Poses:
    """A dog with three points, one without its tail, and a hand that is only boxed; 100 high, 200 wide."""
    nan = float("nan")
    names = ("left eye", "nose", "tail")
    values: dict = {
        "boxes": [[10, 20, 110, 70], [0, 0, 50, 40], [150, 50, 200, 100]],
        "scores": [0.9, 0.5, 0.25],
        "categories": ("dog", "dog", "hand"),
        "xy": [[[20, 30], [30.126, 40], [100, 60]], [[5, 5], [9, 9], [45, 35]], [[nan, nan]] * 3],
        "keypoint_scores": [[0.9, 0.8, 0.7], [0.6, 0.5, 0.05], [nan] * 3],
        "visibility": [[2, 1, 2], [2, 2, 0], [0, 0, 0]],
        "keypoint_names": (names, names, ()),
        "canonical_names": (("left eye", "nose", "tail tip"), ("left eye", "nose", "tail tip"), ()),
        "edges": (EDGES, EDGES, ()),
        "image_size": (100, 200),
        "source": "dogs.jpg",
    }
    return Poses(**(values | changes))


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, width=32, allow_nan=False)


@st.composite
def any_poses(draw: st.DrawFn, most: int = 4, largest: int = 60) -> Poses:
    """Any valid result: also none, without points, with strange names, off the picture, or with huge coordinates."""
    count = draw(st.integers(0, most))
    far = draw(st.sampled_from([1.0, 2.0, 2.0**100]))
    size = (draw(st.integers(1, largest)), draw(st.integers(1, largest)))
    names = tuple(
        tuple(draw(st.lists(st.sampled_from(NASTY) | st.text(max_size=8), max_size=5, unique=True)))
        for _ in range(count)
    )
    widest = max((len(own) for own in names), default=0) + draw(st.integers(0, 1))
    xy = np.full((count, widest, 2), np.nan)
    scores, visibility = np.full((count, widest), np.nan), np.zeros((count, widest), int)
    errors = np.full((count, widest), np.nan)
    edges = []
    for row, own in enumerate(names):
        for column in range(len(own)):
            visibility[row, column] = draw(st.integers(0, 2))
            if visibility[row, column] or draw(st.booleans()):
                xy[row, column] = draw(numbers(-far, far)) * size[1], draw(numbers(-far, far)) * size[0]
            if draw(st.integers(0, 9)):
                scores[row, column] = draw(numbers(0, 1))
                errors[row, column] = draw(numbers(0, 1000))
        edges.append(draw(st.lists(st.tuples(st.sampled_from(own), st.sampled_from(own)), max_size=4)) if own else [])
    corners = np.array([[draw(numbers(-far, far)) for _ in range(4)] for _ in range(count)]).reshape(-1, 2, 2)
    return Poses(
        boxes=(np.sort(corners, axis=1) * [size[1], size[0]]).reshape(-1, 4),
        scores=sorted((draw(numbers(0, 1)) for _ in range(count)), reverse=True),
        categories=tuple(draw(st.sampled_from(["dog", "person", *NASTY])) for _ in range(count)),
        xy=xy,
        keypoint_scores=scores,
        visibility=visibility,
        keypoint_errors=draw(st.sampled_from([None, errors])),
        tentative=draw(st.none() | st.lists(st.booleans(), min_size=count, max_size=count)),
        track_ids=draw(st.none() | st.lists(st.integers(1, 99), min_size=count, max_size=count)),
        keypoint_names=names,
        edges=tuple(tuple(own) for own in edges),
        image_size=size,
        source=draw(st.sampled_from([None, "a.jpg", "=b.jpg"])),
    )


def tracked_people() -> list[Poses]:
    """Three pictures with two tracked people of 17 keypoints, of which one is alone in the second; nobody in the third.

    Some keypoints are hidden or absent, no coordinate is whole, and the first person reaches out of the picture.
    """
    skeleton = load_skeleton("person")
    rng = np.random.default_rng(5)
    pictures = []
    for number, tracks in enumerate(([7, 2], [2], [])):
        count = len(tracks)
        visibility = rng.choice([2, 2, 2, 1, 0], (count, 17))
        visibility[:, 5:13] = 2  # shoulders to hips
        pictures.append(
            Poses(
                boxes=np.tile([3.25, 4.5, 150.75, 110.5], (count, 1)) + 20 * np.arange(count)[:, None],
                scores=np.array([0.875, 0.5])[:count],
                categories=("person",) * count,
                xy=rng.uniform(5, 110, (count, 17, 2)).round(2),
                keypoint_scores=rng.uniform(0.3, 1, (count, 17)).round(3),
                visibility=visibility,
                keypoint_names=(skeleton.keypoints,) * count,
                edges=(skeleton.edges,) * count,
                track_ids=tracks,
                image_size=(120, 180),
                source=f"walk/img{number:03}.png",
            )
        )
    return pictures
