"""Half the time for a little accuracy: bfloat16 in the parts that cost most and mind least.

Backbone, encoder feed-forward blocks and the value and output maps of the encoder's attention are lowered; everything
that decides places (sampling offsets, box and point heads, the decoders) stays in float32.
"""

from __future__ import annotations

import warnings

import torch

from xpose.errors import ConfigError, XPoseWarning
from xpose.model.encoder import ImageLayer
from xpose.model.network import XPose

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def parse_dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    """The type meant by a name; float32 where None.

    Raises:
        ConfigError: the type is not one that the network runs in.
    """
    if dtype is None:
        return torch.float32
    found = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if found is None or found not in DTYPES.values():
        raise ConfigError(f'dtype is "{dtype}". It must be one of {", ".join(DTYPES)}.')
    return found


def quick_bfloat16(device: torch.device | str) -> bool:
    """Whether this device multiplies bfloat16 in hardware (AVX512-BF16 or AMX on a CPU, most GPUs)."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # PyTorch has no public question for this; where a version lacks the private one, the answer is no.
        probes = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
        return any(probe() for probe in probes if probe is not None)
    return device.type == "mps"


def set_precision(model: XPose, dtype: str | torch.dtype | None) -> XPose:
    """Bring a float32 network to a type, in place.

    bfloat16 where the device has no hardware for it would be slower *and* less accurate: it is refused with a warning
    and the network stays in float32.
    """
    wanted = parse_dtype(dtype)
    if wanted != torch.bfloat16:
        return model.to(wanted)
    device = next(model.parameters()).device
    if not quick_bfloat16(device):
        warnings.warn(
            f"bfloat16 was asked for, but {device} has no hardware for it (AVX512-BF16, AMX or a GPU): "
            "staying in float32.",
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
