"""The network: five stages from a picture and prompt embeddings to instances with keypoints.

    backbone → encoder → query selection → object decoder → keypoint decoder

`network.py` reads like the paper's figure; `types.py` holds what flows between the stages.
"""

from xpose.model.checkpoints.official import load_official, to_official
from xpose.model.config import SwinSettings, XPoseConfig
from xpose.model.network import XPose
from xpose.model.types import Predictions, PromptEmbeddings

__all__ = ["Predictions", "PromptEmbeddings", "SwinSettings", "XPose", "XPoseConfig", "load_official", "to_official"]
