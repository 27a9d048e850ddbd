"""The `xpose` command: the table of commands, and the common handling of errors, Ctrl-C and closed pipes.

Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted with Ctrl-C.

To add a command, write a typer function in a new module of this folder, import torch and other slow packages inside the
function, and add one row to `COMMANDS`. Shared options are in `_options.py`. Raise a subclass of
`xpose.errors.XPoseError` for a user error, and `typer.Exit(1)` if results were printed but are incomplete.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

__all__ = ["COMMANDS", "main"]

# Command -> "module:function". Only the module of the called command is imported.
COMMANDS = {
    "detect": "xpose.cli.detect:detect",
    "count": "xpose.cli.count:count",
    "video": "xpose.cli.video:video",
    "batch": "xpose.cli.batch:batch",
    "prompt": "xpose.cli.prompt:app",
    "demo": "xpose.cli.demo:demo",
    "serve": "xpose.cli.serve:serve",
    "label": "xpose.cli.label:label",
    "models": "xpose.cli.models:models",
    "skeletons": "xpose.cli.skeletons:skeletons",
    "data": "xpose.cli.data:app",
    "train": "xpose.cli.train:train",
    "finetune": "xpose.cli.finetune:finetune",
    "eval": "xpose.cli.eval:evaluate",
    "calibrate": "xpose.cli.calibrate:calibrate",
    "compare": "xpose.cli.compare:compare",
    "convert": "xpose.cli.convert:convert",
    "convert-labels": "xpose.cli.convert_labels:convert_labels",
    "export": "xpose.cli.export:export",
    "check": "xpose.cli.check:check",
}

# Packages of the extra "torch", which many modules import at their top.
_OF_TORCH = ("torch", "transformers", "huggingface_hub")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; `argv` excludes the program name and defaults to `sys.argv`."""
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
    # Flags before the command take no values, so the first other word is the command.
    called = next((word for word in argv if not word.startswith("-")), None)
    targets = {called: COMMANDS[called]} if called in COMMANDS else COMMANDS
    try:
        with warnings.catch_warnings():
            _console.show_warnings_briefly()
            # Typer always ends with SystemExit, also after usage errors (exit code 2).
            _app.build(targets).main(args=argv, prog_name="xpose")
    except SystemExit as stop:
        sys.stdout.flush()  # while a closed pipe can still be reported
        return stop.code if isinstance(stop.code, int) else _console.FINE if stop.code is None else _console.FAILURE
    return _console.FINE


def _report(error: Exception) -> int:
    """Print a user error as one message, and any other exception as a bug with instructions for reporting it."""
    from pathlib import Path

    from xpose.cli import _console
    from xpose.errors import XPoseError, missing_extra, quote

    if _console.debugging():
        import traceback

        traceback.print_exception(error)
    if isinstance(error, XPoseError):
        message = str(error)
    elif isinstance(error, ModuleNotFoundError) and error.name in _OF_TORCH:
        message = str(missing_extra("This command", error.name, "torch"))
    elif isinstance(error, MemoryError):
        message = "The machine ran out of memory. Close other programs, or use a smaller picture or batch."
    elif isinstance(error, OSError) and error.strerror:
        place = f"{quote(Path(str(error.filename)))}: " if error.filename is not None else ""
        message = f"{place}{error.strerror}. Check the path, its permissions and the free disk space."
    else:
        message = f"Internal error: {type(error).__name__}: {error}\nThis is a bug in xpose. Please report it with the "
        message += "output of `xpose check`, and the output of this command with XPOSE_DEBUG=1 set."
    _console.fail(message)
    return _console.FAILURE
