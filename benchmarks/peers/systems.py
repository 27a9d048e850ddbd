"""The measured programs. Each function loads one and returns what is timed, which gives the number of objects found.

They run in environments of their own, so packages are imported inside the functions.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Literal

import numpy as np
from PIL import Image

# Takes a decoded picture [h, w, 3] and returns the number of objects; None if the system has random weights.
Measured = Callable[[np.ndarray], "int | None"]


def detector(
    engine: Literal["torch", "onnx"] = "torch",
    prompts: Sequence[dict[str, Any]] = (),
    options: dict[str, Any] | None = None,
    batch: int = 1,
) -> Measured:
    """`detect` with the bundled weights, on a batch of copies of the picture."""
    import xpose
    from xpose.prompts import TextPrompt

    warnings.simplefilter("ignore")  # most words of the vocabulary were never learned
    loaded = xpose.load(engine=engine)
    classes = [TextPrompt(**prompt) for prompt in prompts]

    def detect(picture: np.ndarray) -> int:
        poses = loaded.detect([picture] * batch, classes, batch_size=batch, **(options or {}))
        return len(poses[0])

    return detect


def network(size: tuple[int, int], dtype: str = "float32", padded: bool = False) -> Measured:
    """The forward pass of the published layout with random weights, as it is or in the published padded form."""
    import torch
    from benchmarks.forward import padded_prompt, plain_forms, prompt

    from xpose.model import presets
    from xpose.model.device import multiplies_bf16, set_precision

    if dtype == "bfloat16" and not multiplies_bf16(torch.device("cpu")):
        raise RuntimeError("this processor has no hardware for bfloat16")
    torch.manual_seed(0)
    model = set_precision(presets.xpose_swin_t().eval(), dtype)
    asked = padded_prompt() if padded else prompt(1, 17)

    def forward(picture: np.ndarray) -> None:
        with torch.inference_mode(), plain_forms() if padded else nullcontext():
            model(_tensor(picture, size), asked)

    return forward


def grounding_dino(size: tuple[int, int]) -> Measured:
    """GroundingDINO of transformers with random weights and the shortest text, "[CLS] person . [SEP]"."""
    import torch
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    torch.manual_seed(0)
    model = GroundingDinoForObjectDetection(GroundingDinoConfig()).eval()
    text = torch.tensor([[101, 2711, 1012, 102]])

    def forward(picture: np.ndarray) -> None:
        with torch.inference_mode():
            model(pixel_values=_tensor(picture, size), input_ids=text)

    return forward


def vitpose(boxes: Sequence[Sequence[int]]) -> Measured:
    """ViTPose-B of transformers with random weights on the crops of these boxes: from the picture to points."""
    import torch
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

    torch.manual_seed(0)
    backbone = VitPoseBackboneConfig(out_indices=[12])
    model = VitPoseForPoseEstimation(VitPoseConfig(backbone_config=backbone, num_labels=17)).eval()

    def estimate(picture: np.ndarray) -> None:
        image = Image.fromarray(picture)
        crops = [np.asarray(image.crop(tuple(box))) for box in boxes]
        with torch.inference_mode():
            heatmaps = model(torch.cat([_tensor(crop, (256, 192)) for crop in crops])).heatmaps
            heatmaps.flatten(2).argmax(2).tolist()

    return estimate


def mediapipe(solution: str) -> Measured:
    """A solution of MediaPipe with the weights of its package, for single pictures."""
    from mediapipe.python import solutions

    found = {"pose": "pose_landmarks", "face": "multi_face_landmarks", "hands": "multi_hand_landmarks"}[solution]
    kinds = {"pose": solutions.pose.Pose, "face": solutions.face_mesh.FaceMesh, "hands": solutions.hands.Hands}
    graph = kinds[solution](static_image_mode=True)

    def process(picture: np.ndarray) -> int:
        landmarks = getattr(graph.process(picture), found)
        return 0 if landmarks is None else len(landmarks) if isinstance(landmarks, list) else 1

    return process


def _tensor(picture: np.ndarray, size: tuple[int, int]) -> Any:
    """A normalised batch of one picture, resized to a height and width."""
    import torch

    resized = np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BILINEAR))
    values = (torch.from_numpy(resized.copy()).permute(2, 0, 1)[None].float() / 255 - 0.45) / 0.225
    return values.contiguous()


SYSTEMS: dict[str, Callable[..., Measured]] = {
    function.__name__: function for function in (detector, network, grounding_dino, vitpose, mediapipe)
}
