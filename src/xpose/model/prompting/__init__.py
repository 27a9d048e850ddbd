"""Prompt encoders: from words or an example picture to the embeddings that the network takes.

| encoder                   | for                                     | width |
|---------------------------|-----------------------------------------|-------|
| `ClipTextEncoder`         | words, checkpoint-compatible networks   | 512   |
| `ClipVisualPromptEncoder` | pictures, checkpoint-compatible networks| 512   |
| `NanoTextEncoder`         | words, `xpose-nano`                     | 400   |

See docs/prompt-encoders.md. Importing this package imports torch but not transformers.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from xpose.model.prompting.clip import ClipTextEncoder, ClipVisualPromptEncoder
from xpose.model.prompting.nano import NanoTextEncoder

__all__ = ["ClipTextEncoder", "ClipVisualPromptEncoder", "NanoTextEncoder", "TextEncoder"]


class TextEncoder(Protocol):
    """The interface of text encoders. `encode` can be called from several threads."""

    def encode(self, texts: Sequence[str]) -> Tensor:
        """The embeddings [n, dim] of n texts."""
