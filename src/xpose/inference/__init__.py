"""The public detector and what stands around the network: its options, pre- and post-processing, prompt banks.

`engines/` runs the network; everything else works on arrays and needs no PyTorch, but `encoding` and `loading`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xpose.inference.bank import PromptBank
    from xpose.inference.detector import Detector, Similarity
    from xpose.inference.encoded import EncodedImage
    from xpose.inference.loading import load
    from xpose.inference.options import DetectionOptions

# Public name -> the module that holds it, imported when it is first asked for: not every module needs PyTorch.
_HOMES = {
    "DetectionOptions": "xpose.inference.options",
    "Detector": "xpose.inference.detector",
    "EncodedImage": "xpose.inference.encoded",
    "PromptBank": "xpose.inference.bank",
    "Similarity": "xpose.inference.detector",
    "load": "xpose.inference.loading",
}

__all__ = [
    "DetectionOptions",
    "Detector",
    "EncodedImage",
    "PromptBank",
    "Similarity",
    "load",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
