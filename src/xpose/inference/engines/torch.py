"""The network in PyTorch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import fields
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xpose.errors import CheckpointError
from xpose.inference.encoded import BoxArrays, PromptArrays
from xpose.inference.engines import RawInstances
from xpose.model.config import XPoseConfig
from xpose.model.network import XPose
from xpose.model.prompting.clip import ClipVisualPromptEncoder
from xpose.model.types import ImageFeatures, Predictions, ProjectedPrompts, to_array


class TorchEngine:
    """Runs a network on the device and dtype of its weights."""

    def __init__(self, model: XPose, visual: Callable[[], ClipVisualPromptEncoder] | None = None) -> None:
        """Take a network, and what loads CLIP's example encoder for networks without their own."""
        self.model, self._make_visual = model, visual

    @cached_property
    def visual(self) -> ClipVisualPromptEncoder:
        """CLIP's example encoder, loaded when first needed; only for networks without their own."""
        if self._make_visual is None:
            raise CheckpointError(
                "These weights hold no encoder for example pictures (pos_proj and padding are missing). "
                "Use words, or a file that has them."
            )
        return self._make_visual()

    @property
    def config(self) -> XPoseConfig:
        """The settings of the network."""
        return self.model.config

    @property
    def device(self) -> torch.device:
        """The network's device."""
        return self._weight.device

    @property
    def _weight(self) -> Tensor:
        return self.model.heads.norm.weight

    @torch.inference_mode()
    def project(self, objects: np.ndarray, keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Project embeddings to prompt tokens; see `Engine`."""
        tokens = self.model.project_tokens(torch.from_numpy(objects), torch.from_numpy(keypoints))
        return to_array(tokens[0]), to_array(tokens[1])

    @torch.inference_mode()
    def encode_examples(
        self, pictures: np.ndarray, points: np.ndarray, visible: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Encode example pictures; see `Engine`."""
        images, places = torch.from_numpy(pictures).to(self._weight), torch.from_numpy(points).to(self._weight)
        shown = torch.from_numpy(visible).to(self.device)
        if self.model.visual_prompts is not None:
            objects, keypoints = self.model.visual_prompts(self.model.backbone(images), places, shown)
        else:
            objects, keypoints = self.visual.encode(images, places, shown)
        return to_array(objects), to_array(keypoints)

    @torch.inference_mode()
    def encode(self, images: np.ndarray) -> ImageFeatures:
        """Run the prompt-free part of the network; see `Engine`."""
        return self.model.encode_image(torch.from_numpy(images).to(self._weight))

    @torch.inference_mode()
    def decode(
        self, features: object, prompts: PromptArrays, instances: int | None = None, *, with_cosines: bool = False
    ) -> list[RawInstances]:
        """Detect in encoded images; see `Engine`."""
        assert isinstance(features, ImageFeatures), type(features)
        predictions = self.model.decode(features, self.prompts(prompts), instances=instances)
        return [_raw_instances(predictions, b, with_cosines) for b in range(len(predictions))]

    @torch.inference_mode()
    def decode_known(self, features: object, prompts: PromptArrays, known: BoxArrays) -> list[RawInstances]:
        """Find the keypoints of objects in known boxes; see `Engine`."""
        assert isinstance(features, ImageFeatures), type(features)
        boxes, classes = torch.from_numpy(known.boxes).to(self._weight), torch.from_numpy(known.classes).to(self.device)
        predictions = self.model.decode_known(features, self.prompts(prompts), boxes, classes)
        return [_raw_instances(predictions, b, False) for b in range(len(predictions))]

    def prompts(self, arrays: PromptArrays) -> ProjectedPrompts:
        """Convert prompts to `ProjectedPrompts` tensors."""

        def moved(array: np.ndarray | None) -> Any:
            if array is None:
                return None
            tensor = torch.from_numpy(array)
            return tensor.to(self._weight) if tensor.is_floating_point() else tensor.to(self.device)

        return ProjectedPrompts(
            **{field.name: moved(getattr(arrays, field.name)) for field in fields(ProjectedPrompts)}
        )

    def fingerprint(self) -> str:
        """A short text shared only by networks with the same prompt tokens."""
        digest = hashlib.sha256(self.config.name.encode())
        for projection in (self.model.object_projection, self.model.keypoint_projection):
            for parameter in projection.parameters():
                digest.update(parameter.detach().to("cpu", torch.float32).numpy().tobytes())
        return f"{self.config.name}:{digest.hexdigest()[:16]}"


def _raw_instances(predictions: Predictions, b: int, with_cosines: bool) -> RawInstances:
    confidence = predictions.keypoint_confidence if predictions.visibility is None else predictions.visibility
    return RawInstances(
        logits=to_array(predictions.logits[b]),
        scores=to_array(predictions.logits[b].sigmoid()),
        boxes=to_array(predictions.boxes[b]),
        group_class=to_array(predictions.group_class[b]),
        keypoints=to_array(predictions.keypoints[b]),
        confidence=to_array(confidence[b]),
        keypoint_error=None if predictions.keypoint_error is None else to_array(predictions.keypoint_error[b]),
        object_cosine=to_array(predictions.object_cosine[b]) if with_cosines else None,
        keypoint_cosine=to_array(predictions.keypoint_cosine[b]) if with_cosines else None,
    )
