"""Without any network: the commands work, and nothing even tries to reach one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.cli.conftest import make_picture, write_json

# A class, because others derive from it when they are imported; whoever makes one, or looks up a name, is written down.
PROGRAM = """
import socket, sys, traceback

attempts = []

class Blocked(socket.socket):
    def __init__(self, *arguments, **options):
        attempts.append("".join(traceback.format_stack(limit=8)))
        raise OSError("no network in this test")

def blocked(*arguments, **options):
    attempts.append("".join(traceback.format_stack(limit=8)))
    raise OSError("no network in this test")

socket.socket = Blocked
socket.create_connection = socket.getaddrinfo = blocked

from xpose import cli

for line in sys.stdin.read().splitlines():
    code = cli.main(line.split(" "))
    print("ENDED", code, line, flush=True)
    print("ATTEMPTS", len(attempts), *attempts, flush=True)
"""


def run_offline(commands: list[str], folder: Path) -> str:
    # No variable tells the libraries to stay offline: the code itself must not try.
    environment = {k: v for k, v in os.environ.items() if "OFFLINE" not in k and not k.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input="\n".join(commands),
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment | {"HF_HOME": str(folder / "empty cache")},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def attempts(out: str) -> int:
    """The attempts to reach a network until the end of the output."""
    return int(out.rpartition("ATTEMPTS ")[2].split()[0])


def test_commands_need_no_network(tmp_path: Path, weights: str, clip_weights: Path) -> None:
    make_picture(tmp_path / "a.png")
    write_json(tmp_path / "a.json", {"tip": [20, 20], "stalk": [40, 30]})
    write_json(tmp_path / "nose.json", {"nose": [20, 20]})
    commands = [
        f"detect a.png -t wren -p {weights}",
        # No word of the table, so that the sentence encoder itself runs.
        f"detect a.png -t zyzzogeton --keypoints none -p {weights} --json",
        f"detect a.png --like a.png --points a.json -p {weights}",
        f"count a.png -t dog,cat -p {weights}",
        f"prompt save birds.safetensors -t wren -p {weights}",
        "prompt show birds.safetensors",
        f"detect a.png --bank birds.safetensors -p {weights}",
        f"detect a.png -t wren -k animal --like a.png --points nose.json -p {clip_weights}",
        "models",
        "models --json",
        "skeletons",
        "skeletons face",
    ]
    # The counterpart: the name of a hub does make an attempt, it is seen, and the user gets a message.
    hub = "detect a.png -t wren -p nobody/nothing"
    out = run_offline([*commands, hub], tmp_path)
    before, _, after = out.partition(f"ENDED 1 {hub}")
    for command in commands:
        assert f"ENDED 0 {command}" in before
    assert attempts(before) == 0, out
    assert attempts(after) > 0, out
