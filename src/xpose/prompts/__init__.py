"""What to detect: in words, by example pictures, or both.

Prompts are frozen, checked when they are made, and independent of devices and networks. A prompt encoder turns them
into embeddings; from then on all kinds of prompt are the same.
"""

from __future__ import annotations

from xpose.prompts.prompt import (
    MOST_SHOTS,
    CombinedPrompt,
    Prompt,
    TextPrompt,
    VisualPrompt,
    as_prompts,
    check_unique,
    prompts_from_pairs,
)
from xpose.prompts.prompt_class import ANY_OBJECT, PromptClass

__all__ = [
    "ANY_OBJECT",
    "MOST_SHOTS",
    "CombinedPrompt",
    "Prompt",
    "PromptClass",
    "TextPrompt",
    "VisualPrompt",
    "as_prompts",
    "check_unique",
    "prompts_from_pairs",
]
