"""What a visitor typed becomes prompts, and a drawing of the keypoints that will be looked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from xpose.demo.sketch import Sketch, checked_names
from xpose.errors import ConfigError, PromptError, quote
from xpose.prompts import CombinedPrompt, TextPrompt, prompts_from_pairs
from xpose.vocabulary import Skeleton, default_skeleton, list_skeletons, load_skeleton
from xpose.vocabulary.reading import build_skeleton

if TYPE_CHECKING:
    from PIL import Image

AUTOMATIC = "chosen by the words"
OWN = "my own list of names"
MOST_CLASSES = 20
MOST_POINTS = 600  # of all classes together
_LONGEST_TEXT = 20_000


def skeleton_choices() -> list[str]:
    """What the chooser offers: by the words, an own list, and every skeleton by name."""
    return [AUTOMATIC, OWN, *(skeleton.name for skeleton in list_skeletons())]


def split_names(text: object) -> list[str]:
    """Names separated by commas, semicolons or new lines; empty ones are left out.

    Raises:
        PromptError: the text is far too long to be a list of names.
    """
    words = text if isinstance(text, str) else ""
    if len(words) > _LONGEST_TEXT:
        raise PromptError(f"The text is {len(words)} letters long. At most {_LONGEST_TEXT} are read. Shorten it.")
    return [" ".join(name.split()) for name in re.split(r"[,;\n]", words) if name.strip()]


def text_prompts(words: object, skeleton: object, own: object) -> list[TextPrompt]:
    """One class for each word.

    Args:
        words: objects, separated by commas; with own names none are needed.
        skeleton: `AUTOMATIC`, `OWN`, or names of skeletons: one for all words, or one for each, with commas.
        own: names of points, for `OWN`.

    Raises:
        PromptError: nothing to look for, or too much; a name is there twice.
        VocabularyError: there is no such skeleton; near matches are proposed.
    """
    objects = split_names(words)
    chosen = str(skeleton or AUTOMATIC)
    if chosen == OWN:
        points = checked_names(split_names(own))
        if not points:
            raise PromptError(
                "Your list of names is empty. It must name the points to look for. "
                "Type e.g. left eye, right eye, nose, or choose another skeleton."
            )
        asked = [TextPrompt(word, keypoints=points) for word in objects] or [TextPrompt(keypoints=points)]
    elif not objects:
        raise PromptError(
            "The field for words is empty. It must name what to look for. Type e.g. horse, or: person, horse"
        )
    elif chosen == AUTOMATIC:
        asked = [TextPrompt(word) for word in objects]
    else:
        names = [_shipped(name) for name in split_names(chosen)]
        asked = prompts_from_pairs(objects, names * len(objects) if len(names) == 1 else names or None)
    return _checked(asked)


def combined_prompt(
    words: object, skeleton: object, own: object, sketch: Sketch, pixels_of: Callable[[str], Any]
) -> CombinedPrompt:
    """Words and clicked examples together for one class.

    Where no skeleton and no names were chosen, the points that the examples show are looked for.

    Raises:
        PromptError: not just one word, nothing was clicked, or a point that the class does not have.
        VocabularyError: there is no such skeleton.
    """
    objects = split_names(words)
    if len(objects) != 1:
        raise PromptError(
            f"There are {len(objects)} objects in the field for words. Words and example are one class here, so it "
            "names just one. Type e.g. horse; several classes go into the Text tab."
        )
    chosen = str(skeleton or AUTOMATIC)
    if chosen == AUTOMATIC:
        clicked = [name for name in sketch.board.names if any(name in shot.marks for shot in sketch.board.shots)]
        text = TextPrompt(objects[0], keypoints=clicked) if clicked else TextPrompt(objects[0])
    else:
        (text,) = text_prompts(words, skeleton, own)
    prompt = sketch.prompt(pixels_of, None, text)
    assert isinstance(prompt, CombinedPrompt)
    return prompt


def skeleton_for(words: object, skeleton: object, own: object) -> tuple[Skeleton, str]:
    """The skeleton to draw for a choice, and a line that says where it comes from.

    Raises:
        PromptError: a name is unknown, empty or there twice.
    """
    chosen = str(skeleton or AUTOMATIC)
    if chosen == OWN:
        names = checked_names(split_names(own))
        if not names:
            raise PromptError("Your list of names is empty. Type the names of the points, with commas between them.")
        built, faults = build_skeleton({"name": "own", "title": "Your own points", "keypoints": list(names)}, "own")
        if built is None:
            raise PromptError(f"The names make no skeleton: {'; '.join(faults)}. Change them.")
        return built, "your own names"
    if chosen == AUTOMATIC:
        objects = split_names(words)
        if not objects:
            raise PromptError("Type what to look for, and its keypoints are drawn here.")
        found = default_skeleton(objects[0])
        return found.skeleton, found.reason
    name = _shipped(split_names(chosen)[0] if split_names(chosen) else chosen)
    return load_skeleton(name), "chosen by name"


def skeleton_names(name: object) -> tuple[str, ...]:
    """The points of a skeleton, as names to click.

    Raises:
        VocabularyError: there is no such skeleton.
    """
    skeleton = load_skeleton(_shipped(str(name or "")))
    return tuple(point.name for point in skeleton.points if not point.unused)


@lru_cache(maxsize=32)
def draw(skeleton: Skeleton) -> Image.Image:
    """The drawing of a skeleton for the page."""
    from xpose.drawing.skeletons import draw_skeleton

    return draw_skeleton(skeleton)


def _shipped(name: str) -> str:
    """A skeleton's name; never a file, as a visitor has no business with the server's files.

    Raises:
        PromptError: it is a path.
    """
    if name.endswith(".toml") or PurePath(name).name != name:
        raise PromptError(
            f"{quote(name)} is not the name of a skeleton. Files of the server are not read from the page. "
            "Choose one of the list, or type your own names."
        )
    return name


def _checked(asked: list[TextPrompt]) -> list[TextPrompt]:
    labels = [prompt.resolved.label for prompt in asked]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise PromptError(f"{quote(twice)} is asked for more than once. Results go by name. Say it once.")
    points = sum(len(prompt.resolved.names) for prompt in asked)
    if len(asked) > MOST_CLASSES or points > MOST_POINTS:
        raise ConfigError(
            f"{len(asked)} objects with {points} points are asked for. At most {MOST_CLASSES} objects and "
            f"{MOST_POINTS} points go through at once. Ask for some of them at a time."
        )
    return asked
