"""`xpose serve`: from the command to an answer to SIGTERM, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path

import pytest
from tests.cli.test_demo import GUARDED
from tests.server.conftest import LIMITS, MULTIPART, PATIENCE, multipart, png, served

import xpose
from xpose.client import Client, SavedPrompts, ServerError
from xpose.prompts import TextPrompt

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


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--replicas", "2"), 2, "only for --engine ray"),
        (("--gpus", "1"), 2, "only for --engine ray"),
        (("--engine", "ray", "--replicas", "0"), 2, "MIN:MAX"),
        (("--engine", "ray", "--replicas", "3:2"), 2, "MIN:MAX"),
        (("--engine", "ray", "--demo"), 1, "Omit one of them"),
    ],
)
def test_options_of_ray_that_make_no_sense(run: Run, words: tuple[str, ...], code: int, told: str) -> None:
    result, _, err = run("serve", *words)
    assert result == code
    assert told in err


def test_replicas_on_ray_answer_as_the_plain_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray.serve", reason="SKIPPED: xpose serve --engine ray is not tested without the extra ray")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as in a replica, because the last bits depend on it
    words = [sys.executable, "-m", "xpose", "serve", "--engine", "ray", "--replicas", "2", "--port", "0"]
    with subprocess.Popen(
        words, text=True, cwd=tmp_path, env={**os.environ, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE
    ) as process:
        try:
            found = next(filter(None, (re.search(r"http://127\.0\.0\.1:(\d+)", line) for line in process.stdout)))
            check_replicas(found[0])
            check_that_begun_requests_are_finished(process, found[0], int(found[1]))
        finally:
            process.terminate()  # not kill, which would leave Ray's processes behind


def check_replicas(address: str) -> None:
    """Every replica answers as the plain server does, also about a bank that was posted to one of them."""
    replicas, leaf = Client(address), TextPrompt("leaf", keypoints=["tip", "stalk"])
    with served(xpose.load(), LIMITS) as site:
        expected = Client(site.address).detect(png(), "dog, cat", best=True).to_dict()
    saved, of_leaf = replicas.save_prompts(leaf), replicas.detect(png(), leaf, best=True).to_dict()
    counts: list[str] = []
    for _ in range(30):  # until both replicas have answered
        assert replicas.detect(png(), "dog, cat", best=True).to_dict() == expected
        assert replicas.detect(png(), saved, best=True).to_dict() == of_leaf
        with urllib.request.urlopen(f"{address}/metrics", timeout=PATIENCE) as answer:
            counts = re.findall(r'requests_total{replica="(\w+)",route="/v1/detect"', answer.read().decode())
        if len(counts) == 2:
            break
    assert len(set(counts)) == 2
    with pytest.raises(ServerError, match="no prompt bank") as refused:
        replicas.detect(png(), SavedPrompts("0" * 32, ()))
    assert refused.value.status == 404


def check_that_begun_requests_are_finished(process: subprocess.Popen[str], address: str, port: int) -> None:
    body = multipart([("image", png()), ("prompts", b'[{"object": "dog"}]')])
    head = f"POST /v1/detect HTTP/1.1\r\nHost: a\r\nContent-Type: {MULTIPART}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as begun:
        begun.sendall(head.encode() + body[:10])
        Client(address).models()  # by now, what was sent before is read
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        begun.sendall(body[10:])
        answer = HTTPResponse(begun)
        answer.begin()
        assert (answer.status, len(json.load(answer)["results"])) == (200, 1)
    assert process.wait(PATIENCE) == 0
