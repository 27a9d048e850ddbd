"""`xpose serve`: from the command to an answer to SIGTERM, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.test_demo import GUARDED
from tests.server.conftest import png

from xpose.client import Client, ServerError

Run = Callable[..., tuple[int, str, str]]


def test_keys_and_an_open_page_exclude_each_other(run: Run, weights: str, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("0123456789abcdef\n")
    code, _, err = run("serve", "-p", weights, "--demo", "--keys", str(tmp_path / "keys"))
    assert code == 1
    assert "would protect nothing" in err


@pytest.mark.parametrize("package", ["fastapi", "prometheus_client"])
def test_without_its_packages_the_extra_is_named(
    run: Run, weights: str, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = run("serve", "-p", weights, "--port", "0")
    assert code == 1
    assert 'pip install "xpose[serve]"' in err


def test_from_the_command_to_an_answer_to_the_end(weights: str, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("0123456789abcdef\n")
    words = [sys.executable, "-c", GUARDED, "serve", "-p", weights, "--port", "0", "--keys", str(tmp_path / "keys")]
    settings = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, text=True, env=settings, **pipes) as process:
        try:
            found = next(filter(None, (re.search(r"http://127\.0\.0\.1:\d+/", line) for line in process.stdout)))
            client = Client(found[0], key="0123456789abcdef")
            assert client.detect(png(), "dog", best=True).categories[0] == "dog"
            with pytest.raises(ServerError, match="no valid API key"):
                Client(found[0], key="0123456789abcdee").models()
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0
        finally:
            process.kill()
    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert [line["status"] for line in lines] == [200, 401]
    assert "FOREIGN" not in out
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]
