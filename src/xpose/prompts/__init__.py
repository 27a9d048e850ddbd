"""What to look for: in words, by example pictures, or both.

Prompts are frozen, checked when they are made, and know nothing of devices or networks. A prompt encoder turns them
into embeddings, and after that nothing can tell the kinds apart.
"""

from __future__ import annotations

from xpose.prompts.lists import as_prompts, prompts_from_pairs
from xpose.prompts.prompt import MOST_SHOTS, CombinedPrompt, Prompt, TextPrompt, VisualPrompt
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
    "prompts_from_pairs",
]
