"""Half the time for a little accuracy: bfloat16 in the parts that cost most and are least sensitive.

These are the backbone, the encoder's feed-forward blocks and the value and output maps of its attention. Everything
that determines positions (sampling offsets, box and point heads, the decoders) stays in float32.
"""

from __future__ import annotations

import warnings

import torch

from xpose.errors import ConfigError, XPoseWarning
from xpose.model.encoder import ImageLayer
from xpose.model.network import XPose

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def quick_bfloat16(device: torch.device | str) -> bool:
    """Whether this device multiplies bfloat16 in hardware (AVX512-BF16 or AMX on a CPU, most GPUs)."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # PyTorch has no public function for this; where a version lacks the private one, the answer is no.
        probes = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
        return any(probe() for probe in probes if probe is not None)
    return device.type == "mps"


def set_precision(model: XPose, dtype: str | torch.dtype | None) -> XPose:
    """Convert a float32 network in place; None is float32.

    bfloat16 would be slower *and* less accurate where the device has no hardware for it: then the network stays in
    float32, with a warning.

    Raises:
        ConfigError: the network does not run in this type.
    """
    target = DTYPES.get(dtype) if isinstance(dtype, str) else dtype or torch.float32
    if target not in DTYPES.values():
        raise ConfigError(f'dtype is "{dtype}". It must be one of {", ".join(DTYPES)}.')
    if target != torch.bfloat16:
        return model.to(target)
    device = next(model.parameters()).device
    if not quick_bfloat16(device):
        warnings.warn(
            f"{device} has no hardware for bfloat16 (AVX512-BF16, AMX or a GPU): staying in float32.",
            XPoseWarning,
            stacklevel=2,
        )
        return model
    model.backbone.to(torch.bfloat16)
    for module in model.encoder.modules():
        if isinstance(module, ImageLayer):
            for part in (module.ffn, module.attention.value_proj, module.attention.output_proj):
                part.to(torch.bfloat16)
    return model
