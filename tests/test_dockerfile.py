"""The Dockerfile copies what exists, installs an extra that exists, and starts a command that exists, without root."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from xpose.cli import COMMANDS

ROOT = Path(__file__).parents[1]


def test_the_image_runs_the_server_without_root():
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text("utf-8"))
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert dict(lines)["FROM"].partition(":")[2] not in ("", "latest")
    assert [value for name, value in lines if name == "ARG"] == ["EXTRAS=serve"]
    assert set(re.findall(r"EXTRAS=([\w,]+)", text)) == {"serve", "serve,torch"}
    assert {"serve", "torch"} <= extras.keys()
    copied = {source for name, value in lines if name == "COPY" for source in value.split()[:-1]}
    assert all((ROOT / source).exists() for source in copied)
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    assert kept == copied
    assert {
        "pyproject.toml",
        "src",
        *tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license-files"],
    } <= copied
    names = [name for name, _ in lines]
    user = dict(lines)["USER"]
    assert user.isdecimal()
    assert int(user) > 0
    assert "RUN" not in names[names.index("USER") :]
    assert "ADD" not in names
    program, command, *_ = json.loads(dict(lines)["ENTRYPOINT"])
    assert program == "xpose"
    assert command in COMMANDS
