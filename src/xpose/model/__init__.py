"""The network: five stages from a picture and prompt embeddings to instances with keypoints.

    backbone → encoder → query selection → object decoder → keypoint decoder

`network.py` reads like the paper's figure; `types.py` defines what flows between the stages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpose._lazy import lazy_names

if TYPE_CHECKING:
    from xpose.model.checkpoints.official import load_official as load_official
    from xpose.model.checkpoints.official import to_official as to_official
    from xpose.model.config import SwinSettings as SwinSettings
    from xpose.model.config import XPoseConfig as XPoseConfig
    from xpose.model.network import XPose as XPose
    from xpose.model.types import Predictions as Predictions
    from xpose.model.types import PromptEmbeddings as PromptEmbeddings

# Some modules need PyTorch and some do not.
__getattr__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(("Predictions", "PromptEmbeddings"), "xpose.model.types"),
        **dict.fromkeys(("SwinSettings", "XPoseConfig"), "xpose.model.config"),
        **dict.fromkeys(("load_official", "to_official"), "xpose.model.checkpoints.official"),
        "XPose": "xpose.model.network",
    },
)
