"""What all commands print through: results on standard output, everything said beside them on standard error.

Colours appear only on a terminal and never with `NO_COLOR`. Off a terminal no line is folded, so that `grep` and
`diff` see whole messages.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WIDTH_OFF_TERMINAL = 120

FINE, FAILURE, USAGE, INTERRUPTED = 0, 1, 2, 130


@dataclass
class _Settings:
    quiet: bool = False
    debug: bool = False


_settings = _Settings()


def reset() -> None:
    """Forget the flags of an earlier command of the same process."""
    _settings.quiet = _settings.debug = False


def be_quiet(wanted: bool) -> None:
    """Print only results and errors from here on (an unset flag never takes an earlier one back)."""
    _settings.quiet = _settings.quiet or wanted


def is_quiet() -> bool:
    """Whether only results and errors are wanted."""
    return _settings.quiet


def be_debugging(wanted: bool) -> None:
    """Print tracebacks from here on."""
    _settings.debug = _settings.debug or wanted


def debugging() -> bool:
    """Whether tracebacks are wanted: `--debug` or a set `XPOSE_DEBUG`."""
    return _settings.debug or os.environ.get("XPOSE_DEBUG", "") not in ("", "0")


def console(stream: IO[str] | None = None) -> Console:
    """A rich console on standard output (or `stream`), plain where that is not a terminal."""
    from rich.console import Console

    stream = stream or sys.stdout
    terminal = stream.isatty()
    return Console(
        file=stream,
        force_terminal=terminal,
        no_color=True if "NO_COLOR" in os.environ or not terminal else None,
        width=None if terminal else WIDTH_OFF_TERMINAL,
        highlight=False,
        emoji=False,
    )


def show(content: RenderableType) -> None:
    """Print a result (a string, or a rich table and the like) on standard output."""
    console().print(content, markup=False, soft_wrap=isinstance(content, str))


def show_json(content: Any) -> None:
    """Print a result as JSON and nothing else on standard output; NaN is refused, as JSON has none."""
    print(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))


def note(message: str) -> None:
    """Say something beside the results, on standard error; `--quiet` drops it."""
    if not _settings.quiet:
        console(sys.stderr).print(message, markup=False, soft_wrap=True)


def fail(message: str) -> None:
    """Say on standard error why the command stops."""
    _labelled("Error:", "bold red", message)


def interrupted() -> int:
    """Acknowledge Ctrl-C; the exit code for it."""
    print("Interrupted.", file=sys.stderr)
    return INTERRUPTED


def output_closed() -> int:
    """The reader of our output has gone (`| head`): send the rest nowhere; the exit code for it.

    It counts as a failure, because work that was still to be done has not been done.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())  # else the interpreter's last flush would fail once more, loudly
    os.close(nowhere)
    return FAILURE


def show_warnings_briefly() -> None:
    """Print the warnings meant for users as one line without file and line number; leave all others as they are."""
    from xpose.errors import XPoseWarning

    before = warnings.showwarning

    def brief(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if not issubclass(category, XPoseWarning):
            before(message, category, *rest, **more)
        elif not _settings.quiet:
            _labelled("Warning:", "bold yellow", str(message))

    warnings.showwarning = brief


def _labelled(label: str, style: str, message: str) -> None:
    from rich.text import Text

    console(sys.stderr).print(Text.assemble((label, style), " ", message), soft_wrap=True)
