"""Any form of prompt, as users write it, to a list with one prompt per class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xpose.errors import PromptError, quote
from xpose.prompts.prompt import CombinedPrompt, TextPrompt, VisualPrompt


def as_prompts(prompts: object) -> list[Any]:
    """Any form of prompt as a list of classes: "person, horse", one prompt, or a list of prompts and texts.

    Entries of a prompt bank pass through as they are.

    Raises:
        PromptError: no class, or something that is no prompt.
    """
    if isinstance(prompts, str):
        words = [part.strip() for part in prompts.split(",")]
        if not any(words):
            raise PromptError(
                f'The prompt is {quote(prompts)}. It must name what to look for. Write "horse" or "person, horse".'
            )
        return [TextPrompt(word) for word in words if word]
    if isinstance(prompts, (TextPrompt, VisualPrompt, CombinedPrompt)) or hasattr(prompts, "object_token"):
        return [prompts]
    if isinstance(prompts, Iterable) and not isinstance(prompts, (bytes, Mapping)):
        result = [single for entry in prompts for single in as_prompts(entry)]
        if result:
            return result
        raise PromptError('The list of prompts is empty. Name at least one class, e.g. ["horse"].')
    raise PromptError(
        f"A {type(prompts).__name__} is no prompt. Give words, a TextPrompt, a VisualPrompt, or a list of them."
    )


def prompts_from_pairs(objects: Sequence[str], skeletons: Sequence[str] | None) -> list[TextPrompt]:
    """Classes from words and skeletons paired by position, as on the command line: `-t face,hand -k face,hand`.

    Raises:
        PromptError: the counts differ and it is not one skeleton for all.
    """
    if skeletons is None:
        return [TextPrompt(name) for name in objects]
    if len(skeletons) != len(objects):
        raise PromptError(
            f"Got {len(objects)} object(s) ({', '.join(objects)}) and {len(skeletons)} skeleton(s) "
            f"({', '.join(skeletons)}). They are paired by position, so the counts must be equal. "
            "Leave the skeletons out to take each object's own."
        )
    return [TextPrompt(name, skeleton=skeleton) for name, skeleton in zip(objects, skeletons, strict=True)]
