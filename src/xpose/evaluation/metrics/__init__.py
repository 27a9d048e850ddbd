"""The metrics, one small module each: `update(truth, found)` per picture, `compute()` at the end, `reset()`.

Adding one: a module here with a class of these three methods (`rows` too where a number belongs to one object), a line
below, its definition in docs/evaluation-metrics.md, and a case computed by hand in tests/evaluation/metrics.
"""

from __future__ import annotations

from xpose.evaluation.metrics.as_used import AsUsed, Judgement, judge_answers
from xpose.evaluation.metrics.auc import AUC
from xpose.evaluation.metrics.base import Metric, ObjectRow, PerObject
from xpose.evaluation.metrics.box_ap import BoxAP
from xpose.evaluation.metrics.confidence import Confidence
from xpose.evaluation.metrics.epe import EPE
from xpose.evaluation.metrics.negatives import FalseAlarms
from xpose.evaluation.metrics.nme import NME
from xpose.evaluation.metrics.oks_ap import OksAP
from xpose.evaluation.metrics.pck import PCK
from xpose.evaluation.metrics.points import PointRules
from xpose.evaluation.metrics.swaps import Swaps

__all__ = [
    "AUC",
    "EPE",
    "NME",
    "PCK",
    "AsUsed",
    "BoxAP",
    "Confidence",
    "FalseAlarms",
    "Judgement",
    "Metric",
    "ObjectRow",
    "OksAP",
    "PerObject",
    "PointRules",
    "Swaps",
    "judge_answers",
]
