"""GroundingDINO of transformers, asked the way the papers' tables 8 and 16 ask it.

A class is its name, the boxes are what it finds. It knows no keypoints, so each keypoint is asked for as an object of
its own ("left eye"), and the centre of the box found for it is the point: of the boxes whose centre lies inside the
object's box the one with the highest score; NaN where there is none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from xpose.evaluation.peers.transformers_source import TransformersSource
from xpose.evaluation.questions import Question
from xpose.evaluation.settings import Settings
from xpose.geometry import cxcywh_to_xyxy
from xpose.inference.postprocess import suppress_boxes
from xpose.model.checkpoints.calibration import DEFAULT_NMS, DEFAULT_THRESHOLD
from xpose.results import Poses

MOST = 50  # answers per class, as many as our own networks give
LEAST = 0.05  # score of a box that may give a point


class GroundingDinoSource(TransformersSource):
    """Answers of a GroundingDINO; text prompts only."""

    kind = "GroundingDINO"

    @classmethod
    def _load(cls, folder: Path) -> tuple[Any, Any]:
        from transformers import AutoProcessor, GroundingDinoForObjectDetection

        model = GroundingDinoForObjectDetection.from_pretrained(folder, local_files_only=True)
        return model, AutoProcessor.from_pretrained(folder, local_files_only=True)

    def _answer(self, question: Question, pixels: np.ndarray, settings: Settings) -> Poses:
        parts = []
        for one in question.asked:
            boxes, scores = self._boxes(pixels, one.called)
            order = np.argsort(-scores, kind="stable")
            least = DEFAULT_THRESHOLD if settings.threshold == "weights" else settings.threshold
            order = order[scores[order] > least][: 4 * MOST]
            if settings.nms is not None:
                order = suppress_boxes(boxes, order, DEFAULT_NMS if settings.nms == "weights" else settings.nms)
            order = order[: question.most or MOST]
            found = {name: self._boxes(pixels, name) for name in one.names}
            xy = np.full((len(order), len(one.names), 2), np.nan)
            confidences = np.full((len(order), len(one.names)), np.nan)
            for column, name in enumerate(one.names):
                for row, number in enumerate(order):
                    place = _point(boxes[number], *found[name])
                    if place is not None:
                        xy[row, column], confidences[row, column] = place
            names = (tuple(one.names.values()),) * len(order)
            parts.append(
                Poses(
                    boxes=boxes[order],
                    scores=scores[order],
                    categories=(one.category.name,) * len(order),
                    xy=xy - 0.5,  # the middle of a box counts continuously, a record's point pixel by pixel
                    keypoint_scores=confidences,
                    visibility=np.where(np.isfinite(confidences), 2, 0),
                    keypoint_names=names,
                    image_size=(pixels.shape[0], pixels.shape[1]),
                )
            )
        return Poses.concatenate(parts)

    @torch.inference_mode()
    def _boxes(self, pixels: np.ndarray, words: str) -> tuple[np.ndarray, np.ndarray]:
        """All boxes for some words: corners [n, 4] in pixels, and how well each fits, [n]."""
        text = f"{words.lower().replace('_', ' ')}."
        inputs = self.processor(images=pixels, text=text, return_tensors="pt").to(self.model.device)
        found = self.model(**inputs)
        # A box fits as well as the best token of the words.
        scores = found.logits[0].sigmoid().amax(-1).float().cpu().numpy()
        corners = cxcywh_to_xyxy(found.pred_boxes[0].float().cpu().numpy())
        size = np.tile([pixels.shape[1], pixels.shape[0]], 2)
        return np.clip(corners, 0, 1) * size, scores


def _point(box: np.ndarray, boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, float] | None:
    """The centre of the best box inside the object's, and its score."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((centres >= box[:2]) & (centres <= box[2:])).all(-1) & (scores >= LEAST)
    if not inside.any():
        return None
    best = int(np.where(inside, scores, -1).argmax())
    return centres[best], float(scores[best])
