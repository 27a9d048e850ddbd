"""What the server answers: detection equal to the detector's, banks, keys, limits, and hostile requests."""

from __future__ import annotations

import base64
import io
import json
import logging
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.server.conftest import JSON, KEYS, LIMITS, MULTIPART, Site, file_of, multipart, png, served

from xpose.errors import ConfigError
from xpose.inference import Detector
from xpose.prompts import TextPrompt, VisualPrompt
from xpose.server.app import LOG, read_keys

PICTURE = png()
ENCODED = base64.b64encode(PICTURE).decode()
DOG = {"object": "dog", "keypoints": ["nose", "tail"]}
WORDS = TextPrompt("dog", keypoints=["nose", "tail"])
EXAMPLE = {"name": "thing", "examples": [{"image": 0, "keypoints": {"tip": [20, 30], "end": [60, 50]}}]}


def prompts(*entries: object) -> tuple[str, bytes]:
    return "prompts", json.dumps(entries).encode()


def test_answers_are_those_of_the_detector_in_both_kinds_of_body(site: Site, tiny: Detector):
    expected = tiny.detect(PICTURE, WORDS).to_dict()
    assert expected["poses"]
    status, answer = site.form("/v1/detect", [("image", PICTURE), ("image", png(1)), prompts(DOG)])
    assert (status, answer["results"]) == (200, [expected, tiny.detect(png(1), WORDS).to_dict()])
    body = {"images": [ENCODED, f"data:image/png;base64,{ENCODED}"], "prompts": [[DOG], [DOG | {"object": "cat"}]]}
    status, answer = site.post("/v1/detect", body | {"options": {"max_instances": 1}})
    assert status == 200
    assert [result["classes"][0]["category"] for result in answer["results"]] == ["dog", "cat"]
    assert [len(result["poses"]) for result in answer["results"]] == [1, 1]


def test_examples_and_banks_find_what_the_detector_finds(site: Site, tiny: Detector):
    visual = VisualPrompt(np.asarray(Image.open(io.BytesIO(png(5)))), {"tip": (20, 30), "end": (60, 50)}, name="thing")
    expected = tiny.detect(PICTURE, [visual, WORDS]).to_dict()
    parts = [("image", PICTURE), ("example", png(5))]
    assert site.form("/v1/detect", [*parts, prompts(EXAMPLE, DOG)]) == (200, {"results": [expected]})
    status, bank = site.form("/v1/prompts", [("example", png(5)), prompts(EXAMPLE, DOG)])
    assert status == 200
    assert bank["classes"] == [{"object": "thing", "keypoints": ["tip", "end"]}, DOG]
    assert site.form("/v1/prompts", [("example", png(5)), prompts(EXAMPLE, DOG)]) == (200, bank)
    assert site.form("/v1/detect", [parts[0], prompts({"bank": bank["id"]})]) == (200, {"results": [expected]})
    only = {"bank": bank["id"], "classes": ["dog"]}
    assert site.form("/v1/detect", [parts[0], prompts(only)])[1]["results"] == [tiny.detect(PICTURE, WORDS).to_dict()]
    for word in ("cat", "cow"):  # two newer banks; the oldest one is forgotten
        assert site.post("/v1/prompts", {"prompts": [DOG | {"object": word}]})[0] == 200
    status, answer = site.form("/v1/detect", [parts[0], prompts({"bank": bank["id"]})])
    assert status == 404
    assert "/v1/prompts" in answer["detail"]


def test_requests_at_once_get_their_own_answers_or_429(site: Site, tiny: Detector):
    pictures = [png(seed) for seed in range(12)]
    expected = [tiny.detect(picture, WORDS).to_dict() for picture in pictures]
    with ThreadPoolExecutor(12) as pool:
        answers = [*pool.map(lambda picture: site.form("/v1/detect", [("image", picture), prompts(DOG)]), pictures)]
    assert {status for status, _ in answers} <= {200, 429}
    for (status, answer), result in zip(answers, expected, strict=True):
        assert status == 429 or answer["results"] == [result]
    assert site.service.batcher.open == 0


