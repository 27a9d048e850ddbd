"""xpose: detect any keypoints of any object, named in words or shown by example.

Each public name is imported when it is first used, so that `import xpose` is fast and loads no third-party package.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from xpose._lazy import lazy_names

if TYPE_CHECKING:
    from xpose.errors import XPoseError as XPoseError
    from xpose.errors import XPoseWarning as XPoseWarning
    from xpose.inference import Detector as Detector
    from xpose.inference import PromptBank as PromptBank
    from xpose.inference import load as load
    from xpose.pictures.reading import read_frames as read_frames
    from xpose.prompts import CombinedPrompt as CombinedPrompt
    from xpose.prompts import TextPrompt as TextPrompt
    from xpose.prompts import VisualPrompt as VisualPrompt
    from xpose.results import Poses as Poses

# Otherwise ONNX Runtime 1.32 and later report to Microsoft, and write the number of the machine to the home folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

_HOMES = {
    **dict.fromkeys(("CombinedPrompt", "TextPrompt", "VisualPrompt"), "xpose.prompts"),
    **dict.fromkeys(("Detector", "PromptBank", "load"), "xpose.inference"),
    **dict.fromkeys(("XPoseError", "XPoseWarning"), "xpose.errors"),
    "Poses": "xpose.results",
    "read_frames": "xpose.pictures.reading",
}
__getattr__ = lazy_names(__name__, _HOMES)

__all__ = [
    "CombinedPrompt",
    "Detector",
    "Poses",
    "PromptBank",
    "TextPrompt",
    "VisualPrompt",
    "XPoseError",
    "XPoseWarning",
    "__version__",
    "load",
    "read_frames",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
