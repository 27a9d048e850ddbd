"""The errors that a user can see, and the style of their messages.

Every message has three parts: the value that was found, the rule it breaks, and the remedy::

    Unknown skeleton "humann". Did you mean "human"? List them with: xpose skeletons

`ValueError` with the same style is fine inside the library for a plain wrong argument; these classes exist so that
the command line and the demo can tell a user's mistake (a message and an exit code) from a bug (a traceback).
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import PurePath


class XPoseError(Exception):
    """Base of every error that a user can cause and correct."""


class PromptError(XPoseError, ValueError):
    """An invalid prompt: unknown names, no keypoints, or a text that is too long."""


class VocabularyError(PromptError, KeyError):
    """A skeleton, category or keypoint name that is not in the vocabulary."""

    __str__ = Exception.__str__  # KeyError would print the repr, with quotes


class ImageError(XPoseError, ValueError):
    """A picture that cannot be read, or that breaks a limit."""


class CheckpointError(XPoseError, ValueError):
    """A weight file that is missing, damaged, unsafe or for another network."""


class DataError(XPoseError, ValueError):
    """An annotation file or dataset folder that breaks its format."""


class SplitError(DataError):
    """A split that a folder of labelled pictures lacks."""


class UnmappedKeypointError(DataError):
    """A keypoint of an original that no table maps to a unified name; it stops a build and is not dropped silently."""


class ConfigError(XPoseError, ValueError):
    """One or more invalid settings; the message lists them all."""


class TrainingError(XPoseError, RuntimeError):
    """A training run that cannot continue: non-finite numbers, or targets that do not fit their prompts."""


class MissingExtraError(XPoseError, ImportError):
    """A missing optional dependency of the requested feature."""


class XPoseWarning(UserWarning):
    """Something the user should know that does not stop the work."""


class WordWarning(XPoseWarning):
    """A word of a prompt that the weights have never learned, or that may be misspelt."""


def quote(value: object) -> str:
    """The value for a message: in double quotes, shortened to 80 characters unless it is a path."""
    text = str(value)
    whole = len(text) <= 80 or isinstance(value, PurePath)  # the end of a path distinguishes files
    return f'"{text if whole else text[:77] + "..."}"'


def did_you_mean(value: str, known: Iterable[str], limit: int = 3) -> str:
    """` Did you mean "a" or "b"?` (with a leading blank) for the near matches of `value`, or an empty string."""
    by_fold = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(value.casefold(), list(by_fold), n=limit, cutoff=0.6)
    if not near:
        return ""
    return f" Did you mean {' or '.join(quote(by_fold[name]) for name in near)}?"


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """A number with its noun, as in "1 step" and "2,000 steps"; `plural` is for nouns that need more than an s."""
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"


def first_line(error: Exception) -> str:
    """The first line of another library's error message, shortened; its type if there is none."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


def memory_errors() -> tuple[type[Exception], ...]:
    """The errors that mean that memory ran out, in Python and in PyTorch if it is in use."""
    torch = sys.modules.get("torch")
    return (MemoryError,) if torch is None else (MemoryError, torch.OutOfMemoryError)


def unknown(kind: str, value: str, known: Iterable[str], way_out: str) -> VocabularyError:
    """The standard error for a name that is not in a list."""
    return VocabularyError(f"Unknown {kind} {quote(value)}.{did_you_mean(value, known)} {way_out}")


def missing_extra(feature: str, package: str, extra: str) -> MissingExtraError:
    """The standard error for an optional dependency that is not installed."""
    return MissingExtraError(
        f"{feature} needs the package {quote(package)}, which is not installed. "
        f'Install it with: pip install "xpose[{extra}]"'
    )


def out_of_range(settings: object, low: float, *names: str, high: float = math.inf, whole: bool = False) -> list[str]:
    """A sentence for each of the named settings that is neither None nor a finite number from `low` to `high`."""
    kind = "a whole number" if whole else "a number"
    rule = f"{kind} from {low:g} up" if high == math.inf else f"{kind} from {low:g} to {high:g}"
    values = {name: getattr(settings, name) for name in names}
    return [
        f"{name} is {value}, not {rule}"
        for name, value in values.items()
        if value is not None
        and not (low <= value <= high and math.isfinite(value) and (not whole or isinstance(value, int)))
    ]


def refuse(what: str, faults: Sequence[str]) -> None:
    """Raise a ConfigError with all faults of the settings, one per line, if there are any."""
    if faults:
        raise ConfigError(f"{what} not fit:\n  " + "\n  ".join(faults))
