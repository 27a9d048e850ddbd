"""Prompts made of words, example pictures, or both.

Prompts are frozen, checked when created, and independent of devices and networks. A prompt encoder turns them
into embeddings; all later steps are the same for every kind.
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
