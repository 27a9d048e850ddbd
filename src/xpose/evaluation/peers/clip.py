"""CLIP of transformers as a source of similarity (the papers' table 7): how like some words a region looks.

CLIP finds nothing, so it is shown the labelled objects: the square round an object's box, and round each of its points
a square of a quarter of the box's longer side. The formula is in docs/evaluation.md. Its answers are the labels with
similarities in the place of scores, so it serves the protocol `similarity` alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from xpose.evaluation.peers.transformers_source import TransformersSource
from xpose.evaluation.questions import Asked, Question
from xpose.evaluation.settings import Settings
from xpose.records import Instance
from xpose.results import Poses

OBJECT = "a photo of a {object}"
POINT = "a photo of the {point} of a {object}"
POINT_SIDE = 0.25  # of the box's longer side
LEAST_SIDE = 8.0  # pixels


class ClipSource(TransformersSource):
    """Similarities by a CLIP model."""

    kind = "CLIP"

    def __init__(self, model: Any, processor: Any, folder: Path) -> None:
        super().__init__(model, processor, folder)
        self._texts: dict[str, torch.Tensor] = {}

    @classmethod
    def _load(cls, folder: Path) -> tuple[Any, Any]:
        from transformers import CLIPModel, CLIPProcessor

        model = CLIPModel.from_pretrained(folder, local_files_only=True)
        return model, CLIPProcessor.from_pretrained(folder, local_files_only=True)

    def _answer(self, question: Question, pixels: np.ndarray, settings: Settings) -> Poses:
        (asked,) = question.asked
        objects = [one for one in question.truth.instances if not one.iscrowd]
        parts = [self._object(asked, one, pixels) for one in objects]
        size = (pixels.shape[0], pixels.shape[1])
        return Poses.concatenate(parts) if parts else Poses.empty(size)

    def _object(self, asked: Asked, instance: Instance, pixels: np.ndarray) -> Poses:
        x, y, width, height = instance.box
        longer = max(width, height)
        placed = [(px + 0.5, py + 0.5) for px, py, v in instance.keypoints.values() if v]
        names = list(asked.names)[: len(placed)]
        placed = placed[: len(names)]
        regions = [_square(pixels, (x + width / 2, y + height / 2), longer)]
        regions += [_square(pixels, centre, POINT_SIDE * longer) for centre in placed]
        words = [OBJECT.format(object=asked.called)]
        words += [POINT.format(point=name, object=asked.called) for name in names]
        likeness = self._likeness(regions, words)
        return Poses(
            boxes=np.array([[x, y, x + width, y + height]]),
            scores=likeness[:1],
            categories=(asked.category.name,),
            xy=np.array(placed, dtype=np.float64).reshape(1, -1, 2) - 0.5,
            keypoint_scores=likeness[None, 1:],
            visibility=np.full((1, len(names)), 2),
            keypoint_names=(tuple(asked.names[name] for name in names),),
            image_size=(pixels.shape[0], pixels.shape[1]),
        )

    @torch.inference_mode()
    def _likeness(self, regions: list[Image.Image], words: list[str]) -> np.ndarray:
        """For each region the cosine with its own words, brought from -1..1 to 0..1."""
        inputs = self.processor(images=regions, return_tensors="pt").to(self.model.device)
        seen = _plain(self.model.get_image_features(**inputs))
        missing = [text for text in dict.fromkeys(words) if text not in self._texts]
        if missing:
            tokens = self.processor(text=missing, return_tensors="pt", padding=True, truncation=True)
            read = _plain(self.model.get_text_features(**tokens.to(self.model.device)))
            self._texts.update(zip(missing, read, strict=True))
        words_of_regions = torch.stack([self._texts[text] for text in words])
        cosine = torch.nn.functional.cosine_similarity(seen.float(), words_of_regions.float())
        return ((cosine + 1) / 2).clamp(0, 1).cpu().numpy()


def _plain(features: Any) -> torch.Tensor:
    """The embedding; newer versions of transformers wrap it."""
    found = features if isinstance(features, torch.Tensor) else features.pooler_output
    assert isinstance(found, torch.Tensor)
    return found


def _square(pixels: np.ndarray, centre: tuple[float, float], side: float) -> Image.Image:
    """The part of a picture in a square, what lies outside the picture left away."""
    half = max(side, LEAST_SIDE) / 2
    height, width = pixels.shape[:2]
    x1, y1 = max(0, int(centre[0] - half)), max(0, int(centre[1] - half))
    x2, y2 = min(width, int(np.ceil(centre[0] + half))), min(height, int(np.ceil(centre[1] + half)))
    x1, y1 = min(x1, width - 1), min(y1, height - 1)
    return Image.fromarray(pixels[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)])
