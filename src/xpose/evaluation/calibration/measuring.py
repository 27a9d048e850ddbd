"""What pictures look like under a calibration, before and after it was fitted."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from xpose.evaluation.calibration.fitting import calibrate
from xpose.evaluation.calibration.samples import CalibrationSample
from xpose.evaluation.metrics.confidence import auroc, calibration_error
from xpose.inference.postprocess import tempered
from xpose.model.checkpoints.calibration import Calibration

ROWS = (
    "ECE of objects",
    "precision",
    "recall",
    "F1",
    "wrong poses per picture",
    "ECE of points",
    "AUROC of visible points",
    "visible points kept",
    "absent points hidden",
)


def compared(
    samples: Sequence[CalibrationSample],
    before: Calibration,
    earlier: Sequence[CalibrationSample] | None = None,
    **options: float | int | None,
) -> dict[str, dict[str, float]]:
    """The rows of `ROWS` "before" and "after", where after is measured honestly.

    The pictures are dealt into two halves by their names; what is fitted on one is measured on the other, both ways.
    So the numbers hold for pictures that the calibration has not seen, though in the end it is fitted on all of them.
    `earlier` are the samples beside the rivals of `before`, where those were others.
    """
    halves: tuple[list[CalibrationSample], list[CalibrationSample]] = ([], [])
    for one in samples:
        halves[hashlib.sha256(one.key.encode()).digest()[0] % 2].append(one)
    if not all(halves):
        halves = (list(samples), list(samples))
    dealt = [
        (one, fitted)
        for half, other in (halves, halves[::-1])
        for fitted in [calibrate(other, **options)]  # type: ignore[arg-type]
        for one in half
    ]
    return {"before": measure([(one, before) for one in earlier or samples]), "after": measure(dealt)}


def measure(pairs: Sequence[tuple[CalibrationSample, Calibration]]) -> dict[str, float]:
    """What pictures look like under a calibration: the numbers of `ROWS`."""
    scores, right, passed, points, visible, kept = ([np.zeros(0, dtype=kind)] for kind in (float, bool, bool) * 2)
    for one, use in pairs:
        scores.append(tempered(one.scores, use.temperature))
        right.append(one.right)
        passed.append(scores[-1] > np.array([use.threshold(name) for name in one.classes]))
        points.append(tempered(one.confidences, use.keypoint_temperature))
        visible.append(one.visible)
        kept.append(points[-1] >= use.keypoint_threshold)
    was, did = np.concatenate(right), np.concatenate(passed)
    seen, shown = np.concatenate(visible), np.concatenate(kept)
    labelled = sum(sum(one.labelled.values()) for one, _ in pairs)
    hits = float((was & did).sum())
    precision, recall = _share(hits, did.sum()), _share(hits, labelled)
    values = (
        calibration_error(np.concatenate(scores), was),
        precision,
        recall,
        _share(2 * hits, did.sum() + labelled),
        _share((~was & did).sum(), len(pairs)),
        calibration_error(np.concatenate(points), seen),
        auroc(np.concatenate(points), seen),
        _share((seen & shown).sum(), seen.sum()),
        _share((~seen & ~shown).sum(), (~seen).sum()),
    )
    return dict(zip(ROWS, values, strict=True))


def _share(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else math.nan
