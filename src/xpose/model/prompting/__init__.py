"""Prompt encoders: from words or an example picture to the embeddings that the network takes.

| encoder                   | for                                     | width |
|---------------------------|-----------------------------------------|-------|
| `ClipTextEncoder`         | words, checkpoint-compatible networks   | 512   |
| `ClipVisualPromptEncoder` | pictures, checkpoint-compatible networks| 512   |
| `NanoTextEncoder`         | words, `xpose-nano`                     | 400   |

See docs/prompt-encoders.md. CLIP's encoders need torch; `NanoTextEncoder` needs it only for words that are not in its
table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from xpose._lazy import lazy_names

if TYPE_CHECKING:
    import numpy as np

    from xpose.model.prompting.clip import ClipTextEncoder as ClipTextEncoder
    from xpose.model.prompting.clip import ClipVisualPromptEncoder as ClipVisualPromptEncoder
    from xpose.model.prompting.nano import NanoTextEncoder as NanoTextEncoder

__getattr__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(("ClipTextEncoder", "ClipVisualPromptEncoder"), "xpose.model.prompting.clip"),
        "NanoTextEncoder": "xpose.model.prompting.nano",
    },
)


class TextEncoder(Protocol):
    """The interface of text encoders. `encode` can be called from several threads."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """The embeddings [n, dim] of n texts."""
