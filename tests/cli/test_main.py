"""What every command shares: exit codes, errors, Ctrl-C, closed pipes, flags, colours.

The commands here are trial ones that only fail in a certain way; they are put into the table of the real program.
"""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from types import ModuleType
from typing import Annotated

import pytest
import typer

from xpose import __version__, cli
from xpose.cli import _console
from xpose.errors import ImageError, VocabularyError

PLAIN = {k: v for k, v in os.environ.items() if k not in {"GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS", "NO_COLOR"}}


@pytest.fixture
def command(monkeypatch):
    """A function that puts another function into the program as the command `trial`."""

    def register(function):
        module = ModuleType("trial_commands")
        module.trial = function
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(cli.COMMANDS, "trial", "trial_commands:trial")

    return register


def raising(error):
    def trial() -> None:
        """Fail."""
        raise error

    return trial


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (ImageError('"a.png" is no picture.'), 1, 'Error: "a.png" is no picture.'),
        (VocabularyError('Unknown skeleton "x".'), 1, 'Error: Unknown skeleton "x".'),
        (
            ImageError("a line that is [red]much[/red] too long to fit " * 5),
            1,
            "[red]much[/red] too long to fit a line",
        ),
        (FileNotFoundError(2, "No such file or directory", "a.png"), 1, 'Error: "a.png": No such file or directory.'),
        (OSError(28, "No space left on device"), 1, "Error: No space left on device. Check"),
        (MemoryError(), 1, "Error: The machine ran out of memory."),
        (ZeroDivisionError("division by zero"), 1, "Internal error: ZeroDivisionError: division by zero"),
        (KeyboardInterrupt(), 130, "Interrupted."),
        (typer.Exit(1), 1, ""),
        (typer.Exit(), 0, ""),
        (SystemExit("text"), 1, ""),
    ],
)
def test_how_a_command_can_end(command, capsys, error, code, expected):
    command(raising(error))
    assert cli.main(["trial"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert expected in err
    assert "Traceback" not in err


def test_a_bug_says_how_to_report_it(command, capsys):
    command(raising(AssertionError("levels do not match")))
    assert cli.main(["trial"]) == 1
    err = capsys.readouterr().err
    assert "This is a bug" in err
    assert "`xpose check`" in err
    assert "XPOSE_DEBUG=1" in err


@pytest.mark.parametrize("arguments", [["trial", "--debug"], ["--debug", "trial"], ["trial"]])
def test_a_traceback_only_when_asked_for(command, capsys, monkeypatch, arguments):
    command(raising(AssertionError("levels do not match")))
    if "--debug" not in arguments:
        monkeypatch.setenv("XPOSE_DEBUG", "1")
    assert cli.main(arguments) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("why", "arguments", "expected"),
    [
        ("no such command", ["trail"], "Did you mean 'trial'"),
        ("no such option", ["trial", "--nubmer"], "No such option"),
        ("a number that is none", ["trial", "seven"], "integer"),
        ("an argument missing", ["trial"], "Missing argument"),
        ("one argument too many", ["trial", "7", "8"], "unexpected extra argument"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_wrong(command, capsys, why, arguments, expected):
    def trial(number: Annotated[int, typer.Argument()]) -> None:
        """Count."""

    command(trial)
    assert cli.main(arguments) == 2, why
    err = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert expected.lower() in err.lower(), why


@pytest.mark.parametrize(
    ("arguments", "quiet"), [(["trial"], False), (["-q", "trial"], True), (["trial", "--quiet"], True)]
)
def test_quiet_leaves_results_alone(command, capsys, arguments, quiet):
    def trial() -> None:
        """Say things."""
        _console.note("Reading the picture")
        _console.show_json({"name": "Käfer", "x": None})

    command(trial)
    assert cli.main(arguments) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"name": "Käfer", "x": None}
    assert err == ("" if quiet else "Reading the picture\n")


def test_json_never_holds_nan(command, capsys):
    command(lambda: _console.show_json({"x": float("nan")}))
    assert cli.main(["trial"]) == 1
    assert capsys.readouterr().out == ""


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"xpose {__version__}\n"


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_has_help_with_the_common_flags(capsys, name):
    assert cli.main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"xpose {name}" in out
    assert out.count("--quiet") == out.count("--debug") == 1
    assert "<bool>" not in out


def test_the_overview_names_every_command(capsys):
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(re.search(rf"^│ {name} +\S", out, re.MULTILINE) for name in cli.COMMANDS)


PROGRAM = """
import sys, time, types, warnings
from xpose import cli
from xpose.errors import XPoseWarning
from xpose.cli import _console

def trial() -> None:
    {body}

sys.modules["trial_commands"] = module = types.ModuleType("trial_commands")
module.trial = trial
cli.COMMANDS["trial"] = "trial_commands:trial"
sys.exit(cli.main(["trial"]))
"""


def start(body, **options):
    program = PROGRAM.format(body=textwrap.indent(body, "    ").strip())
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", program], text=True, env=PLAIN, **(pipes | options))


def test_a_real_ctrl_c_keeps_what_was_printed_and_exits_130():
    process = start("print('first', flush=True)\ntime.sleep(60)")
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=30)
    assert (first + rest, err, process.returncode) == ("first\n", "Interrupted.\n", 130)


@pytest.mark.parametrize("lines", [3, 200_000])
def test_a_reader_that_goes_away_leaves_no_noise(lines):
    """Three lines meet the closed pipe in the last flush, many meet it in the middle of the work."""
    process = start(f"time.sleep(0.2)\nfor i in range({lines}): print('line', i)")
    process.stdout.close()
    err = process.stderr.read()
    assert (process.wait(timeout=60), err) == (1, "")


def test_a_warning_is_one_line_and_needs_no_code():
    body = 'warnings.warn(\'No skeleton for "gnu"; taking "animal".\', XPoseWarning)'
    out, err = start(body).communicate(timeout=60)
    assert (out, err) == ("", 'Warning: No skeleton for "gnu"; taking "animal".\n')


COLOUR = re.compile(r"\x1b\[[0-9;]*?(3[0-9]|9[0-7])[0-9;]*m")


@pytest.mark.parametrize(
    ("terminal", "no_colour", "coloured"), [(False, False, False), (True, False, True), (True, True, False)]
)
def test_colours_only_on_a_terminal_that_wants_them(terminal, no_colour, coloured):
    pty = pytest.importorskip("pty", reason="pseudo-terminals exist on Unix only")
    ours, theirs = pty.openpty()
    environment = PLAIN | {"TERM": "xterm-256color"} | ({"NO_COLOR": "1"} if no_colour else {})
    stream = theirs if terminal else subprocess.PIPE
    for arguments, code in ((["chekc"], 2), (["skeletons", "humann"], 1)):
        process = subprocess.Popen(
            [sys.executable, "-m", "xpose", *arguments], stdout=stream, stderr=stream, env=environment, text=True
        )
        text = "" if terminal else "".join(process.communicate(timeout=60))
        assert process.wait(timeout=60) == code
        if terminal:
            text = os.read(ours, 65536).decode()
        assert "Error" in text
        assert bool(COLOUR.search(text)) == coloured
        assert terminal or "\x1b" not in text
    os.close(ours)
    os.close(theirs)
