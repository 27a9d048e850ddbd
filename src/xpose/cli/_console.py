"""The output of all commands: results on standard output, messages on standard error.

Colours appear only on a terminal, and never with `NO_COLOR`. Without a terminal, lines are not wrapped, so that `grep`
and `diff` see whole messages.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Collection, Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

WIDTH_OFF_TERMINAL = 120
FINE, FAILURE, INTERRUPTED = 0, 1, 130


_settings = {"quiet": False, "debug": False}


def reset() -> None:
    """Reset the flags that an earlier command in the same process has set."""
    _settings.update(quiet=False, debug=False)


def be_quiet(value: bool) -> None:
    """Print only results and errors from now on (False does not reset an earlier True)."""
    _settings["quiet"] |= value


def is_quiet() -> bool:
    """Whether only results and errors are printed."""
    return _settings["quiet"]


def be_debugging(value: bool) -> None:
    """Print tracebacks from now on (False does not reset an earlier True)."""
    _settings["debug"] |= value


def debugging() -> bool:
    """Whether tracebacks are printed, because of `--debug` or `XPOSE_DEBUG`."""
    return _settings["debug"] or os.environ.get("XPOSE_DEBUG", "") not in ("", "0")


def console(stream: IO[str] | None = None) -> Console:
    """A rich console on standard output (or `stream`); plain if that is not a terminal."""
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
    """Print a result (such as a string or a rich table) on standard output."""
    console().print(content, markup=False, soft_wrap=isinstance(content, str))


def show_json(content: Any) -> None:
    """Print a result as JSON on standard output; NaN is an error, because JSON does not support it."""
    print(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[str] = (), footer: int = 0
) -> Table:
    """A table without a frame; `right` names right-aligned columns, the last `footer` rows follow a line."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    content = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in columns:
        content.add_column(Text(title), justify="right" if title in right else "left", overflow="fold")
    cells = list(rows)
    for number, row in enumerate(cells, start=1):
        content.add_row(*map(Text, row), end_section=bool(footer) and number == len(cells) - footer)
    return content


def facts(rows: Iterable[tuple[str, str | Text]]) -> Table:
    """A table of labels and values without a header."""
    from rich.table import Table

    content = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    content.add_column(style="bold", no_wrap=True)
    content.add_column(overflow="fold")
    for row in rows:
        content.add_row(*row)
    return content


def note(message: str) -> None:
    """Print a message on standard error, unless `--quiet` is set."""
    if not _settings["quiet"]:
        console(sys.stderr).print(message, markup=False, soft_wrap=True)


def fail(message: str) -> None:
    """Print an error on standard error."""
    _labelled("Error:", "bold red", message)


def interrupted() -> int:
    """Acknowledge Ctrl-C and return the exit code."""
    print("Interrupted.", file=sys.stderr)
    return INTERRUPTED


def output_closed() -> int:
    """Discard the remaining output after its reader has closed the pipe (`| head`), and return the exit code.

    It counts as a failure, because the remaining work has not been done.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())  # otherwise the interpreter's final flush would fail again
    os.close(null)
    return FAILURE


def show_warnings_briefly() -> None:
    """Print warnings for users on one line, without file and line number; other warnings are unchanged."""
    from xpose.errors import XPoseWarning

    before = warnings.showwarning

    def brief(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
        if not issubclass(category, XPoseWarning):
            before(message, category, *place, **options)
        elif not _settings["quiet"]:
            _labelled("Warning:", "bold yellow", str(message))

    warnings.showwarning = brief


def _labelled(label: str, style: str, message: str) -> None:
    from rich.text import Text

    console(sys.stderr).print(Text.assemble((label, style), " ", message), soft_wrap=True)
