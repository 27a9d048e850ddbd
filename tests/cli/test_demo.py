"""`xpose demo`: starts with the weights that are named, says what to do without any, and asks no other host."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]

# Refuses and prints every connection to another host, then runs the program as usual.
GUARDED = """
import socket, sys
def guard(real):
    def guarded(self, address, *rest):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1"):
            print("FOREIGN", address, flush=True)
            raise OSError("no other host")
        return real(self, address, *rest)
    return guarded
def lookup(host, *rest, real=socket.getaddrinfo, **options):
    if host not in (None, "", "localhost", "127.0.0.1", "0.0.0.0", "::1"):
        print("FOREIGN", host, flush=True)
        raise OSError("no other host")
    return real(host, *rest, **options)
socket.socket.connect = guard(socket.socket.connect)
socket.socket.connect_ex = guard(socket.socket.connect_ex)
socket.getaddrinfo = lookup
from xpose.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_without_weights_it_says_what_to_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpose.model.checkpoints.known.bundled_weights", dict)
    code, _, err = run("demo")
    assert code == 1
    assert "-p" in err
    assert "xpose models" in err


def test_weights_that_are_not_there(run: Run) -> None:
    code, _, err = run("demo", "-p", "nowhere")
    assert code == 1
    assert 'no weights "nowhere"' in err


def test_a_port_that_is_taken(run: Run, weights: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, err = run("demo", "-p", weights, "--port", taken.getsockname()[1])
    assert code == 1
    assert "--port 0" in err


def test_without_gradio_the_extra_is_named(run: Run, weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    code, _, err = run("demo", "-p", weights, "--port", "0")
    assert code == 1
    assert 'pip install "xpose[demo]"' in err


def test_from_the_command_to_the_page_to_ctrl_c(weights: str, tmp_path: Path) -> None:
    words = [sys.executable, "-c", GUARDED, "demo", "-p", weights, "--port", "0"]
    settings = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    settings.pop("GRADIO_ANALYTICS_ENABLED", None)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=settings, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            said = []
            for line in process.stdout:  # ends with the process, at the latest
                said.append(line)
                if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                    break
            else:
                pytest.fail(f"it ended without a page: {said}")
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(found[0], timeout=180) as answer:
                assert answer.status == 200
                assert b"gradio" in answer.read()
            process.send_signal(signal.SIGINT)
            said += process.stdout.readlines()
            assert process.wait(180) == 130
        finally:
            process.kill()
    assert not [line for line in said if "FOREIGN" in line]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("xpose")] == []
