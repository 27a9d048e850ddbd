"""Fit thresholds and temperatures to labelled pictures: collect samples, fit, measure before and after.

In each picture, at threshold 0, the network looks for the classes shown and, one at a time, for a few certainly absent
ones (as in `negatives`): a dog is easily found as a cat, but not if both are prompted together. Every answer is then
right or wrong (`matching.judge`), every point of a matched pose visible or absent. docs/evaluation-metrics.md describes
the fit.

Letters: n answers, m points.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xpose.errors import ConfigError, DataError
from xpose.evaluation.answers import PictureFault
from xpose.evaluation.data import EvaluationData
from xpose.evaluation.matching import HIT, IGNORED, judge, plain_name
from xpose.evaluation.metrics.confidence import auroc, calibration_error, confidences_and_labels
from xpose.evaluation.protocols.word_protocols import absent_classes
from xpose.evaluation.questions import AskedClass, Question, Settings, key_of, known_categories, limited, tasks_of
from xpose.evaluation.runner import answered
from xpose.evaluation.sources import DetectorSource
from xpose.inference.postprocess import tempered
from xpose.model.checkpoints.calibration import Calibration
from xpose.records import HIDDEN, VISIBLE, Category, Record
from xpose.results import Poses

if TYPE_CHECKING:
    from xpose.inference import Detector

LEAST_OBJECTS = 10  # minimum labelled objects for a threshold of its own
LEAST_OUTCOMES = 20  # minimum answers, or points, of either kind to fit a temperature or the threshold of points
COLDEST, HOTTEST = 0.05, 20.0


@dataclass(frozen=True, slots=True)
class CalibrationSample:
    """The outcomes of one picture; scores are the network's, without any temperature."""

    key: str  # of the picture
    labelled: Mapping[str, int]  # objects by class, for every class that was asked: 0 for absent ones
    classes: tuple[str, ...]  # n names
    scores: np.ndarray  # [n]
    right: np.ndarray  # [n] bool
    confidences: np.ndarray  # [m] of points in matched poses whose label is visible or absent
    visible: np.ndarray  # [m] bool


def collect(
    detector: Detector,
    data: EvaluationData,
    *,
    absent: int = 3,
    rivals: Sequence[str] = (),
    limit: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
    fault: Callable[[str, str], None] = lambda key, message: None,
) -> list[CalibrationSample]:
    """Run the network on every picture, without its thresholds and temperatures.

    Each picture is also queried for `absent` classes that it lacks. `fault` is called with the key of every skipped
    picture and the reason.
    """
    before = detector.calibration
    plain = Calibration({"": 0.0}, nms=before.nms, nms_oks=before.nms_oks, rivals=tuple(rivals))
    detector = detector.calibrated(plain)
    detector.prompts.objects(plain.rivals)  # reports invalid rivals before any picture
    samples = []
    settings = Settings(threshold="weights")  # thresholds of 0, and the rivals
    placed = list(limited(data.records(), limit))
    known = known_categories(placed)
    tasks = list(tasks_of(placed, lambda record: _questions(record, absent_classes(record, known), absent)))
    for done, (task, answers) in enumerate(answered(tasks, DetectorSource(detector), settings), start=1):
        if isinstance(answers, PictureFault):
            fault(answers.key, answers.message)
        else:
            samples.append(sample(task.key, zip(task.questions, answers, strict=True)))
        progress(done)
    for key, why in data.skipped.items():
        fault(key, why)
    if not samples:
        raise DataError(
            f'No picture could be asked in "{data.split}" of {", ".join(map(str, data.places))}. Calibration needs '
            "labelled pictures that the network has not been trained on. Check the folder and the split."
        )
    return samples


