"""The Python client: the same poses as the detector, retries, and clear errors."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.server.conftest import KEYS, LIMITS, png, served

from xpose import client as client_module
from xpose.client import Client, ServerError
from xpose.errors import ConfigError, ImageError, PromptError
from xpose.inference import Detector
from xpose.prompts import TextPrompt, VisualPrompt
from xpose.vocabulary import load_skeleton

WORDS = TextPrompt("dog", keypoints=["nose", "tail"])


@pytest.fixture(scope="module")
def remote() -> Iterator[tuple[Client, Detector]]:
    from tests.demo.conftest import counting_detector

    detector = counting_detector()[0]
    with served(detector, LIMITS, KEYS) as site:
        yield Client(site.address, key=KEYS[0]), detector


def test_it_detects_what_the_detector_detects(remote: tuple[Client, Detector], tmp_path: Path):
    client, detector = remote
    (tmp_path / "a.png").write_bytes(png())
    pixels = np.asarray(Image.open(io.BytesIO(png())))
    shot = VisualPrompt(pixels, {"nose": (20, 30), "tail": (0, 0, False)}, box=(5, 5, 60, 60))
    for prompts in (WORDS, [WORDS, TextPrompt("cat", "animal")], shot, WORDS + shot, [VisualPrompt(pixels, [(3, 4)])]):
        expected = detector.detect(pixels, prompts).to_dict()
        assert client.detect(tmp_path / "a.png", prompts).to_dict() == expected
        saved = client.save_prompts(prompts)
        assert client.detect(pixels, saved).to_dict() == expected
    several = client.detect([png(), Image.open(io.BytesIO(png(1)))], WORDS, max_instances=2)
    assert [len(poses) for poses in several] == [2, 2]
    assert client.models()[0]["name"] == "tiny"
    assert "face" in {skeleton["name"] for skeleton in client.skeletons()}


def test_refusals_are_errors_with_the_sentence_of_the_server(remote: tuple[Client, Detector]):
    client, _ = remote
    with pytest.raises(ServerError, match='or "dog"') as refused:
        client.detect(png(), "dgo")
    assert refused.value.status == 422
    with pytest.raises(ServerError, match="no valid API key"):
        Client(client.address, key="another").models()


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[Client, list[float]]]]:
    """A client of a server that gives these statuses, one after the other, and the pauses that the client made."""
    servers: list[HTTPServer] = []
    pauses: list[float] = []
    monkeypatch.setattr(client_module.time, "sleep", pauses.append)

    def start(*statuses: int, retries: int = 5) -> tuple[Client, list[float]]:
        left = list(statuses)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status = left.pop(0)
                body = json.dumps({"models": []} if status == 200 else {"detail": f"It is {status}."}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Retry-After", "7")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return Client(f"http://127.0.0.1:{servers[-1].server_port}", retries=retries), pauses

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_it_tries_again_if_the_server_is_busy_and_waits_as_long_as_it_is_told(answering):
    client, pauses = answering(429, 503, 200)
    assert client.models() == []
    assert len(pauses) == 2
    assert min(pauses) >= 7


@pytest.mark.parametrize(("statuses", "tried"), [([429] * 3, 2), ([422], 0), ([500], 0)])
def test_it_gives_up_with_the_sentence_of_the_server(answering, statuses, tried):
    client, pauses = answering(*statuses, retries=2)
    with pytest.raises(ServerError, match=f"It is {statuses[0]}"):
        client.models()
    assert len(pauses) == tried


def test_what_cannot_be_sent_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_module.time, "sleep", lambda _: None)
    with pytest.raises(ConfigError, match="http://"):
        Client("localhost:8000")
    nobody = Client("http://127.0.0.1:9", retries=1)
    with pytest.raises(ServerError, match="does not answer"):
        nobody.models()
    with pytest.raises(ImageError, match="cannot be read"):
        nobody.detect("nowhere.png", "dog")
    with pytest.raises(PromptError, match="cannot know the skeleton"):
        nobody.detect(png(), TextPrompt("dog", load_skeleton("animal")))
