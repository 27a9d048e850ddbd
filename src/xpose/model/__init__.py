"""The network: five stages from a picture and prompt embeddings to instances with keypoints.

    backbone → encoder → query selection → object decoder → keypoint decoder

`network.py` reads like the paper's figure; `types.py` holds what flows between the stages.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xpose.model.checkpoints.official import load_official, to_official
    from xpose.model.config import SwinSettings, XPoseConfig
    from xpose.model.network import XPose
    from xpose.model.types import Predictions, PromptEmbeddings

# Public name -> the module that holds it, imported when it is first asked for: not every module needs PyTorch.
_HOMES = {
    "Predictions": "xpose.model.types",
    "PromptEmbeddings": "xpose.model.types",
    "SwinSettings": "xpose.model.config",
    "XPose": "xpose.model.network",
    "XPoseConfig": "xpose.model.config",
    "load_official": "xpose.model.checkpoints.official",
    "to_official": "xpose.model.checkpoints.official",
}

__all__ = [
    "Predictions",
    "PromptEmbeddings",
    "SwinSettings",
    "XPose",
    "XPoseConfig",
    "load_official",
    "to_official",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
