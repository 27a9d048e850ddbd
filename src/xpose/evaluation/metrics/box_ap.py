"""Box AP: COCO's average precision of boxes."""

from __future__ import annotations

from typing import Any

from xpose.evaluation.metrics.average_precision import (
    AveragePrecision,
    CategoryObjects,
    area_of,
    coco_library,
    coco_pair,
)


class BoxAP(AveragePrecision):
    """COCO's twelve box numbers, each with "box " before it, so that they stand beside those of poses.

    "box AP", "box AP50", "box AP75", "box AP_S", "box AP_M", "box AP_L", "box AR_1", "box AR_10", "box AR" (100 answers
    per picture and category), "box AR_S", "box AR_M", "box AR_L".
    """

    prefix = "box "
    summary = {  # noqa: RUF012 - the base class declares it
        "AP": ("precision", None, "all", 2),
        "AP50": ("precision", 0.5, "all", 2),
        "AP75": ("precision", 0.75, "all", 2),
        "AP_S": ("precision", None, "small", 2),
        "AP_M": ("precision", None, "medium", 2),
        "AP_L": ("precision", None, "large", 2),
        "AR_1": ("recall", None, "all", 0),
        "AR_10": ("recall", None, "all", 1),
        "AR": ("recall", None, "all", 2),
        "AR_S": ("recall", None, "small", 2),
        "AR_M": ("recall", None, "medium", 2),
        "AR_L": ("recall", None, "large", 2),
    }

    def _evaluator(self, kind: CategoryObjects, ids: dict[int, int]) -> Any:
        truth = ({"bbox": list(one.box), "area": area_of(one)} for _, one in kind.truth)
        boxes = (one.box.tolist() for _, one in kind.answers)
        answers = ({"bbox": box, "area": box[2] * box[3]} for box in boxes)
        return coco_library().COCOeval_faster(*coco_pair(kind, ids, truth, answers), "bbox")