def _questions(record: Record, lacking: Sequence[Category], absent: int) -> tuple[Question, ...]:
    """One question for all classes of a picture, then one per absent class; no name is repeated."""
    present = {plain_name(instance.category.name): instance.category for instance in record.instances}
    others = {plain_name(category.name): category for category in lacking if plain_name(category.name) not in present}
    drawn = sorted(others)
    # Seeded by its name, independent of other pictures.
    random.Random(hashlib.sha256(f"0/{key_of(record)}".encode()).digest()).shuffle(drawn)
    absences = [others[name] for name in drawn[:absent]]
    nothing = replace(record, instances=())  # so that every answer about an absent class is wrong
    alone = (Question((AskedClass.of(category),), nothing, None, record.source) for category in absences)
    together = Question(tuple(AskedClass.of(category) for category in present.values()), record, None, record.source)
    return (*([together] if present else []), *alone)


def sample(key: str, answered_questions: Iterable[tuple[Question, Poses]]) -> CalibrationSample:
    """The outcomes of the answers to all questions about one picture."""
    labelled: dict[str, int] = {}
    classes: list[str] = []
    scores, right, confidences, visible = ([np.zeros(0, dtype=kind)] for kind in (float, bool) * 2)
    for question, poses in answered_questions:
        verdicts, _ = judge(question.truth, poses)
        keep = verdicts != IGNORED
        names = {plain_name(asked.category.name): asked.called for asked in question.asked}
        labelled |= dict.fromkeys(names.values(), 0)
        for instance in question.truth.instances:
            labelled[names[plain_name(instance.category.name)]] += not instance.iscrowd
        classes += [poses.categories[row] for row in np.flatnonzero(keep)]
        scores.append(poses.scores[keep].astype(np.float64))
        right.append(verdicts[keep] == HIT)
        point_scores, labels = confidences_and_labels(question.truth, poses)
        confidences.append(point_scores[labels != HIDDEN])
        visible.append(labels[labels != HIDDEN] == VISIBLE)
    return CalibrationSample(key, labelled, tuple(classes), *map(np.concatenate, (scores, right, confidences, visible)))


def stacked(samples: Iterable[CalibrationSample], what: str, kind: type = float) -> np.ndarray:
    """One of the arrays of all samples."""
    return np.concatenate([np.zeros(0, dtype=kind), *(getattr(picture, what) for picture in samples)])


def calibrate(
    samples: Sequence[CalibrationSample],
    *,
    false_alarms: float | None = None,
    absent_alarms: float | None = None,
    least: int = LEAST_OBJECTS,
    before: Calibration = Calibration(),  # noqa: B008 - frozen
) -> Calibration:
    """Fit temperatures and thresholds; `before` provides what the samples say nothing of.

    Args:
        samples: those of all pictures.
        false_alarms: wrong poses of a class per picture queried for it; None for the best F1.
        absent_alarms: the largest number of poses of a class per picture that lacks it; None for no limit. A class
            that too few pictures lack to allow a single pose keeps its threshold, unless the limit is 0.
        least: minimum labelled objects for a class to get its own threshold; the others share a common one.
        before: the calibration so far, with the suppression and rivals that the samples were collected with. Classes
            without labelled objects keep their thresholds. The common threshold and the temperature of objects are kept
            unless the samples show every class that has a threshold; temperatures and the threshold of points are kept
            if there are too few outcomes of either kind.
    """
    for alarms in (false_alarms, absent_alarms):
        if alarms is not None and not 0 <= alarms < math.inf:
            raise ConfigError(f"The number of false alarms per picture is {alarms}. It must be at least 0.")
    scores, right = stacked(samples, "scores"), stacked(samples, "right", bool)
    points, visible = stacked(samples, "confidences"), stacked(samples, "visible", bool)
    owners = np.array([name for picture in samples for name in picture.classes], dtype=object)
    lacking = np.array([not picture.labelled[name] for picture in samples for name in picture.classes], dtype=bool)
    labelled, pictures, lacked = Counter[str](), Counter[str](), Counter[str]()  # objects, pictures, those without it
    for picture in samples:
        labelled.update(picture.labelled)
        pictures.update(picture.labelled.keys())
        lacked.update(name for name, count in picture.labelled.items() if not count)
    shows_every_class = all(labelled[name] for name in before.thresholds if name)
    temperature = fit_temperature(scores, right, before.temperature) if shows_every_class else before.temperature
    keypoint_temperature = fit_temperature(points, visible, before.keypoint_temperature)
    scores, points = tempered(scores, temperature), tempered(points, keypoint_temperature)

    def raised(threshold: float, answers: np.ndarray, count: int) -> float:
        if absent_alarms is None or 0 < count * absent_alarms < 1:  # too few pictures to allow one alarm
            return threshold
        return max(threshold, quiet_from(scores[answers & lacking], count, absent_alarms))

    thresholds = _retempered(before.thresholds, temperature / before.temperature)
    common = _threshold(scores, right, sum(labelled.values()), sum(pictures.values()), false_alarms)
    if common is not None:
        common = raised(common, np.ones(len(scores), dtype=bool), sum(lacked.values()))
        if shows_every_class:
            thresholds[""] = common
        else:
            thresholds |= {name: common for name, count in labelled.items() if count and name not in thresholds}
    for name in sorted(labelled):
        of_class = owners == name
        threshold = _threshold(scores[of_class], right[of_class], labelled[name], pictures[name], false_alarms)
        if labelled[name] >= least and threshold is not None:
            thresholds[name] = raised(threshold, of_class, lacked[name])
    least_confidence = before.keypoint_threshold
    if min(int(visible.sum()), int((~visible).sum())) >= LEAST_OUTCOMES:
        least_confidence = best_f1(points, visible, int(visible.sum())) or 0.0
    temperatures: dict[str, Any] = {"temperature": temperature, "keypoint_temperature": keypoint_temperature}
    return replace(before, thresholds=thresholds, keypoint_threshold=least_confidence, **temperatures)


