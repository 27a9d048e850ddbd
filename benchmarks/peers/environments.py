"""Virtual environments for other systems, created once and reused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

# The interpreter of an environment, or the reason why there is none.
Interpreter = Path | str

_MINUTES = 20


def create(
    folder: Path, name: str, requirements: Iterable[str], run: Callable[..., object] = subprocess.run
) -> Interpreter:
    """The interpreter of an environment with these packages; it is created unless it is there."""
    place, wanted = folder / name, "\n".join(requirements)
    python = place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp = place / "installed.txt"
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return python
    print(f"Creating the environment {place} ...", file=sys.stderr, flush=True)
    commands = [
        [sys.executable, "-m", "venv", "--clear", str(place)],
        [str(python), "-m", "pip", "install", "--quiet", *wanted.splitlines()],
    ]
    try:
        for command in commands:
            run(command, check=True, timeout=_MINUTES * 60, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        lines = [line for line in (error.stderr or "").splitlines() if line.startswith("ERROR")]
        return f"{', '.join(wanted.splitlines())} cannot be installed: {' '.join(lines[-1:]) or error}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the environment cannot be created: {error}"
    stamp.write_text(wanted, "utf-8")
    return python


def create_all(folder: Path, environments: Mapping[str, Iterable[str]]) -> dict[str, Interpreter]:
    """The interpreters of all these environments; "" is the one that runs this."""
    made: dict[str, Interpreter] = {"": Path(sys.executable)}
    return made | {name: create(folder, name, requirements) for name, requirements in environments.items()}
