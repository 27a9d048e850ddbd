"""Track ids: against measures that `scenes.py` computes from their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from tests.video.scenes import animal, association, box_of, changes, crossing, idf1, poses_of, seen, switches

from xpose.results import Poses
from xpose.video.tracker import LOST, Tracker

FPS = 25.0


def followed(tracker: Tracker, frames: list[Poses]) -> list[list[int]]:
    return [tracker.update(number / FPS, poses).track_ids.tolist() for number, poses in enumerate(frames)]


@pytest.mark.parametrize("seed", range(3))
def test_two_animals_that_cross_twenty_times_keep_their_ids(seed: int) -> None:
    """With noise, missed animals, one that covers the other, and false alarms."""
    scene = crossing()
    frames = [poses for _, poses in seen(scene, seed)]
    ids = followed(Tracker(), frames)
    truth = [{number: box_of(points) for number, points in enumerate(animals)} for animals in scene]
    answer = [
        dict(zip(of_frame, poses.boxes.astype(float), strict=True)) for of_frame, poses in zip(ids, frames, strict=True)
    ]
    assert idf1(truth, answer) >= 0.95
    assert switches(truth, answer) <= 2
    assert association(truth, answer) >= 0.9
    exchanged = [{1 - number: box for number, box in frame.items()} for frame in truth[:400]] + truth[400:]
    assert idf1(truth, exchanged) == pytest.approx(0.5, abs=0.02)  # the measures notice an exchange
    assert switches(truth, exchanged) == 2


def test_a_lost_object_is_found_again_for_a_while() -> None:
    for gap, same in ((int(LOST * FPS) - 1, True), (int(LOST * FPS) + 2, False)):
        frames = [poses_of([animal(40 + 0.5 * n, 50, 0.0)] * (not 10 <= n < 10 + gap)) for n in range(20 + gap)]
        tracker = Tracker()
        states = []
        ids = []
        for number, poses in enumerate(frames):
            ids += tracker.update(number / FPS, poses).track_ids.tolist()
            states.append(tracker.tracks[0].state if tracker.tracks else "none")
        assert states[:2] == ["new", "active"]
        assert states[10:20] == ["lost"] * 10
        assert (ids[-1] == 1) is same
        assert changes(ids) == (not same)


def test_a_single_false_alarm_is_soon_forgotten() -> None:
    tracker = Tracker()
    tracker.update(0.0, poses_of([animal(30, 30, 0)]))
    tracker.update(0.2, poses_of([]))
    assert tracker.tracks[0].state == "new"
    tracker.update(0.9 * LOST, poses_of([]))
    assert tracker.tracks == []


def test_a_fast_object_is_followed_although_its_boxes_do_not_overlap() -> None:
    frames = [poses_of([animal(10 + 0.9 * n * n, 50, 0)]) for n in range(12)]
    assert followed(Tracker(), frames) == [[1]] * 12


def test_classes_are_tracked_apart_and_order_does_not_matter() -> None:
    here, there = animal(50, 50, 0), animal(54, 52, 0)
    mouse, rat = poses_of([here]), poses_of([there], category="rat")
    tracker = Tracker()
    first = tracker.update(0.0, Poses.concatenate([mouse, rat]))
    second = tracker.update(0.04, Poses.concatenate([rat, mouse]))
    assert dict(zip(first.categories, first.track_ids, strict=True)) == dict(
        zip(second.categories, second.track_ids, strict=True)
    )
    scene = crossing(2)
    forward = followed(Tracker(), [poses_of(animals) for animals in scene])
    turned = followed(Tracker(), [poses_of([*animals][:: 1 if n % 2 else -1]) for n, animals in enumerate(scene)])
    pairs = [(a, b if n % 2 else b[::-1]) for n, (a, b) in enumerate(zip(forward, turned, strict=True))]
    assert pairs == [pairs[0]] * len(pairs)


def test_the_order_of_the_keypoints_tells_animals_apart_whose_boxes_are_the_same() -> None:
    """Two animals in one place, head to tail: only the keypoints can tell them apart."""
    pair = [animal(60, 50, 0), animal(60, 50, np.pi)]
    tracker = Tracker()
    ids = tracker.update(0.0, poses_of(pair)).track_ids
    turned = tracker.update(0.04, poses_of(pair[::-1])).track_ids
    assert turned.tolist() == ids[::-1].tolist()


def test_doubtful_matches_are_reported() -> None:
    tracker = Tracker()
    tracker.update(0.0, poses_of([animal(60, 50, 0), animal(60.5, 50, 0)]))
    tracker.update(0.04, poses_of([animal(60, 50, 0), animal(60.4, 50, 0)]))
    assert [(doubt.ids, doubt.kind) for doubt in tracker.doubts] == [((1, 2), "exchange")]
    tracker = Tracker()
    for number in range(3):
        tracker.update(number / FPS, poses_of([animal(60, 50, 0)]))
    tracker.update(0.2, poses_of([]))
    tracker.update(0.24, poses_of([animal(92, 50, 0)]))
    assert [(doubt.ids, doubt.kind) for doubt in tracker.doubts] == [((1, 2), "new id")]
    tracker.update(0.28, poses_of([animal(92, 50, 0), animal(15, 110, 0)]))
    assert tracker.doubts == []


def test_objects_without_keypoints_are_tracked_by_their_boxes() -> None:
    poses = poses_of([animal(50, 50, 0), animal(90, 60, 0)])
    boxes = Poses(
        boxes=poses.boxes,
        scores=poses.scores,
        categories=poses.categories,
        xy=np.zeros((2, 0, 2)),
        keypoint_scores=np.zeros((2, 0)),
        visibility=np.zeros((2, 0)),
        keypoint_names=((), ()),
        image_size=poses.image_size,
    )
    assert followed(Tracker(), [boxes, boxes[::-1]]) == [[1, 2], [2, 1]]
    assert len(Tracker().update(0.0, Poses.empty((10, 10))).track_ids) == 0
