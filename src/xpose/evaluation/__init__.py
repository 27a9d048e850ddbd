"""Measuring as the field does: metrics, results files of other systems, calibration, comparing two runs.

A metric takes one picture after the other (`update(truth, found)`) and gives named numbers (`compute()`). Coordinates
of `found` are in the record's convention (`xpose.records`): a detector's results are half a pixel off and have to
be moved first (`in_records_pixels`). Definitions and formulas: docs/evaluation-metrics.md.
"""

from __future__ import annotations

from xpose.evaluation.matching import Aligned, align, in_records_pixels, match
from xpose.evaluation.metrics import (
    AUC,
    EPE,
    NME,
    PCK,
    AsUsed,
    BoxAP,
    Confidence,
    FalseAlarms,
    Judgement,
    Metric,
    ObjectRow,
    OksAP,
    PerObject,
    PointRules,
    Swaps,
    judge_answers,
)

__all__ = [
    "AUC",
    "EPE",
    "NME",
    "PCK",
    "Aligned",
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
    "align",
    "in_records_pixels",
    "judge_answers",
    "match",
]
