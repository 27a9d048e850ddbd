"""Slow clients, and addresses that cannot be used."""

from __future__ import annotations

import json
import socket
from http.client import HTTPResponse

import pytest
from tests.server.conftest import PATIENCE, Site

from xpose.errors import ConfigError
from xpose.server.running import listen


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        (b"", "header"),
        (b"POST /v1/detect HTTP/1.1\r\nHost: a\r\nX-Slow:", "header"),
        (b"POST /v1/detect HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{", "body"),
    ],
)
def test_slow_clients_are_disconnected_with_a_sentence(site: Site, sent: bytes, detail: str):
    with socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE) as slow:
        slow.sendall(sent)
        answer = HTTPResponse(slow)
        answer.begin()
        body = answer.read()
    assert answer.status == 408
    assert f"The {detail}" in json.loads(body)["detail"]
    assert site.ask("GET", "/readyz")[0] == 200


def test_an_address_that_cannot_be_used_is_an_error():
    with listen("127.0.0.1", 0) as door, pytest.raises(ConfigError, match="Try another --port"):
        listen("127.0.0.1", door.getsockname()[1])
