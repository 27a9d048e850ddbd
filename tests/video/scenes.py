"""Drawn animals that move, what a detector sees of them, and measures of tracking written from their definitions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.optimize import linear_sum_assignment

from xpose.geometry import pairwise_iou
from xpose.results import Poses

NAMES = ("nose", "neck", "back", "tail base")
SIZE = (120, 160)  # height, width
LENGTH, WIDTH = 24.0, 10.0  # of an animal


def animal(x: float, y: float, angle: float) -> np.ndarray:
    """The keypoints [4, 2] of an animal, from its nose to its tail."""
    along = LENGTH * np.array([0.5, 0.25, -0.1, -0.5])
    return np.stack((x + along * np.cos(angle), y + along * np.sin(angle)), 1)


def box_of(points: np.ndarray) -> np.ndarray:
    return np.concatenate((points.min(0) - WIDTH / 2, points.max(0) + WIDTH / 2))


def poses_of(
    animals: Sequence[np.ndarray],
    scores: Sequence[float] | None = None,
    category: str = "mouse",
    visibility: np.ndarray | None = None,
    **changes: object,
) -> Poses:
    count = len(animals)
    xy = np.array(animals).reshape(count, len(NAMES), 2)
    values: dict = {
        "boxes": np.array([box_of(points) for points in animals]).reshape(count, 4),
        "scores": np.full(count, 0.9) if scores is None else scores,
        "categories": (category,) * count,
        "xy": xy,
        "keypoint_scores": np.full(xy.shape[:2], 0.8),
        "visibility": np.full(xy.shape[:2], 2) if visibility is None else visibility,
        "keypoint_names": (NAMES,) * count,
        "image_size": SIZE,
    }
    return Poses(**(values | changes))


def crossing(turns: int = 20, frames: int = 40) -> list[list[np.ndarray]]:
    """Two animals that run back and forth, and cross once per turn: [frame][animal] keypoints."""
    scene = []
    for number in range(turns * frames):
        phase = np.pi * number / frames
        x = 60 * np.cos(phase)
        back = np.sin(phase) > 0  # the direction of the first animal
        scene.append(
            [
                animal(80 + x, 58 + 3 * np.sin(0.7 * phase), np.pi if back else 0.0),
                animal(80 - x, 64 + 3 * np.cos(0.9 * phase), 0.0 if back else np.pi),
            ]
        )
    return scene


def seen(scene: list[list[np.ndarray]], seed: int = 0) -> list[tuple[list[int], Poses]]:
    """What a detector reports: noise, missed animals, one of two that cover each other, and false alarms.

    Beside the poses of each frame are the numbers of the animals, -1 for false alarms.
    """
    random = np.random.default_rng(seed)
    frames = []
    for animals in scene:
        covered = pairwise_iou(box_of(animals[0])[None], box_of(animals[1])[None])[0, 0] > 0.5
        there = [number for number in range(2) if random.random() > 0.03 and not (covered and number == 1)]
        points = [animals[number] + random.normal(0, 0.8, (len(NAMES), 2)) for number in there]
        if random.random() < 0.03:
            there, points = [*there, -1], [*points, animal(*random.uniform(10, 110, 2), random.uniform(0, 6))]
        order = random.permutation(len(there))
        frames.append(([there[n] for n in order], poses_of([points[n] for n in order])))
    return frames


Labels = list[dict[int, np.ndarray]]  # for each frame, the box of each identity


def idf1(truth: Labels, answer: Labels, least: float = 0.5) -> float:
    """Ristani et al. 2016: the F1 of boxes under the best assignment of whole tracks to whole objects."""
    objects, tracks = (sorted({key for frame in part for key in frame}) for part in (truth, answer))
    hits = np.zeros((len(objects), len(tracks)))
    for real, found in zip(truth, answer, strict=True):
        for row, name in enumerate(objects):
            for column, track in enumerate(tracks):
                if name in real and track in found:
                    hits[row, column] += pairwise_iou(real[name][None], found[track][None])[0, 0] >= least
    matched = hits[linear_sum_assignment(-hits)].sum()
    return float(2 * matched / (sum(map(len, truth)) + sum(map(len, answer))))


def switches(truth: Labels, answer: Labels, least: float = 0.5) -> int:
    """CLEAR (Bernardin and Stiefelhagen 2008): how often an object is matched to another track than the last time."""
    last: dict[int, int] = {}
    count = 0
    for real, found in zip(truth, answer, strict=True):
        names, tracks = list(real), list(found)
        if not names or not tracks:
            continue
        overlap = pairwise_iou(np.array([real[n] for n in names]), np.array([found[t] for t in tracks]))
        kept = np.array([[last.get(n) == t for t in tracks] for n in names])  # matches of the last frame are kept
        for row, column in zip(
            *linear_sum_assignment(-np.where(overlap >= least, 1 + overlap + 10 * kept, 0)), strict=True
        ):
            if overlap[row, column] >= least:
                count += last.get(names[row], tracks[column]) != tracks[column]
                last[names[row]] = tracks[column]
    return count


def association(truth: Labels, answer: Labels, least: float = 0.5) -> float:
    """AssA of HOTA (Luiten et al. 2021) at one threshold: the mean over matches of the overlap of their tracks."""
    matches: dict[tuple[int, int], int] = {}
    for real, found in zip(truth, answer, strict=True):
        names, tracks = list(real), list(found)
        if not names or not tracks:
            continue
        overlap = pairwise_iou(np.array([real[n] for n in names]), np.array([found[t] for t in tracks]))
        for row, column in zip(*linear_sum_assignment(-np.where(overlap >= least, overlap, 0)), strict=True):
            if overlap[row, column] >= least:
                key = names[row], tracks[column]
                matches[key] = matches.get(key, 0) + 1
    lengths = [
        {key: sum(key in frame for frame in part) for frame in part for key in frame} for part in (truth, answer)
    ]
    total = sum(n * n / (lengths[0][name] + lengths[1][track] - n) for (name, track), n in matches.items())
    return total / sum(matches.values())


def jitter(xy: np.ndarray) -> float:
    return float(np.sqrt((np.diff(xy, 2, axis=0) ** 2).mean() / 6))


def lag(signal: np.ndarray, true: np.ndarray) -> float:
    """By how many samples a signal [T] is behind another one: the peak of their cross-correlation, interpolated."""
    most = 8
    signal, true = signal - signal.mean(), true - true.mean()
    middle = true[most:-most]
    values = [signal[most + shift : len(signal) - most + shift] @ middle for shift in range(-most, most + 1)]
    peak = int(np.argmax(values))
    before, top, after = values[peak - 1 : peak + 2]
    return peak - most + (before - after) / (2 * (before - 2 * top + after))


def changes(ids: Sequence[int]) -> int:
    return sum(a != b for a, b in pairwise(ids))
