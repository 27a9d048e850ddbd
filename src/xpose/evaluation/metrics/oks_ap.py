"""OKS-AP: COCO's average precision of poses, with each category's own keypoints and sigmas.

Letters: N answers, M labelled objects, K keypoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xpose.errors import ConfigError, quote
from xpose.evaluation.matching import columns_of, labelled_points
from xpose.evaluation.metrics.average_precision import (
    AveragePrecision,
    CategoryObjects,
    FoundObject,
    area_of,
    coco_library,
    coco_pair,
)
from xpose.records import Category
from xpose.vocabulary import keypoint_sigmas


class OksAP(AveragePrecision):
    """COCO's ten keypoint numbers, from "AP" to "AR_L".

    At most 20 answers per picture and category count. Objects without a labelled point and crowds are neither to be
    found nor wrong to find. A point that an answer lacks is placed at (0, 0), as in a results file. The area of an
    answer, which the numbers for medium and large objects depend on, is that of the box around its points.

    Args:
        sigmas: similarity constants by keypoint name, instead of those of the skeletons.
    """

    prefix = ""
    summary = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L")

    def __init__(self, *, sigmas: Mapping[str, float] | None = None) -> None:
        self._sigmas = dict(sigmas or {})
        for name, sigma in self._sigmas.items():
            if isinstance(sigma, bool) or not isinstance(sigma, int | float) or not 0 < sigma <= 1:
                raise ConfigError(f"The sigma of {quote(name)} is {sigma!r}. It must be above 0 and at most 1.")
        super().__init__()

    def sigmas(self, category: Category) -> tuple[float, ...]:
        """The constants of a category's keypoints, in their order."""
        known = keypoint_sigmas(category.skeleton, category.keypoints)
        return tuple(self._sigmas.get(name, own) for name, own in zip(category.keypoints, known, strict=True))

    def _concerns(self, category: Category) -> bool:
        return bool(category.keypoints)

    def _evaluator(self, objects: CategoryObjects, ids: dict[int, int]) -> Any:
        names = objects.category.keypoints
        labelled = labelled_points([one for _, one in objects.truth], names)
        counts = (labelled[..., 2] > 0).sum(1).tolist()
        truth = (
            {"keypoints": points, "num_keypoints": count, "bbox": list(one.box), "area": area_of(one)}
            for (_, one), points, count in zip(objects.truth, labelled, counts, strict=True)
        )
        found = [one for _, one in objects.answers]
        points = answered_points(found, names)
        areas = np.ptp(points[..., :2], axis=1).prod(-1).tolist()
        answers = (
            {"keypoints": own, "area": area if one.area is None else one.area}
            for one, own, area in zip(found, points, areas, strict=True)
        )
        pair = coco_pair(objects, ids, truth, answers)
        return _evaluator_class()(*pair, "keypoints", kpt_oks_sigmas=np.array(self.sigmas(objects.category)))


def answered_points(answers: list[FoundObject], names: tuple[str, ...]) -> np.ndarray:
    """[N, K, 3] x, y, 0 of answers in the order of the names; zeros where a point is missing."""
    points = np.zeros((len(answers), len(names), 3))
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[int]] = {}
    for row, one in enumerate(answers):
        groups.setdefault((one.names, one.canonical), []).append(row)
    for (own, canonical), rows in groups.items():
        columns = columns_of(names, own, canonical)
        if own:
            given = np.stack([answers[row].xy for row in rows])[:, columns]
            there = (columns >= 0) & np.all(np.isfinite(given), axis=-1)
            points[rows, :, :2] = np.where(there[..., None], given, 0.0)
    return points


def oks_table(answers: np.ndarray, truth: list[dict[str, Any]], sigmas: np.ndarray) -> np.ndarray:
    """COCO's OKS [N, M] of answers [N, K, 3] with labelled objects, all of a picture at once.

    An object without a labelled point is compared by its box, doubled on each side: points inside have no distance.
    """
    labelled = np.stack([one["keypoints"] for one in truth]).reshape(len(truth), -1, 3)
    boxes = np.array([one["bbox"] for one in truth], dtype=np.float64)
    areas = np.array([one["area"] for one in truth], dtype=np.float64)
    counts = labelled[..., 2] > 0  # [M, K]
    apart = answers[:, None, :, :2] - labelled[None, :, :, :2]  # [N, M, K, 2]
    bare = ~np.any(counts, axis=1)
    if bare.any():
        low, high = boxes[bare, :2] - boxes[bare, 2:], boxes[bare, :2] + 2 * boxes[bare, 2:]
        places = answers[:, None, :, :2]
        apart[:, bare] = np.maximum(low[None, :, None] - places, 0) + np.maximum(places - high[None, :, None], 0)
        counts = counts | bare[:, None]
    squared = (apart**2).sum(-1)
    # In the order of COCO's own divisions, so that not even the last digit differs without need.
    similarity = np.exp(-(squared / (sigmas * 2) ** 2 / (areas + np.spacing(1))[:, None] / 2))
    return np.where(counts, similarity, 0.0).sum(-1) / counts.sum(-1)


def _evaluator_class() -> Any:
    class PoseEvaluator(coco_library().COCOeval_faster):  # type: ignore[misc]
        """The evaluator with the similarities of a whole picture computed at once, which takes a tenth of the time."""

        def computeOks(self, imgId: int, catId: int) -> Any:  # noqa: N802 - the library's name
            truth, answers = self.gt_dataset.get(imgId, catId), self.dt_dataset.get(imgId, catId)
            if not truth or not answers:
                return []
            order = np.argsort([-one["score"] for one in answers], kind="mergesort")[: self.params.maxDets[-1]]
            points = np.stack([answers[row]["keypoints"] for row in order])
            return oks_table(points.reshape(len(order), -1, 3), truth, self.params.kpt_oks_sigmas)

    return PoseEvaluator
