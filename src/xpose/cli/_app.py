"""The typer application behind `xpose`: commands are imported on demand, and share common flags."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from xpose.cli import _console

HELP = """Detect the keypoints of any object in pictures.

Name the object and its keypoints in words, show them in an example picture, or do both.
"""
EPILOG = "For help on a command, run xpose COMMAND --help. In a bug report, please include the output of xpose check."

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"]}


def _print_version(value: bool) -> None:
    if value:
        from xpose import __version__

        print(f"xpose {__version__}")
        raise typer.Exit


_FLAG: Any = {"expose_value": False}  # the callbacks use the values, not the commands
_DEBUG = "Show the full traceback of an error (or set XPOSE_DEBUG=1)."
QUIET = typer.Option("--quiet", "-q", callback=_console.be_quiet, help="Print only results and errors.", **_FLAG)
DEBUG = typer.Option("--debug", callback=_console.be_debugging, help=_DEBUG, **_FLAG)
VERSION = typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.", **_FLAG)


class _Group(typer.core.TyperGroup):
    """The top group; it handles Ctrl-C and a closed pipe before typer assigns its own exit codes."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise SystemExit(_console.interrupted()) from None
        except BrokenPipeError:
            raise SystemExit(_console.output_closed()) from None


def build(targets: Mapping[str, str]) -> Any:
    """The click command for a table of name -> "module:function" (or "module:app" for a group of commands)."""
    app = typer.Typer(
        cls=_Group,
        help=HELP,
        epilog=EPILOG,
        add_completion=False,
        rich_markup_mode="markdown",
        no_args_is_help=True,
        context_settings=CONTEXT,
    )

    @app.callback()
    def xpose(
        quiet: Annotated[bool, QUIET] = False,
        debug: Annotated[bool, DEBUG] = False,
        version: Annotated[bool, VERSION] = False,
    ) -> None:
        pass

    for name, target in targets.items():
        module, attribute = target.split(":")
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    root = typer.main.get_command(app)
    _add_flags(root, [flag for flag in root.params if flag.name in ("quiet", "debug")])
    return root


def _add_flags(command: Any, flags: list[Any]) -> None:
    """Accept the flags after a command as well as before it."""
    names = {parameter.name for parameter in command.params}
    command.params.extend(flag for flag in flags if flag.name not in names)
    # Typer's help would show `<bool>` next to flags, as if they took a value.
    for parameter in command.get_params(typer.Context(command, **CONTEXT)):
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    for subcommand in getattr(command, "commands", {}).values():
        _add_flags(subcommand, flags)
