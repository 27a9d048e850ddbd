"""What makes the words, points and boxes of a prompt valid."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xpose.errors import PromptError, quote

_LONGEST_NAME = 300


def check_words(what: str, words: object, *, needed: bool = False) -> None:
    """Check that `words`, called `what` in errors, is a text with at least one word; None passes unless needed.

    Raises:
        PromptError: it is not.
    """
    if words is None and not needed:
        return
    if not isinstance(words, str) or not words.strip():
        raise PromptError(f"{what} is {quote(repr(words))}. It must be a text with at least one word.")
    if len(words) > _LONGEST_NAME:
        raise PromptError(
            f"{what} is {len(words)} characters long ({quote(words)}). Names have at most {_LONGEST_NAME}. Shorten it."
        )


def check_no_repeats(names: tuple[str, ...]) -> None:
    """Check that no keypoint is named twice.

    Raises:
        PromptError: one is.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PromptError(f"The keypoint {quote(twice[0])} is named more than once. Each may appear once.")


def checked_point(name: str, value: object) -> tuple[float, float, bool]:
    """A keypoint of an example as x, y, visible; an invisible one has no place.

    Raises:
        PromptError: it is neither (x, y) nor (x, y, visible).
    """
    try:
        numbers = list(value)  # type: ignore[call-overload]
        visible = bool(numbers[2]) if len(numbers) > 2 else True
        if len(numbers) not in (2, 3):
            raise ValueError
        if not visible:
            return math.nan, math.nan, False
        x, y = float(numbers[0]), float(numbers[1])
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError
    except (TypeError, ValueError, IndexError):
        raise PromptError(
            f"The point {quote(name)} is {quote(repr(value))}. It must be (x, y) or (x, y, visible) in pixels."
        ) from None
    return x, y, True


def checked_box(value: Sequence[float]) -> tuple[float, float, float, float]:
    """The box of an example as x1, y1, x2, y2.

    Raises:
        PromptError: it is not four finite numbers with a positive area.
    """
    try:
        x1, y1, x2, y2 = (float(v) for v in value)
    except (TypeError, ValueError):
        x1 = y1 = x2 = y2 = math.nan
    if not all(math.isfinite(v) for v in (x1, y1, x2, y2)) or x2 <= x1 or y2 <= y1:
        raise PromptError(
            f"The box is {quote(repr(value))}. It must be x1, y1, x2, y2 in pixels with x1 < x2 and y1 < y2."
        )
    return x1, y1, x2, y2