def _retempered(thresholds: Mapping[str, float], change: float) -> dict[str, float]:
    """The thresholds that the same poses pass after the temperature is multiplied by `change`."""
    moved = tempered(np.array([*thresholds.values()], dtype=np.float64), change)
    return dict(zip(thresholds, moved.tolist(), strict=True))


def fit_temperature(scores: np.ndarray, right: np.ndarray, before: float = 1.0) -> float:
    """The temperature with the least log loss; `before` if there are too few outcomes of either kind."""
    if min(int(right.sum()), int((~right).sum())) < LEAST_OUTCOMES:
        return before
    limits = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    logits = np.where(right, 1, -1) * np.log(limits / (1 - limits))

    def loss(slope: float) -> float:
        return float(np.logaddexp(0, -slope * logits).mean())

    # The loss is convex in the slope, so a ternary search finds the only minimum.
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(200):
        left, middle = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, middle) if loss(left) <= loss(middle) else (left, high)
    return 2 / (low + high)


def best_f1(scores: np.ndarray, right: np.ndarray, total: int) -> float | None:
    """The threshold with the best F1 for `total` positives; None without any right answer."""
    scores, right = scores[scores > 0], right[scores > 0]  # no threshold lets a score of 0 pass
    if not total or not right.any():
        return None
    edges, hits, counts = _steps(scores, right)
    best = int((2 * hits / (counts + total)).argmax())  # the highest threshold among ties
    return _between(edges, best)


def quiet_from(scores: np.ndarray, pictures: int, alarms: float) -> float:
    """The lowest threshold with at most `alarms` passing answers per picture without the class."""
    allowed = math.floor(alarms * pictures + 1e-9)
    ordered = np.sort(scores)[::-1]
    # Slightly above the first excess answer, so that it fails in single precision too.
    return min(1.0, float(ordered[allowed]) + 1e-6) if allowed < len(ordered) else 0.0


def _threshold(
    scores: np.ndarray, right: np.ndarray, labelled: int, pictures: int, false_alarms: float | None
) -> float | None:
    if false_alarms is None:
        return best_f1(scores, right, labelled)
    if not len(scores):
        return None
    edges, hits, counts = _steps(scores, right)
    allowed = (counts - hits) / pictures <= false_alarms
    count = int(allowed.argmin()) if not allowed.all() else len(allowed)  # alarms only grow
    return float(edges[0]) if count == 0 else _between(edges, count - 1)


