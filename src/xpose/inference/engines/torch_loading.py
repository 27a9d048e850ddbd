"""Loads weights into PyTorch, on a device and in a precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from xpose.errors import ConfigError, first_line
from xpose.inference.detector import Detector
from xpose.inference.encoding import PromptEncoder
from xpose.inference.engines.torch import TorchEngine
from xpose.model.checkpoints.categories import LearnedCategory
from xpose.model.checkpoints.pretrained import from_pretrained
from xpose.model.deformable import require_sound_kernels
from xpose.model.device import compile_network, set_precision
from xpose.model.network import XPose
from xpose.model.prompting import ClipTextEncoder, ClipVisualPromptEncoder, NanoTextEncoder, TextEncoder
from xpose.model.prompting.clip_weights import vision_tower


def load_with_torch(
    source: Path,
    name: str,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    compile: bool = False,
    clip: str | Path | None = None,
) -> Detector:
    """A detector for a weight folder or an official file; see `xpose.load` for the options and errors."""
    pretrained = from_pretrained(source)
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
    return Detector(prompts.engine, prompts, name, pretrained.calibration)


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
