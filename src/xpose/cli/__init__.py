"""The `xpose` command: one table of commands, and what every command does with errors, Ctrl-C and closed pipes.

Exit codes: 0 fine, 1 failure, 2 wrong usage, 130 interrupted with Ctrl-C.

Adding a command: write a typer function in a module of its own in this folder, with imports of torch and the like
inside the function, and add one row to `COMMANDS`. Raise a subclass of `xpose.errors.XPoseError` for a mistake of the
user and `typer.Exit(1)` where the results are printed but something in them is wrong.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

__all__ = ["COMMANDS", "main"]

# Command -> "module:function". Only the module of the command that is called gets imported.
COMMANDS = {
    "detect": "xpose.cli.detect:detect",
    "count": "xpose.cli.count:count",
    "prompt": "xpose.cli.prompt:app",
    "demo": "xpose.cli.demo:demo",
    "models": "xpose.cli.models:models",
    "skeletons": "xpose.cli.skeletons:skeletons",
    "data": "xpose.cli.data:app",
    "train": "xpose.cli.train:train",
    "finetune": "xpose.cli.finetune:finetune",
    "eval": "xpose.cli.eval:evaluate",
    "calibrate": "xpose.cli.calibrate:calibrate",
    "compare": "xpose.cli.compare:compare",
    "convert": "xpose.cli.convert:convert",
    "check": "xpose.cli.check:check",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; `argv` without the program's name, `sys.argv` if left out."""
    from xpose.cli import _console

    try:
        return _run(sys.argv[1:] if argv is None else list(argv))
    except KeyboardInterrupt:
        return _console.interrupted()
    except BrokenPipeError:
        return _console.output_closed()
    except Exception as error:
        return _report(error)


def _run(argv: list[str]) -> int:
    from xpose.cli import _app, _console

    _console.reset()
    # Flags that stand before the command take no values, so the first other word is the command.
    called = next((word for word in argv if not word.startswith("-")), None)
    targets = {called: COMMANDS[called]} if called in COMMANDS else COMMANDS
    try:
        with warnings.catch_warnings():
            _console.show_warnings_briefly()
            # Typer ends by itself (usage errors in colour, exit code 2), always through SystemExit.
            _app.build(targets).main(args=argv, prog_name="xpose")
    except SystemExit as stop:
        sys.stdout.flush()  # here, where a closed pipe can still be reported
        return stop.code if isinstance(stop.code, int) else _console.FINE if stop.code is None else _console.FAILURE
    return _console.FINE


def _report(error: Exception) -> int:
    """Say on standard error what went wrong: a mistake in one message, a bug with the way to report it."""
    from pathlib import Path

    from xpose.cli import _console
    from xpose.errors import XPoseError, quote

    if _console.debugging():
        import traceback

        traceback.print_exception(error)
    if isinstance(error, XPoseError):
        message = str(error)
    elif isinstance(error, MemoryError):
        message = "The machine ran out of memory. Close other programs, or use a smaller picture or batch."
    elif isinstance(error, OSError) and error.strerror:
        place = f"{quote(Path(str(error.filename)))}: " if error.filename is not None else ""
        message = f"{place}{error.strerror}. Check the path, its permissions and the free disk space."
    else:
        message = (
            f"xpose met a fault of its own: {type(error).__name__}: {error}\n"
            "This is a bug, not a mistake of yours. Please report it with what `xpose check` prints; the same command "
            "with XPOSE_DEBUG=1 set shows where it happened."
        )
    _console.fail(message)
    return _console.FAILURE
