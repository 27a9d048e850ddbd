"""Thresholds and temperatures from samples, so that scores mean something and one default fits every class.

* A temperature for objects and one for points divide the logits so that scores are honest (least log loss).
* A threshold for each class is the one with the best F1, or the lowest with a wanted number of false alarms per
  picture; where wanted, it rises until pictures that lack the class get few answers.
* The confidence below which a point counts as absent is that with the best F1 of visible against absent points.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xpose.errors import ConfigError
from xpose.evaluation.calibration.samples import CalibrationSample, stacked
from xpose.inference.postprocess import tempered
from xpose.model.checkpoints.calibration import Calibration

LEAST_OBJECTS = 10  # labelled objects from which a class gets a threshold of its own
LEAST_OUTCOMES = 20  # answers, or points, of either kind from which a temperature is fitted
COLDEST, HOTTEST = 0.05, 20.0


def calibrate(
    samples: Sequence[CalibrationSample],
    *,
    false_alarms: float | None = None,
    absent_alarms: float | None = None,
    least: int = LEAST_OBJECTS,
    before: Calibration = Calibration(),  # noqa: B008 - frozen
) -> Calibration:
    """Temperatures and thresholds from samples.

    Args:
        samples: of pictures.
        false_alarms: wanted number of wrong poses of a class per picture that is asked for it; None for the best F1.
        absent_alarms: most poses of a class per picture that lacks it; thresholds rise until they keep to it. A class
            that so few pictures were asked for in vain that not one pose would be allowed keeps its threshold, unless
            0 is wanted. None for no such limit.
        least: labelled objects from which a class has a threshold of its own; the others share that of all together.
        before: the calibration whose suppression and rivals were in use when the samples were collected.

    Raises:
        ConfigError: a wanted number is below 0.
    """
    for wanted in (false_alarms, absent_alarms):
        if wanted is not None and not 0 <= wanted < math.inf:
            raise ConfigError(f"The wanted number of false alarms per picture is {wanted}. It must be at least 0.")
    scores, right = stacked(samples, "scores"), stacked(samples, "right", bool)
    points, visible = stacked(samples, "confidences"), stacked(samples, "visible", bool)
    temperature, keypoint_temperature = fit_temperature(scores, right), fit_temperature(points, visible)
    scores, points = tempered(scores, temperature), tempered(points, keypoint_temperature)
    owners = np.array([name for one in samples for name in one.classes], dtype=object)
    lacking = np.array([not one.labelled[name] for one in samples for name in one.classes], dtype=bool)
    labelled, pictures, lacked = Counter[str](), Counter[str](), Counter[str]()  # objects, pictures, those without it
    for one in samples:
        labelled.update(one.labelled)
        pictures.update(one.labelled.keys())
        lacked.update(name for name, count in one.labelled.items() if not count)

    def raised(threshold: float, answers: np.ndarray, count: int) -> float:
        if absent_alarms is None or 0 < count * absent_alarms < 1:  # too few to tell so few alarms from none
            return threshold
        return max(threshold, quiet_from(scores[answers & lacking], count, absent_alarms))

    thresholds: dict[str, float] = {}
    everything = _threshold(scores, right, sum(labelled.values()), sum(pictures.values()), false_alarms)
    if everything is not None:
        thresholds[""] = raised(everything, np.ones(len(scores), dtype=bool), sum(lacked.values()))
    for name in sorted(labelled):
        mine = owners == name
        own = _threshold(scores[mine], right[mine], labelled[name], pictures[name], false_alarms)
        if labelled[name] >= least and own is not None:
            thresholds[name] = raised(own, mine, lacked[name])
    least_confidence = 0.0
    if visible.any() and not visible.all():
        least_confidence = best_f1(points, visible, int(visible.sum())) or 0.0
    return replace(
        before,
        thresholds=thresholds,
        keypoint_threshold=least_confidence,
        temperature=temperature,
        keypoint_temperature=keypoint_temperature,
    )


def fit_temperature(scores: np.ndarray, right: np.ndarray) -> float:
    """The temperature with the least log loss; 1 where there are too few outcomes of either kind to tell."""
    if min(int(right.sum()), int((~right).sum())) < LEAST_OUTCOMES:
        return 1.0
    limits = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    logits = np.where(right, 1, -1) * np.log(limits / (1 - limits))

    def loss(slope: float) -> float:
        return float(np.logaddexp(0, -slope * logits).mean())

    # Convex in the slope, so that halving the range by thirds finds the only minimum.
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(200):
        one, other = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, other) if loss(one) <= loss(other) else (one, high)
    return 2 / (low + high)


def best_f1(scores: np.ndarray, right: np.ndarray, wanted: int) -> float | None:
    """The threshold that scores have to pass for the best F1 of finding `wanted` right ones; None without any right."""
    scores, right = scores[scores > 0], right[scores > 0]  # nothing lets a score of 0 pass
    if not wanted or not right.any():
        return None
    edges, hits, kept = _steps(scores, right)
    best = int((2 * hits / (kept + wanted)).argmax())  # of equal ones the highest threshold
    return _between(edges, best)


def quiet_from(scores: np.ndarray, pictures: int, alarms: float) -> float:
    """The lowest threshold that at most so many answers per picture pass, of all answers that pictures got in vain."""
    allowed = math.floor(alarms * pictures + 1e-9)
    ordered = np.sort(scores)[::-1]
    # A little more than the first answer too many, so that single precision keeps it out as well.
    return min(1.0, float(ordered[allowed]) + 1e-6) if allowed < len(ordered) else 0.0


def _threshold(
    scores: np.ndarray, right: np.ndarray, labelled: int, pictures: int, false_alarms: float | None
) -> float | None:
    if false_alarms is None:
        return best_f1(scores, right, labelled)
    if not len(scores):
        return None
    edges, hits, kept = _steps(scores, right)
    allowed = (kept - hits) / pictures <= false_alarms
    count = int(allowed.argmin()) if not allowed.all() else len(allowed)  # leading ones: more answers, more alarms
    return float(edges[0]) if count == 0 else _between(edges, count - 1)


def _steps(scores: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct scores, best first, and how many right ones and how many in all score at least that."""
    edges, place = np.unique(-scores, return_inverse=True)
    hits = np.bincount(place, right.astype(np.float64), len(edges)).cumsum()
    return -edges, hits, np.bincount(place, minlength=len(edges)).cumsum()


def _between(edges: np.ndarray, last: int) -> float:
    """A threshold that `edges[last]` passes and the next one does not, in single precision too."""
    below = float(edges[last + 1]) if last + 1 < len(edges) else 0.0
    middle = float(np.float32((float(edges[last]) + below) / 2))
    return middle if below <= middle < float(np.float32(edges[last])) else below
