"""What the server answers, without a browser: private addresses, limits, closed doors, nothing left on the disk."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.demo.conftest import png
from tests.demo.site import LIMITS, Site, is_here, no_other_host, served

from xpose.demo.server import POLICY, address_of, listen
from xpose.errors import ConfigError


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        with served() as found:
            yield found


@pytest.fixture
def key(site: Site) -> str:
    return site.desk.sessions.open().key


def test_the_page_names_no_other_host_to_load_from(site: Site):
    status, body, headers = site.get("")
    assert status == 200
    assert headers["content-security-policy"] == POLICY
    text = body.decode()
    loaded = re.findall(r"""<(?:script|link|img|iframe)[^>]*?(?:src|href)=["']([^"']+)""", text)
    assert loaded
    assert [address for address in loaded if re.match(r"(https?:)?//", address)] == []
    assert "fonts.g" not in text
    config = json.loads(re.search(r"window\.gradio_config = (\{.*?\});</script>", text, re.DOTALL)[1])  # type: ignore[index]
    assert config["analytics_enabled"] is False
    assert config["stylesheets"] == []


def test_the_policy_allows_this_host_only():
    assert "default-src 'self'" in POLICY
    assert not re.search(r"https?:|\*", POLICY)


def test_an_upload_is_shown_and_nothing_is_on_the_disk(site: Site, key: str):
    status, said = site.post(f"xpose/{key}/upload/text", png(), X_Name="caf%C3%A9.png")
    assert status == 200
    status, body, headers = site.get(f"xpose/{key}/picture/{said['id']}")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert body.startswith(b"\xff\xd8")
    assert "private" in headers["cache-control"]
    assert [upload.name for upload in site.desk.sessions.get(key).uploads()] == ["café.png"]
    assert [path for path in Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*") if path.is_file()] == []


def test_nobody_else_gets_a_picture(site: Site, key: str):
    _, said = site.post(f"xpose/{key}/upload/text", png(), X_Name="a.png")
    other = site.desk.sessions.open().key
    assert site.get(f"xpose/{other}/picture/{said['id']}")[0] == 404
    assert site.get(f"xpose/guessed/picture/{said['id']}")[0] == 410


@pytest.mark.parametrize(
    ("slot", "name", "data", "message"),
    [
        ("text", "notes.txt", b"hello", "not a picture"),
        ("text", "a.png", b"", "empty file"),
        ("text", "long.png", b"x" * (LIMITS.file_bytes + 1), "larger than 0.3 MB"),
        ("nowhere", "a.png", png(), "no place"),
        ("bank", "fake.safetensors", b"x" * 100, "cannot be read as a prompt bank"),
    ],
)
def test_what_is_refused_says_why(site: Site, key: str, slot: str, name: str, data: bytes, message: str):
    status, said = site.post(f"xpose/{key}/upload/{slot}", data, X_Name=name)
    assert status == 422
    assert message in said["message"]
    assert str(Path(os.environ.get("TMPDIR", "/tmp")) / "xpose-") not in said["message"]


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_unpacked(site: Site, key: str, tmp_path: Path):
    Image.new("1", (3000, 3000)).save(tmp_path / "huge.png")
    status, said = site.post(f"xpose/{key}/upload/text", (tmp_path / "huge.png").read_bytes(), X_Name="huge.png")
    assert status == 422
    assert "3000 x 3000 pixels" in said["message"]


def test_only_so_many_pictures_at_a_time(site: Site, key: str):
    for number in range(LIMITS.batch_files):
        assert site.post(f"xpose/{key}/upload/batch", png(number), X_Name="a.png", X_Number=str(number))[0] == 200
    status, said = site.post(f"xpose/{key}/upload/batch", png(), X_Name="b.png", X_Number="9")
    assert status == 422
    assert "at most 6 pictures" in said["message"]
    assert site.post(f"xpose/{key}/upload/batch", png(), X_Name="b.png", X_Number="0")[0] == 200  # a new choice


def test_an_unknown_page_uploads_nothing(site: Site):
    status, said = site.post("xpose/guessed/upload/text", png(), X_Name="a.png")
    assert status == 410
    assert "Reload the page" in said["message"]


def test_downloads_are_there_after_a_run(site: Site, key: str):
    assert site.get(f"xpose/{key}/file/text/poses.csv")[0] == 404
    site.post(f"xpose/{key}/upload/text", png(), X_Name="a.png")
    site.desk.run_words(key, "dog", None, "")
    for name, start in (("drawing.png", b"\x89PNG"), ("poses.json", b"{"), ("poses.csv", b"picture,")):
        status, body, headers = site.get(f"xpose/{key}/file/text/{name}")
        assert (status, body.startswith(start)) == (200, True), name
        assert headers["content-disposition"] == f'attachment; filename="{name}"'
    for wrong in ("text/secrets", "batch/poses.csv", "visual/prompts.safetensors", "..%2Fx/poses.csv"):
        assert site.get(f"xpose/{key}/file/{wrong}")[0] == 404


def test_clicks_are_answered_with_the_pad(site: Site, key: str):
    _, said = site.post(f"xpose/{key}/upload/example", png(), X_Name="a.png")
    site.desk.examples_arrived(key, {"arrived": [said["id"]]})
    status, said = site.post(f"xpose/{key}/act", json.dumps({"kind": "place", "x": 5, "y": 6}).encode())
    assert status == 200
    assert 'data-name="point 1"' in said["html"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1]", b"\xff", b"[" * 5000, b'{"kind": NaN}', b'"place"', b'{"kind":"' + b"x" * 20_000 + b'"}'],
)
def test_clicks_that_are_none_are_messages(site: Site, key: str, body: bytes):
    status, said = site.post(f"xpose/{key}/act", body)
    assert status == 200
    assert "does not exist" in said["html"]
    assert "xp-pad" in said["html"]


def test_a_forgotten_page_is_told_to_reload(site: Site):
    assert "Reload the page" in site.post("xpose/guessed/act", b'{"kind": "undo"}')[1]["html"]
    assert "Reload the page" in json.loads(site.get("xpose/guessed/batch")[1])["html"]


def test_a_page_that_is_left_is_noticed(site: Site, key: str):
    assert site.post(f"xpose/{key}/close", b"")[0] == 204
    assert site.desk.sessions._open[key].closed is not None


@pytest.mark.parametrize(
    "path", ["gradio_api/upload", "gradio_api/proxy=http://example.com/x", "gradio_api/file=/etc/passwd", "docs"]
)
def test_doors_that_the_page_does_not_use_are_shut(site: Site, path: str):
    assert site.get(path)[0] == 404
    assert site.post(path, b"x")[0] in (404, 405)


def test_a_port_that_is_taken_is_an_error_only_if_it_was_asked_for():
    with listen("127.0.0.1", 0) as door:
        taken = door.getsockname()[1]
        with pytest.raises(ConfigError, match=r"--port 0"):
            listen("127.0.0.1", taken)
    with pytest.raises(ConfigError, match="one of this machine") as refused:
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
