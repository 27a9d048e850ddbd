"""Evaluation by the usual metrics, results files of other systems, calibration, comparison of two runs.

A metric takes one picture at a time (`update(truth, predicted)`) and returns named numbers (`compute()`). The
coordinates of `predicted` follow the records' convention (`xpose.records`): a detector's results differ by half a pixel
and must be converted first (`in_records_pixels`). Definitions and formulas: docs/evaluation-metrics.md.
"""

from __future__ import annotations

from xpose.evaluation.matching import Aligned, align, in_records_pixels, match
from xpose.evaluation.metrics.as_used import AsUsed, Judgement, judge_answers
from xpose.evaluation.metrics.average_precision import BoxAP, OksAP
from xpose.evaluation.metrics.confidence import Confidence, FalseAlarms
from xpose.evaluation.metrics.distances import EPE, NME, ExpectedErrors, Swaps
from xpose.evaluation.metrics.points import AUC, PCK, Metric, PointRules

# fmt: off
__all__ = [
    "AUC", "EPE", "NME", "PCK", "Aligned", "AsUsed", "BoxAP", "Confidence", "ExpectedErrors", "FalseAlarms",
    "Judgement", "Metric", "OksAP", "PointRules", "Swaps", "align", "in_records_pixels", "judge_answers", "match",
]
# fmt: on
