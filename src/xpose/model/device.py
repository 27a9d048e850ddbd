"""What fits a network to its device: precision, and compiled layers."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from xpose.errors import ConfigError, XPoseWarning
from xpose.model.encoder import ImageLayer
from xpose.model.layers import Recomputable
from xpose.model.network import XPose
from xpose.model.types import PromptEmbeddings

BACKEND: str | Callable[..., Any] = "inductor"
DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
AUTO = "auto"  # bfloat16 if the device multiplies it natively and the network hardly changes, otherwise float32
_BF16_CPU = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")  # instructions of x86 and ARM


def multiplies_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 natively; emulation is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    if not hasattr(torch.cpu, "get_capabilities"):  # PyTorch before 2.11
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return any(torch.cpu.get_capabilities().get(name) for name in _BF16_CPU)


def set_precision(model: XPose, dtype: str | torch.dtype | None) -> XPose:
    """Convert a float32 network, in place except for "auto"; None is float32.

    With bfloat16 or float16, everything that determines positions (sampling offsets, box and point heads, the decoders)
    stays in float32. If the device has no hardware for the type, the network stays in float32, with a warning.

    Raises:
        ConfigError: the network does not support this dtype.
    """
    if dtype == AUTO:
        return _fastest(model)
    target = DTYPES.get(dtype) if isinstance(dtype, str) else dtype or torch.float32
    if target not in DTYPES.values():
        raise ConfigError(f'dtype is "{dtype}". It must be one of {AUTO}, {", ".join(DTYPES)}.')
    if target in (torch.float32, torch.float64):
        return model.to(target)
    device = next(model.parameters()).device
    if not (device.type != "cpu" if target == torch.float16 else multiplies_bf16(device)):
        name = str(target).removeprefix("torch.")
        where = "a GPU" if target == torch.float16 else "AVX512-BF16, AMX or a GPU"
        warnings.warn(f"{device} has no hardware for {name} ({where}): staying in float32.", XPoseWarning, stacklevel=2)
        return model
    model.backbone.to(target)
    for module in model.encoder.modules():
        if isinstance(module, ImageLayer):
            for part in (module.ffn, module.attention.value_proj, module.attention.output_proj):
                part.to(target)
    return model


def _fastest(model: XPose) -> XPose:
    """The network in bfloat16 if that is native and within bounds, or unchanged."""
    if not multiplies_bf16(next(model.parameters()).device):
        return model
    lowered = set_precision(copy.deepcopy(model), torch.bfloat16)
    return lowered if difference(model, lowered).within_bounds else model


@dataclass(frozen=True)
class Difference:
    """How far the predictions of a converted network are from those of the original."""

    keypoints: float  # median distance, as a share of the longer side of the object's box
    scores: float  # largest difference of the scores of objects, which are in [0, 1]

    @property
    def within_bounds(self) -> bool:
        """Whether the difference is small compared with the errors of trained networks."""
        return self.keypoints <= 0.02 and self.scores <= 0.03


@torch.inference_mode()
def difference(original: XPose, converted: XPose) -> Difference:
    """Compare two networks on a fixed picture of coloured spots, with random prompts in known boxes."""
    weight, generator = original.heads.norm.weight, torch.Generator().manual_seed(0)
    spots = [torch.randn(1, 3, count, count, generator=generator) for count in (4, 16, 64)]
    layers = [F.interpolate(spot, size=(256, 256), mode="bicubic") for spot in spots]
    picture = (torch.cat(layers).sum(0, keepdim=True) / 2).to(weight)
    boxes = [[0.5, 0.5, 0.9, 0.9], [0.3, 0.35, 0.5, 0.6], [0.7, 0.6, 0.4, 0.7], [0.5, 0.7, 0.8, 0.4]]
    known = torch.tensor([boxes]).to(weight)
    words = F.normalize(torch.randn(1 + 17, original.config.prompt_width, generator=generator), dim=-1)
    prompts = PromptEmbeddings.from_lists([words[:1]], [words[1:]])
    classes = torch.zeros(1, len(boxes), dtype=torch.long, device=weight.device)
    first, second = (
        network.decode_known(network.encode_image(picture), prompts, known, classes)
        for network in (original, converted)
    )
    distances = (first.keypoints[0] - second.keypoints[0]).norm(dim=-1) / known[0, :, 2:].amax(-1, keepdim=True)
    scores = (first.scores[0] - second.scores[0]).abs()
    return Difference(float(distances.median()), float(scores.max()))


def compile_layers(parts: Iterable[nn.Module], device: torch.device, *, dynamic: bool | None = None) -> int:
    """Compile the layers of parts of a network in place with `torch.compile`; return their number.

    Single layers compile much faster than the whole. If there is no compiler, a warning is issued. For `dynamic`, see
    `torch.compile`.
    """
    try:
        probe = torch.compile(lambda x: (x * 2 + 1).relu(), backend=BACKEND)
        with torch.inference_mode(False), torch.enable_grad():
            probe(torch.ones(8, device=device, requires_grad=True)).sum().backward()
    except Exception as error:  # every backend has its own errors
        reason = " ".join(str(error).split()) or type(error).__name__
        needed = "Triton" if device.type == "cuda" else "a C++ compiler (g++ or clang++)"
        message = (
            f"The network is not compiled: torch.compile does not work here ({reason[:200]}). It needs {needed}. "
            "Everything works without it, with the same results."
        )
        warnings.warn(message, XPoseWarning, stacklevel=2)
        return 0
    layers = [module for part in parts for module in part.modules() if isinstance(module, Recomputable)]
    for layer in layers:
        layer.compile(backend=BACKEND, dynamic=dynamic)
    return len(layers)


def compile_network(model: XPose) -> None:
    """Compile a network for detection in place, if there is a compiler; see `compile_layers`.

    Every combination of sizes is compiled by itself, because graphs of Swin for all sizes take minutes to capture.
    """
    device = next(model.parameters()).device
    if compile_layers([model.encoder, model.object_decoder, model.keypoint_decoder], device, dynamic=False):
        model.backbone.compile(backend=BACKEND, dynamic=False)  # as a whole, because its layers differ in shape
