"""`xpose.load`: create a detector from any weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from xpose.errors import CheckpointError, ConfigError, first_line
from xpose.inference.detector import Detector
from xpose.inference.encoding import PromptEncoder
from xpose.inference.engines.torch import TorchEngine
from xpose.inference.learned import Learned
from xpose.model.checkpoints.categories import LearnedCategory, read_categories
from xpose.model.checkpoints.known import DEFAULT, bundled_weights, default_weights
from xpose.model.checkpoints.pretrained import WEIGHT_FILE, from_pretrained, weight_folder
from xpose.model.deformable import require_sound_kernels
from xpose.model.device import compile_network, set_precision
from xpose.model.network import XPose
from xpose.model.prompting import ClipTextEncoder, ClipVisualPromptEncoder, NanoTextEncoder, TextEncoder
from xpose.model.prompting.clip_weights import vision_tower


def load(
    name_or_path: str | Path | None = None,
    weights: str | Path | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    *,
    compile: bool = False,
    clip: str | Path | None = None,
    revision: str | None = None,
) -> Detector:
    """Load a detector.

    Args:
        name_or_path: a bundled name ("xpose-nano"), a weight folder or file, the folder of a training run (its best
            weights), a file in the official layout, or a hub id ("owner/name"). None takes the bundled default.
        weights: an alias of `name_or_path`.
        device: "cpu", "cuda", "mps", ...; None takes the first available one of CUDA, MPS and CPU.
        dtype: "float32" (None), "bfloat16" or "float16" (faster if hardware supports it, slightly less exact),
            "float64", or "auto": bfloat16 if the hardware supports it and a check of these weights shows that results
            hardly change, otherwise float32.
        compile: compile the network with `torch.compile` when a combination of picture size, batch size and number of
            keypoints first occurs, which takes up to minutes. It is meant for many pictures of one size on a GPU; on a
            CPU, compiled networks are slower.
        clip: folder or hub id of CLIP ViT-B/32, for weight files that do not contain it.
        revision: branch, tag or commit of a hub id.

    Raises:
        CheckpointError: there are no such weights, or they do not fit.
        ConfigError: the device or dtype is not available.
        XPoseError: this build of PyTorch computes wrong numbers on the device.
    """
    if name_or_path is not None and weights is not None:
        raise CheckpointError(f'Both "{name_or_path}" and weights="{weights}" were given. Give one of them.')
    source = name_or_path if name_or_path is not None else weights
    if source is None:
        source = default_weights()
    pretrained = from_pretrained(bundled_weights().get(str(source), source), revision=revision)
    place = pick_device(device)
    require_sound_kernels(place)
    try:
        model = pretrained.model.to(place)
    except RuntimeError as error:
        raise ConfigError(f"The network could not be moved to {place} ({first_line(error)}).") from None
    model = set_precision(model, dtype).requires_grad_(False).eval()
    if compile:
        compile_network(model)
    prompts = encoder_for(model, pretrained.encoders, clip, categories=pretrained.categories)
    return Detector(prompts.engine, prompts, str(source), pretrained.calibration)


def learned_by(weights: str | None) -> Learned:
    """What weights have learned, without loading them; only the vocabulary if that is unknown."""
    path = bundled_weights().get(weights or DEFAULT, Path(weights or DEFAULT).expanduser())
    return Learned(read_categories(path.parent if path.name == WEIGHT_FILE else weight_folder(path)))


def encoder_for(
    model: XPose,
    tensors: Mapping[str, Tensor],
    clip: str | Path | None,
    *,
    fresh: bool = False,
    categories: Sequence[LearnedCategory] | None = None,
) -> PromptEncoder:
    """The prompt encoder of a network, with an engine that runs the network.

    Args:
        model: the network.
        tensors: its prompt encoder weights (official names).
        clip: folder or hub id of CLIP's weights, if `tensors` has none.
        fresh: if `tensors` lacks the example encoder's additions to CLIP, start them untrained (for training).
        categories: what the weights have learned, to choose keypoints and to warn of unknown words; None for neither.
    """
    if model.config.prompt_encoder == "nano":
        return PromptEncoder(TorchEngine(model), NanoTextEncoder, categories)
    device = next(model.parameters()).device
    source = clip or "openai/clip-vit-base-patch32"
    with_clip = any(name.startswith("clip_model.") for name in tensors)
    examples = {"pos_proj.weight", "pos_proj.bias", "padding.weight"} <= set(tensors)

    def text() -> TextEncoder:
        kind = ClipTextEncoder
        return (kind.from_official(tensors) if with_clip else kind.from_folder_or_hub(source)).to(device)

    def visual() -> ClipVisualPromptEncoder:
        kind = ClipVisualPromptEncoder
        encoder = kind(vision_tower(tensors)) if with_clip else kind.from_folder_or_hub(source)
        if examples:
            encoder.load_prompt_weights(tensors)
        return encoder.to(device)

    return PromptEncoder(TorchEngine(model, visual if examples or fresh else None), text, categories)


def pick_device(device: str | torch.device | None) -> torch.device:
    """The device of that name, or the best one if None.

    Raises:
        ConfigError: it is not available.
    """
    if device is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        torch.zeros(1, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f'The device "{device}" cannot be used ({first_line(error)}). Use "cpu", or list devices with: xpose check'
        ) from None
