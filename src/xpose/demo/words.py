"""Prompts from a visitor's words, and the skeleton of the keypoints to detect."""

from __future__ import annotations

import re
from pathlib import PurePath

from xpose.demo.examples import checked_names
from xpose.errors import PromptError, quote
from xpose.prompts import TextPrompt, check_unique, prompts_from_pairs
from xpose.prompts.prompt_class import VOCABULARY, Defaults
from xpose.vocabulary import Skeleton, list_skeletons, load_skeleton
from xpose.vocabulary.reading import build_skeleton

AUTOMATIC = "Automatic"
MOST_OBJECTS, MOST_POINTS = 20, 600  # points of all objects together
_LONGEST_TEXT = 20_000
_FEWER = "Use fewer at a time."


def skeleton_choices() -> list[str]:
    """The choices of the skeleton field."""
    return [AUTOMATIC, *(skeleton.name for skeleton in list_skeletons())]


def split_names(text: object) -> list[str]:
    """Names separated by commas, semicolons or new lines, without empty ones."""
    text = text if isinstance(text, str) else ""
    if len(text) > _LONGEST_TEXT:
        raise PromptError(f"The text has {len(text)} characters; at most {_LONGEST_TEXT} are read. Shorten it.")
    return [" ".join(name.split()) for name in re.split(r"[,;\n]", text) if name.strip()]


def text_prompts(words: object, skeleton: object, names: object, defaults: Defaults = VOCABULARY) -> list[TextPrompt]:
    """One class for each word; PromptError if there are none or too many, or a name is repeated or unknown.

    Entries are separated by commas. `words` are optional if `names` are given; `skeleton` is `AUTOMATIC`, or the names
    of skeletons, one for all words or one for each; `names` are keypoints instead of a skeleton.
    """
    objects, points, skeletons = split_names(words), checked_names(split_names(names)), _skeletons(skeleton)
    if points:
        prompts = prompts_from_pairs(objects, None, points) or [TextPrompt(keypoints=points)]
    elif not objects:
        raise PromptError('The field "Objects" is empty. Enter what to detect, such as horse, or: person, horse')
    else:
        skeletons = skeletons * len(objects) if len(skeletons) == 1 else skeletons
        prompts = prompts_from_pairs(objects, skeletons or None)
    check_unique(prompts)
    if len(prompts) > MOST_OBJECTS:
        raise PromptError(f"These are {len(prompts)} objects. At most {MOST_OBJECTS} can be detected at once. {_FEWER}")
    total = sum(len(prompt.resolve(defaults).names) for prompt in prompts)
    if total > MOST_POINTS:
        raise PromptError(f"These are {total} keypoints. At most {MOST_POINTS} can be detected at once. {_FEWER}")
    return prompts


def text_with_examples(
    words: object, skeleton: object, names: object, clicked: list[str], defaults: Defaults = VOCABULARY
) -> TextPrompt:
    """The word that is combined with examples; by default its keypoints are the clicked ones."""
    if len(split_names(words)) != 1:
        raise PromptError(
            f"There are {len(split_names(words))} objects. Words and examples together describe just one."
        )
    chosen = split_names(names) or _skeletons(skeleton)
    return text_prompts(words, skeleton, names if chosen else ", ".join(clicked), defaults)[0]


def skeleton_for(
    words: object, skeleton: object, names: object, defaults: Defaults = VOCABULARY
) -> tuple[Skeleton, str] | None:
    """The skeleton for the fields, and how it was chosen; None if the fields are empty or name an unknown object."""
    objects, points, skeletons = split_names(words), checked_names(split_names(names)), _skeletons(skeleton)
    if points:
        built, faults = build_skeleton({"name": "own", "title": "Your keypoints", "keypoints": list(points)}, "own")
        if built is None:
            raise PromptError(f"The names make no skeleton: {'; '.join(faults)}. Change them.")
        return built, "your names"
    if skeletons:
        return load_skeleton(skeletons[0]), "chosen by name"
    default = defaults.default_skeleton(objects[0]) if objects else None
    return (default.skeleton, default.reason) if default and default.skeleton.points else None


def _skeletons(field: object) -> list[str]:
    """Skeleton names, none if the choice is automatic; files are refused because the server's files are private."""
    names = [] if field == AUTOMATIC else split_names(field)
    for name in names:
        if name.endswith(".toml") or PurePath(name).name != name:
            raise PromptError(f"{quote(name)} is not the name of a skeleton. The page reads no files of the server.")
    return names