def test_what_there_is_to_know(site: Site, monkeypatch: pytest.MonkeyPatch):
    _, answer, headers = site.ask("GET", "/v1/models")
    assert answer["models"][0]["name"] == "tiny"
    assert headers["x-request-id"]
    skeletons = site.ask("GET", "/v1/skeletons")[1]["skeletons"]
    assert {"person", "face"} <= {entry["name"] for entry in skeletons}
    assert site.ask("GET", "/healthz")[:2] == (200, {"status": "alive"})
    assert site.ask("GET", "/readyz")[:2] == (200, {"status": "ready"})
    monkeypatch.setattr(site.service, "ready", False)
    assert site.ask("GET", "/readyz")[0] == 503
    text = site.ask("GET", "/metrics")[1]
    for stage in ("receive", "prompts", "pictures", "wait", "network"):
        assert f'xpose_stage_seconds_count{{stage="{stage}"}}' in text
    site.ask("GET", "/any/path")
    assert "/any/path" not in site.ask("GET", "/metrics")[1]


def bomb(width: int, height: int) -> bytes:
    """A PNG file that claims to be large."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(10_000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def images(*contents: bytes) -> list[tuple[str, bytes]]:
    return [("image", content) for content in contents]


def searching(**changes: object) -> bytes:
    return json.dumps({"images": [ENCODED], "prompts": [DOG], **changes}).encode()


def shown(**changes: object) -> bytes:
    """A request with an example picture."""
    return searching(prompts=[{"name": "a", "examples": [{"image": ENCODED, "keypoints": {"a": [1, 2]}, **changes}]}])


JPEG = file_of(np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8), "JPEG")
GIF_WITH_SCRIPT = b"GIF89a/*" + b"\x00" * 20 + b"*/=alert(1);<script>PK\x03\x04"
HOSTILE = {
    "bomb": (413, 422, multipart([*images(bomb(60_000, 60_000)), prompts(DOG)]), MULTIPART, "pixels; at most"),
    "large picture": (422, 422, multipart([*images(bomb(1000, 400)), prompts(DOG)]), MULTIPART, "300,000"),
    "truncated": (422, 422, multipart([*images(JPEG[:900]), prompts(DOG)]), MULTIPART, "damaged or cut short"),
    "polyglot": (422, 422, multipart([*images(GIF_WITH_SCRIPT), prompts(DOG)]), MULTIPART, "picture"),
    "svg": (422, 422, multipart([*images(b"<svg onload='x'/>"), prompts(DOG)]), MULTIPART, "not a picture"),
    "postscript": (422, 422, multipart([*images(b"%!PS-Adobe-3.0 EPSF-3.0\n"), prompts(DOG)]), MULTIPART, "not a pict"),
    "empty": (422, 422, multipart([*images(b""), prompts(DOG)]), MULTIPART, "empty"),
    "no picture": (422, 422, multipart([prompts(DOG)]), MULTIPART, "no picture"),
    "many pictures": (422, 422, multipart([*images(*[PICTURE] * 4), prompts(DOG)]), MULTIPART, "4 pictures"),
    "many fields": (400, 400, multipart([("a", b"1")] * 50), MULTIPART, "Too many"),
    "twice": (422, 422, multipart([*images(PICTURE), prompts(DOG), prompts(DOG)]), MULTIPART, "twice"),
    "no boundary": (400, 400, multipart(images(PICTURE)), "multipart/form-data", "cannot be read"),
    "torn form": (400, 422, multipart([*images(PICTURE), prompts(DOG)])[:-40], MULTIPART, ""),
    "noise form": (400, 400, bytes(range(256)) * 9, MULTIPART, "cannot be read"),
    "wrong type": (415, 415, searching(), "text/plain", "text/plain"),
    "urlencoded": (415, 415, b"prompts=a", "application/x-www-form-urlencoded", "Send application/json"),
    "large body": (413, 413, b"x" * 3_100_000, JSON, "larger than 3 MB"),
    "words": (422, 422, searching(prompts=[{"object": "a", "keypoints": ["x"] * 10_000}]), JSON, "10,001 words"),
    "points": (413, 413, shown(keypoints={f"p{n}": [1, 2] for n in range(100_000)}), JSON, "values"),
    "many points": (422, 422, shown(keypoints={f"p{n}": [1, 2] for n in range(51)}), JSON, "5"),
    "prompts": (422, 422, searching(prompts=[DOG] * 4), JSON, "4 prompts"),
    "NaN": (400, 400, shown(keypoints={"a": [float("nan"), 1]}), JSON, "NaN is not a number"),
    "infinite": (400, 400, shown(keypoints={"a": [1, 2]}).replace(b"[1, 2]", b"[1e999, 2]"), JSON, "too large"),
    "huge integer": (400, 400, searching(deadline=10**400), JSON, "too large"),
    "endless integer": (400, 400, b'{"deadline": ' + b"9" * 5000 + b"}", JSON, "JSON"),
    "deep": (400, 400, b"[" * 200_000, JSON, "nested"),
    "deep object": (400, 400, b'{"a":' * 50 + b"1" + b"}" * 50, JSON, "nested"),
    "wide": (413, 413, b"[" + b"[]," * 110_000 + b"[]]", JSON, "values"),
    "not JSON": (400, 400, b"{prompts: dog}", JSON, "not valid JSON"),
    "not UTF-8": (400, 400, b'{"a": "\xff\xfe"}', JSON, "not valid JSON"),
    "surrogate": (400, 400, b'{"prompts": [{"object": "\\ud800"}]}', JSON, "half of a character"),
    "a name twice": (400, 400, b'{"prompts": [], "prompts": []}', JSON, "twice"),
    "a list": (422, 422, b"[]", JSON, "JSON object"),
    "no prompts": (422, 422, json.dumps({"images": [ENCODED]}).encode(), JSON, "prompts"),
    "typo": (422, 422, searching(promts=[]), JSON, 'Did you mean "prompts"'),
    "path as picture": (422, 422, searching(images=["/etc/passwd.png"]), JSON, "base64"),
    "address as picture": (422, 422, searching(images=["http://169.254.169.254/latest"]), JSON, "base64"),
    "address as example": (422, 422, shown(image="file:///etc/passwd"), JSON, "base64"),
    "path as skeleton": (422, 422, searching(prompts=[{"object": "a", "skeleton": "/etc/a.toml"}]), JSON, "skeleton"),
    "number as skeleton": (422, 422, searching(prompts=[{"object": "a", "skeleton": {}}]), JSON, "skeleton"),
    "path as bank": (404, 404, searching(prompts=[{"bank": "../../etc/passwd"}]), JSON, "no prompt bank"),
    "unknown example": (422, 422, shown(image=3), JSON, '"example"'),
    "no object": (422, 422, searching(prompts=[{}]), JSON, "names neither"),
    "unknown object": (422, 422, searching(prompts=[{"object": "dgo"}]), JSON, 'or "dog"'),
    "null": (422, 422, searching(prompts=[None]), JSON, "Prompt 1"),
    "null as deadline": (422, 422, searching(deadline=None), JSON, '"deadline" of the body is null'),
    "null as threshold": (422, 422, searching(options={"threshold": None}), JSON, '"threshold" of options is null'),
    "null in a form": (422, 422, multipart([*images(png()), ("prompts", b"null")]), MULTIPART, "is null"),
    "false as options": (422, 422, searching(options=False), JSON, '"options" is'),
    "object as word": (422, 422, searching(prompts=[{"object": {"a": 1}}]), JSON, "object"),
    "long word": (422, 422, searching(prompts=[{"object": "a" * 9000, "keypoints": ["b"]}]), JSON, "Shorten"),
    "lists of prompts": (422, 422, searching(prompts=[[DOG], [DOG]]), JSON, "1 pictures and 2 lists"),
    "equal names": (422, 422, searching(prompts=[DOG, DOG]), JSON, "more than once"),
    "threshold": (422, 422, searching(options={"threshold": 7}), JSON, "from 0 to 1"),
    "threshold by class": (422, 422, searching(options={"threshold": {"dog": "x"}}), JSON, "from 0 to 1"),
    "instances": (422, 422, searching(options={"max_instances": 10**9}), JSON, "max_instances"),
    "region": (422, 422, searching(options={"region": [0, 0, 1, 1]}), JSON, "Unknown field"),
    "deadline": (422, 422, searching(deadline=-1), JSON, "deadline"),
    "short deadline": (422, 422, searching(deadline=1e-9), JSON, "from 1 to"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_requests_get_one_clear_sentence_and_the_next_request_works(site: Site, name: str):
    least, most, body, content_type, words = HOSTILE[name]
    status, answer, _ = site.ask("POST", "/v1/detect", body, content_type=content_type)
    assert status in (least, most), answer
    assert words in answer["detail"], answer
    assert len(answer["detail"]) < 400
    assert "\n" not in answer["detail"]
    assert "Traceback" not in answer["detail"]
    assert site.ask("POST", "/v1/detect", searching(), content_type=JSON)[0] == 200
    assert site.service.batcher.open == 0


def test_only_requests_with_a_key_are_answered(tiny: Detector):
    with served(tiny, LIMITS, KEYS) as guarded:
        for header in ({}, {"authorization": "Bearer wrong-key"}, {"authorization": f"Basic {KEYS[0]}"}):
            status, answer, headers = guarded.ask("GET", "/v1/models", **header)
            assert (status, headers["www-authenticate"]) == (401, "Bearer")
            assert "Authorization: Bearer KEY" in answer["detail"]
        for key in KEYS:
            assert guarded.ask("GET", "/v1/models", authorization=f"Bearer {key}")[0] == 200
        assert guarded.ask("GET", "/healthz")[0] == 200
        assert guarded.ask("GET", "/openapi.json")[1]["paths"]["/v1/detect"]["post"]["security"] == [{"key": []}]


def test_keys_are_read_from_a_file(tmp_path: Path):
    file = tmp_path / "keys.txt"
    file.write_text(f"# of the backend\n{KEYS[0]}\n\n  {KEYS[1]}  \n")
    assert read_keys(file) == KEYS
    for content, message in (("# none\n", "no API key"), ("short\n", "shorter than 16")):
        file.write_text(content)
        with pytest.raises(ConfigError, match=message):
            read_keys(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_keys(tmp_path / "nowhere")


def test_the_log_has_a_line_for_each_request_without_its_content(site: Site, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, LOG.name):
        site.post("/v1/detect", {"images": [ENCODED], "prompts": [DOG | {"object": "secret thing"}]})
        site.ask("GET", "/secret path".replace(" ", "-"))
        site.ask("GET", "/healthz")
    lines = [json.loads(record.getMessage()) for record in caplog.records]
    assert [(line["route"], line["status"], line["pictures"]) for line in lines] == [
        ("/v1/detect", 200, 1),
        ("other", 404, 0),
    ]
    assert "secret" not in caplog.text
    assert ENCODED[:40] not in caplog.text


def test_an_unexpected_error_is_logged_without_content_and_answered(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    def fail() -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(site.service, "models", fail)
    status, answer, headers = site.ask("GET", "/v1/models")
    assert site.ask("GET", "/healthz")[0] == 200  # by then, the line is written
    assert status == 500
    assert headers["x-request-id"] in answer["detail"]
    (line,) = [json.loads(record.getMessage()) for record in caplog.records if record.levelno == logging.ERROR]
    assert line["error"] == "ZeroDivisionError"
    assert line["places"][-1].startswith("test_app.py:")
    assert "secret" not in caplog.text