def _steps(scores: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct scores, best first, and how many right answers and how many in total reach each."""
    edges, place = np.unique(-scores, return_inverse=True)
    hits = np.bincount(place, right.astype(np.float64), len(edges)).cumsum()
    return -edges, hits, np.bincount(place, minlength=len(edges)).cumsum()


def _between(edges: np.ndarray, last: int) -> float:
    """A threshold that `edges[last]` passes and the next one does not, in single precision too."""
    below = float(edges[last + 1]) if last + 1 < len(edges) else 0.0
    middle = float(np.float32((float(edges[last]) + below) / 2))
    return middle if below <= middle < float(np.float32(edges[last])) else below


def compared(
    samples: Sequence[CalibrationSample],
    before: Calibration,
    earlier: Sequence[CalibrationSample] | None = None,
    *,
    least: int = LEAST_OBJECTS,
    **options: float | None,
) -> dict[str, dict[str, float]]:
    """The table columns "before" and "after" calibration, see `measure`.

    "after" is measured by two-fold cross-fitting: the calibration is fitted on one half of the pictures (in which half
    of `least` objects suffice) and measured on the other. `earlier` are samples collected with the rivals of `before`,
    if those differ.
    """
    half_of = {picture.key: hashlib.sha256(picture.key.encode()).digest()[0] % 2 for picture in samples}
    halves = [[picture for picture in samples if half_of[picture.key] == half] for half in (0, 1)]
    if not all(halves):
        halves = [list(samples)] * 2
    dealt: list[tuple[CalibrationSample, Calibration]] = []
    for half, other in (halves, halves[::-1]):
        fitted = calibrate(other, before=before, least=(least + 1) // 2, **options)
        dealt += [(picture, fitted) for picture in half]
    return {"before": measure([(picture, before) for picture in earlier or samples]), "after": measure(dealt)}


def measure(pairs: Sequence[tuple[CalibrationSample, Calibration]]) -> dict[str, float]:
    """The rows of the table for samples with their calibrations."""
    scores, right, passed, points, visible, kept = ([np.zeros(0, dtype=kind)] for kind in (float, bool, bool) * 2)
    for picture, use in pairs:
        scores.append(tempered(picture.scores, use.temperature))
        right.append(picture.right)
        passed.append(scores[-1] > np.array([use.threshold(name) for name in picture.classes]))
        points.append(tempered(picture.confidences, use.keypoint_temperature))
        visible.append(picture.visible)
        kept.append(points[-1] >= use.keypoint_threshold)
    was, did = np.concatenate(right), np.concatenate(passed)
    seen, shown = np.concatenate(visible), np.concatenate(kept)
    labelled = sum(sum(picture.labelled.values()) for picture, _ in pairs)
    hits = float((was & did).sum())
    raw_points = stacked((picture for picture, _ in pairs), "confidences")  # a temperature does not change their order
    return {
        "ECE of objects": calibration_error(np.concatenate(scores), was),
        "precision": _share(hits, did.sum()),
        "recall": _share(hits, labelled),
        "F1": _share(2 * hits, did.sum() + labelled),
        "wrong poses per picture": _share((~was & did).sum(), len(pairs)),
        "ECE of points": calibration_error(np.concatenate(points), seen),
        "AUROC of visible points": auroc(raw_points, seen),
        "F1 of points": _share(2 * float((seen & shown).sum()), seen.sum() + shown.sum()),
        "visible points kept": _share((seen & shown).sum(), seen.sum()),
        "absent points hidden": _share((~seen & ~shown).sum(), (~seen).sum()),
    }


def worse_measures(rows: Mapping[str, Mapping[str, float]], *, fewer_alarms: bool) -> list[str]:
    """The rows of `compared` by which "after" is worse than "before": F1 of objects, F1 of points.

    With `fewer_alarms`, a lower F1 of objects is accepted if there are fewer wrong poses.
    """
    before, after = rows["before"], rows["after"]
    worse = [name for name in ("F1", "F1 of points") if after[name] < before[name]]  # False for NaN
    alarms = "wrong poses per picture"
    accepted = {"F1"} if fewer_alarms and after[alarms] < before[alarms] else set()
    return [name for name in worse if name not in accepted]


def _share(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else math.nan
