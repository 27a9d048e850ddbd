"""What the server answers, without a browser: limits, private files, closed doors."""

from __future__ import annotations

import json
import os
import re
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.demo.conftest import png
from tests.demo.site import LIMITS, Site, is_here, no_other_host, served

import xpose
from xpose.demo.server import POLICY, listen
from xpose.errors import ConfigError
from xpose.serving import address_of


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        with served() as found:
            yield found


def test_the_page_names_no_other_host_to_load_from(site: Site, config: dict[str, Any]):
    status, body, headers = site.get("")
    assert status == 200
    assert headers["content-security-policy"] == POLICY
    text = body.decode()
    loaded = re.findall(r"""<(?:script|link|img|iframe)[^>]*?(?:src|href)=["']([^"']+)""", text)
    assert loaded
    assert [address for address in loaded if re.match(r"(https?:)?//", address)] == []
    assert "fonts.g" not in text
    assert config["analytics_enabled"] is False
    assert config["stylesheets"] == []


def test_the_policy_allows_this_host_only():
    assert "default-src 'self'" in POLICY
    assert not re.search(r"https?:|\*", POLICY)


def post_file(site: Site, name: str, data: bytes) -> tuple[int, bytes]:
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    request = urllib.request.Request(
        site.address + "gradio_api/upload",
        head + data + b"\r\n--x--\r\n",
        {"Content-Type": "multipart/form-data; boundary=x"},
    )
    status, body, _ = site.ask(request)
    return status, body


def test_an_upload_lies_in_the_temporary_folder_under_an_address_that_nobody_can_guess(site: Site):
    status, body = post_file(site, "café.png", png())
    assert status == 200
    (path,) = json.loads(body)
    assert Path(path).is_relative_to(os.environ["GRADIO_TEMP_DIR"])
    assert len(Path(path).parent.name) == 64  # a hash of the content
    assert site.get(f"gradio_api/file={quote(path)}")[1] == png()


def test_a_huge_upload_is_refused_by_the_server(site: Site):
    assert post_file(site, "huge.png", b"x" * (10 * LIMITS.file_bytes + 1))[0] == 413


def test_no_file_of_the_server_is_given(site: Site, tmp_path: Path):
    (tmp_path / "secret.png").write_bytes(png())
    for path in ("/etc/passwd", str(tmp_path / "secret.png"), str(Path(xpose.__file__))):
        assert site.get(f"gradio_api/file={path}")[0] in (403, 404)


@pytest.fixture(scope="module")
def config(site: Site) -> dict[str, Any]:
    """What the page tells the browser about its components and events."""
    text = site.get("")[1].decode()
    return json.loads(re.search(r"window\.gradio_config = (\{.*?\});</script>", text, re.DOTALL)[1])  # type: ignore


def call(site: Site, config: dict[str, Any], handler: str, values: list[object], key: str = "abc") -> tuple[int, bytes]:
    """What a page does on an event, with any values: the first event whose inputs are those of `handler`."""
    parts = {part["id"]: part["props"].get("elem_id") for part in config["components"]}
    index = next(
        event["id"]
        for event in config["dependencies"]
        if [parts.get(place[0]) for place in event["targets"]] == [handler] and not event["queue"]
    )
    body = {"data": values, "fn_index": index, "session_hash": key, "event_data": None}
    request = urllib.request.Request(
        site.address + "gradio_api/run/predict", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    status, answer, _ = site.ask(request)
    return status, answer


def test_a_page_cannot_name_files_of_the_server_as_its_pictures(site: Site, config: dict[str, Any], tmp_path: Path):
    (tmp_path / "secret.png").write_bytes(png())
    file = {"path": str(tmp_path / "secret.png"), "meta": {"_type": "gradio.FileData"}}
    status, answer = call(site, config, "pictures", [[{"image": file, "caption": "secret.png"}]])
    assert status != 200
    assert b"secret" not in answer
    for number in (0, 2):  # the control: events that may be, by words and by an example
        assert call(site, config, "samples", [number], "a page")[0] == 200
    assert "a page" in site.controller.sessions


@pytest.mark.parametrize(
    "path", ["gradio_api/proxy=http://example.com/x", "proxy=http://example.com/x", "gradio_api/stream/a/b/c", "docs"]
)
def test_doors_that_the_page_does_not_use_are_shut(site: Site, path: str):
    assert site.get(path)[0] == 404
    assert site.ask(urllib.request.Request(site.address + path, b"x"))[0] in (404, 405)


def test_a_port_that_is_taken_is_an_error_only_if_it_was_asked_for():
    with listen("127.0.0.1", 0) as door:
        taken = door.getsockname()[1]
        with pytest.raises(ConfigError, match=r"--port 0"):
            listen("127.0.0.1", taken)
    with pytest.raises(ConfigError, match="free one of this machine") as refused:
        listen("192.0.2.1", 0)
    assert "--port" not in str(refused.value), "another port would not help"
    assert "7860" not in str(refused.value)
    with listen("127.0.0.1", None) as first, listen("127.0.0.1", None) as second:
        assert address_of(first) != address_of(second)


@pytest.mark.parametrize(
    ("host", "here"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("8.8.8.8", False), ("x.org", False)]
)
def test_the_guard_of_these_tests_knows_this_machine(host: str, here: bool):
    assert is_here(host) is here


def test_the_guard_of_these_tests_refuses_and_remembers():
    tried: list[str] = []
    with no_other_host(tried), socket.socket() as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        for call in (
            lambda: one.connect(("192.0.2.1", 80)),
            lambda: two.sendto(b"x", ("192.0.2.1", 53)),
            lambda: socket.create_connection(("example.com", 80)),
        ):
            with pytest.raises(OSError, match="forbids"):
                call()
    assert len(tried) == 3
