"""`xpose.load`: weights of any kind to a detector."""

from __future__ import annotations

from pathlib import Path

import torch

from xpose.errors import CheckpointError, ConfigError, first_line
from xpose.inference.detector import Detector
from xpose.inference.encoding import encoder_for
from xpose.inference.engines.torch import TorchEngine
from xpose.model.checkpoints.pretrained import from_pretrained
from xpose.model.checkpoints.weights import bundled_weights, default_weights
from xpose.model.deformable import require_sound_kernels
from xpose.model.precision import set_precision


def load(
    name_or_path: str | Path | None = None,
    weights: str | Path | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    *,
    clip: str | Path | None = None,
    revision: str | None = None,
) -> Detector:
    """A detector, ready to use.

    Args:
        name_or_path: a bundled name ("xpose-nano"), a weight folder or file, a file in the official layout, or a hub id
            ("owner/name"). None takes the bundled default.
        weights: the same under another name.
        device: "cpu", "cuda", "mps", ...; None takes the first available one of CUDA, MPS and CPU.
        dtype: "float32" (None), "bfloat16" (faster on hardware that has it, a little less exact) or "float64".
        clip: folder or hub id of CLIP ViT-B/32, for weight files that were stripped of it.
        revision: branch, tag or commit of a hub id.

    Raises:
        CheckpointError: there are no such weights, or they do not fit.
        ConfigError: the device or the type does not exist here.
        XPoseError: this build of PyTorch computes wrong numbers on the device.
    """
    if name_or_path is not None and weights is not None:
        raise CheckpointError(f'Both "{name_or_path}" and weights="{weights}" were given. Give one of them.')
    source = name_or_path if name_or_path is not None else weights
    if source is None:
        source = default_weights()
    model, encoders, calibration = from_pretrained(bundled_weights().get(str(source), source), revision=revision)
    place = pick_device(device)
    require_sound_kernels(place)
    try:
        model = model.to(place)
    except RuntimeError as error:
        raise ConfigError(f"The network could not be moved to {place} ({first_line(error)}).") from None
    model = set_precision(model, dtype).requires_grad_(False).eval()
    return Detector(TorchEngine(model), encoder_for(model, encoders, clip), str(source), calibration)


def pick_device(device: str | torch.device | None) -> torch.device:
    """The device of that name, or the best one where None.

    Raises:
        ConfigError: it does not exist here.
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
