"""xpose: detect any keypoints of any object, named in words or shown by example.

The names below are the public ones. Each is imported when it is first asked for, so that `import xpose` stays quick
and a script that only looks at skeletons never pays for the network.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xpose.errors import XPoseError as XPoseError
    from xpose.errors import XPoseWarning as XPoseWarning
    from xpose.inference import Detector as Detector
    from xpose.inference import PromptBank as PromptBank
    from xpose.inference import load as load
    from xpose.prompts import CombinedPrompt as CombinedPrompt
    from xpose.prompts import TextPrompt as TextPrompt
    from xpose.prompts import VisualPrompt as VisualPrompt
    from xpose.results import Poses as Poses

__version__ = "0.1.0.dev0"

# Public name -> the module that holds it.
_HOMES = {
    "CombinedPrompt": "xpose.prompts",
    "Detector": "xpose.inference",
    "Poses": "xpose.results",
    "PromptBank": "xpose.inference",
    "TextPrompt": "xpose.prompts",
    "VisualPrompt": "xpose.prompts",
    "XPoseError": "xpose.errors",
    "XPoseWarning": "xpose.errors",
    "load": "xpose.inference",
}

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
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
