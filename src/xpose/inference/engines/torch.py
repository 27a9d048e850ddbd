"""The network in PyTorch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from xpose.errors import CheckpointError
from xpose.inference.encoded import BoxArrays, PromptArrays
from xpose.inference.engines import RawInstances, fingerprint_of
from xpose.inference.preprocess import MEAN, STD
from xpose.model.config import XPoseConfig
from xpose.model.network import XPose
from xpose.model.prompting.clip import ClipVisualPromptEncoder
from xpose.model.types import ImageFeatures, Predictions, ProjectedPrompts, prompt_counts, to_array, to_arrays


class TorchEngine:
    """Runs a network on the device and dtype of its weights.

    On a GPU, copies to the device are asynchronous, and only the copy of the results waits for it.
    """

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
    def has_visual(self) -> bool:
        """Whether example pictures are encoded by CLIP."""
        return self._make_visual is not None

    @property
    def config(self) -> XPoseConfig:
        """The settings of the network."""
        return self.model.config

    @property
    def runtime(self) -> str:
        """What runs the network, with its version, device and precision."""
        precision = str(next(self.model.backbone.parameters()).dtype).removeprefix("torch.")
        return f"PyTorch {torch.__version__} on {self.device}, {precision}"

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
        images, places, shown = (self._moved(array) for array in (pictures, points, visible))
        if self.model.visual_prompts is not None:
            objects, keypoints = self.model.visual_prompts(self.model.backbone(images), places, shown)
        else:
            objects, keypoints = self.visual.encode(images, places, shown)
        return to_array(objects), to_array(keypoints)

    def side_by_side(self) -> tuple[TorchEngine, int]:
        """This engine for one call at a time: PyTorch gives a call all cores, and Python allows only one thread."""
        return self, 1

    @property
    def resizes(self) -> bool:
        """Whether pictures are resized on the device; on the CPU, Pillow is faster."""
        return self.device.type == "cuda"

    @torch.inference_mode()
    def encode(self, images: np.ndarray) -> ImageFeatures:
        """Run the prompt-free part of the network; see `Engine`."""
        return self.model.encode_image(self._moved(images))

    @torch.inference_mode()
    def encode_pictures(self, pictures: Sequence[np.ndarray], height: int, width: int) -> ImageFeatures:
        """Resize and normalise pictures on the device, and run the prompt-free part; see `Engine`."""
        equal = len({picture.shape for picture in pictures}) == 1
        stacks = [np.stack(pictures)] if equal else [np.stack([picture]) for picture in pictures]
        images = torch.cat([normalised(self._moved(stack), height, width) for stack in stacks])
        return self.model.encode_image(images.to(self._weight.dtype))

    @torch.inference_mode()
    def decode(
        self, features: object, prompts: PromptArrays, instances: int | None = None, *, with_cosines: bool = False
    ) -> list[RawInstances]:
        """Detect in encoded images; see `Engine`."""
        assert isinstance(features, ImageFeatures), type(features)
        return _raw_instances(self.model.decode(features, self.prompts(prompts), instances=instances), with_cosines)

    @torch.inference_mode()
    def decode_known(self, features: object, prompts: PromptArrays, known: BoxArrays) -> list[RawInstances]:
        """Find the keypoints of objects in known boxes; see `Engine`."""
        assert isinstance(features, ImageFeatures), type(features)
        boxes, classes = self._moved(known.boxes), self._moved(known.classes)
        return _raw_instances(self.model.decode_known(features, self.prompts(prompts), boxes, classes), False)

    def prompts(self, arrays: PromptArrays) -> ProjectedPrompts:
        """Convert prompts to `ProjectedPrompts` tensors."""
        given = {field.name: getattr(arrays, field.name) for field in fields(arrays)}
        mask = np.ones(arrays.objects.shape[:2], bool) if arrays.object_mask is None else arrays.object_mask
        counts = prompt_counts(torch.from_numpy(mask), torch.from_numpy(arrays.keypoint_mask))
        tensors: dict[str, Any] = {name: None if row is None else self._moved(row) for name, row in given.items()}
        return ProjectedPrompts(**tensors, counts=counts)

    def _moved(self, array: np.ndarray) -> Tensor:
        """An array on the device, numbers in the network's type; a copy to a GPU is not waited for."""
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device, self._weight.dtype if tensor.is_floating_point() else tensor.dtype)

    def fingerprint(self) -> str:
        """A short text shared only by networks with the same prompt tokens."""
        parts = (self.model.object_projection, self.model.keypoint_projection)
        parameters = [parameter for part in parts for parameter in part.parameters()]
        return fingerprint_of(
            self.config, (parameter.detach().to("cpu", torch.float32).numpy() for parameter in parameters)
        )

    @cached_property
    def identity(self) -> str:
        """The sha256 of all weights; see `Engine`."""
        digest = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def normalised(pictures: Tensor, height: int, width: int) -> Tensor:
    """RGB bytes [B, h', w', 3] to normalised images [B, 3, h, w]: `preprocess.to_input` in PyTorch.

    Like Pillow, it resizes rows, rounds to bytes, resizes columns and rounds again. Rarely, a byte differs by one.
    """
    images = pictures.permute(0, 3, 1, 2).float()
    for size in ((images.shape[2], width), (height, width)):
        if images.shape[2:] != size:
            resized = F.interpolate(images, size=size, mode="bilinear", antialias=True)
            images = resized.add_(0.5).floor_().clamp_(0, 255)
    images = images / 255
    return torch.stack([(images[:, c] - MEAN[c]) / STD[c] for c in range(3)], dim=1)


def _raw_instances(predictions: Predictions, with_cosines: bool) -> list[RawInstances]:
    """The answer for each picture; the only place where detection waits for the device."""
    columns: dict[str, tuple[Tensor, ...] | None] = {
        "logits": predictions.logits,
        "boxes": predictions.boxes,
        "group_class": predictions.group_class,
        "keypoints": predictions.keypoints,
        "confidence": predictions.keypoint_confidence if predictions.visibility is None else predictions.visibility,
        "keypoint_error": predictions.keypoint_error,
        "object_cosine": predictions.object_cosine if with_cosines else None,
        "keypoint_cosine": predictions.keypoint_cosine if with_cosines else None,
    }
    given = {name: column for name, column in columns.items() if column is not None}
    arrays = iter(to_arrays([tensor for column in given.values() for tensor in column]))
    read = {name: [next(arrays) for _ in column] for name, column in given.items()}
    answers = [dict(zip(read, values, strict=True)) for values in zip(*read.values(), strict=True)]
    return [RawInstances(**answer, scores=torch.from_numpy(answer["logits"]).sigmoid().numpy()) for answer in answers]
