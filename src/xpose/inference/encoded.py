"""A picture as the network keeps it between prompts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xpose.model.types import ImageFeatures


@dataclass(frozen=True)
class EncodedImage:
    """A picture that went through the prompt-free part of the network: prompt it as often as you like."""

    features: ImageFeatures
    size: tuple[int, int]  # height, width of the upright picture
    path: Path | None
