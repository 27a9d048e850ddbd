"""A server in a thread of this process, at a free port, and a detector that the tests control."""

from __future__ import annotations

import http.client
import io
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.demo.conftest import counting_detector, png

from xpose.inference import Detector
from xpose.inference.encoded import PreparedImage
from xpose.results import Poses
from xpose.server.app import make_app
from xpose.server.limits import ServerLimits
from xpose.server.running import listen, make_server
from xpose.server.service import Service

PATIENCE = 60.0  # seconds; a busy machine is no fault of the code


class StubDetector:
    """Answers with empty poses, when it may: every call waits for `gate`."""

    def __init__(self, calls: int = 1) -> None:
        self.calls, self.gate, self.batches = calls, threading.Event(), []  # type: ignore[var-annotated]
        self.entered = threading.Semaphore(0)
        self.fails: set[int] = set()  # heights of pictures that cannot be searched

    def side_by_side(self) -> tuple[StubDetector, int]:
        return self, self.calls

    def detect(self, images: Sequence[PreparedImage], **_: Any) -> list[Poses]:
        self.entered.release()
        assert self.gate.wait(PATIENCE)
        self.batches.append([image.size for image in images])
        if self.fails & {image.size[0] for image in images}:
            raise RuntimeError("no")
        return [Poses.empty(image.size) for image in images]


def prepared(height: int = 8, width: int = 8) -> PreparedImage:
    values = np.zeros((3, height, width), np.float32)
    return PreparedImage(values, (height, width), (height, width), (0, 0, width, height), None)


@dataclass
class Site:
    """A served application."""

    port: int
    service: Service
    server: Any

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON and headers of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            content, fields = answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()
        json_type = fields.get("content-type", "").startswith("application/json")
        return answer.status, json.loads(content) if json_type else content.decode(), fields

    def post(self, path: str, values: object, **headers: str) -> tuple[int, Any]:
        status, answer, _ = self.ask("POST", path, json.dumps(values).encode(), content_type=JSON, **headers)
        return status, answer

    def form(self, path: str, parts: Sequence[tuple[str, bytes]]) -> tuple[int, Any]:
        status, answer, _ = self.ask("POST", path, multipart(parts), content_type=MULTIPART)
        return status, answer


JSON, MULTIPART = "application/json", "multipart/form-data; boundary=xx"


def multipart(parts: Sequence[tuple[str, bytes]]) -> bytes:
    """A form; fields called image and example are files."""
    lines = []
    for name, content in parts:
        file = '; filename="../../etc/passwd"' if name in ("image", "example") else ""
        lines.append(b'--xx\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n' % (name.encode(), file.encode()))
        lines.append(content + b"\r\n")
    return b"".join(lines) + b"--xx--\r\n"


@contextmanager
def served(
    detector: Detector,
    limits: ServerLimits,
    keys: Sequence[str] = (),
) -> Iterator[Site]:
    started = threading.Event()
    service = Service(detector, limits)
    door = listen("127.0.0.1", 0)
    server = make_server(make_app(service, keys=keys), limits.receive_seconds, PATIENCE, started.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
    service.warm_up()
    thread.start()
    try:
        assert started.wait(PATIENCE)
        site = Site(door.getsockname()[1], service, server)
        yield site
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        door.close()
    assert not thread.is_alive()


LIMITS = ServerLimits(
    body_bytes=3_000_000,
    pixels=300_000,
    pictures=3,
    classes=3,
    words=40,
    points=50,
    queue=4,
    banks=2,
    receive_seconds=1.0,
)
KEYS = ["first-key-0123456789", "second-key-0123456789"]


@pytest.fixture(scope="session")
def tiny() -> Detector:
    """A tiny network that detects something everywhere."""
    return counting_detector()[0]


@pytest.fixture(scope="session")
def site(tiny: Detector) -> Iterator[Site]:
    with served(tiny, LIMITS) as running:
        yield running


def file_of(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


__all__ = [
    "JSON",
    "KEYS",
    "LIMITS",
    "MULTIPART",
    "Site",
    "StubDetector",
    "file_of",
    "multipart",
    "png",
    "prepared",
    "served",
]
