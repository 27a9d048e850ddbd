"""Measuring as the field does: metrics, results files of other systems, calibration, comparing two runs.

A metric takes one picture after the other (`update(truth, found)`) and returns named numbers (`compute()`). The
coordinates of `found` follow the records' convention (`xpose.records`): a detector's results are half a pixel off and
must be moved first (`in_records_pixels`). Definitions and formulas: docs/evaluation-metrics.md.
"""

from __future__ import annotations

from xpose.evaluation.matching import Aligned, align, in_records_pixels, match
from xpose.evaluation.metrics.as_used import AsUsed, Judgement, judge_answers
from xpose.evaluation.metrics.auc import AUC
from xpose.evaluation.metrics.base import Metric
from xpose.evaluation.metrics.box_ap import BoxAP
from xpose.evaluation.metrics.confidence import Confidence
from xpose.evaluation.metrics.epe import EPE
from xpose.evaluation.metrics.expected_errors import ExpectedErrors
from xpose.evaluation.metrics.negatives import FalseAlarms
from xpose.evaluation.metrics.nme import NME
from xpose.evaluation.metrics.oks_ap import OksAP
from xpose.evaluation.metrics.pck import PCK
from xpose.evaluation.metrics.points import PointRules
from xpose.evaluation.metrics.swaps import Swaps

# fmt: off
__all__ = [
    "AUC", "EPE", "NME", "PCK", "Aligned", "AsUsed", "BoxAP", "Confidence", "ExpectedErrors", "FalseAlarms",
    "Judgement", "Metric", "OksAP", "PointRules", "Swaps", "align", "in_records_pixels", "judge_answers", "match",
]
# fmt: on
