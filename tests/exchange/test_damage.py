"""Damaged and hostile files of every format end in a clear error, and never write outside the output folder."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.exchange.test_converting import READABLE, coco, in_format  # noqa: F401 (a fixture)

from xpose.errors import XPoseError
from xpose.exchange import convert_labels

TEXTS = ("{}", "[]", "null", "7", '"a"', "[[[", "[" * 100_000, "NaN", "\x00\x01", "a,b\n1,2\n", "<a/>")
BOMB = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10 if i else "x" * 100}">' for i in range(12))
ENTITIES = f'<?xml version="1.0"?><!DOCTYPE a [{BOMB}]><annotations><image id="0" name="&a11;"/></annotations>'


class Danger:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def zip_bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(1 << 22))
    return stream.getvalue()


def damages(data: bytes) -> Iterator[bytes]:
    """The content of files that are not what they should be."""
    yield from (data[: len(data) * part // 7] for part in range(7))
    yield from (text.encode() for text in (*TEXTS, ENTITIES))
    yield from (pickle.dumps(Danger()), zip_bomb(), bytes(1000), b"\x89HDF\r\n\x1a\n" + bytes(2000))
    if data[:1] in (b"{", b"["):
        yield from _wrong_values(json.loads(data))
    if data.isascii() or not data.startswith((b"\x89", b"PAR1")):
        for bad in (b"nan", b"1e999", b"-7", b"x", b""):
            yield data.replace(b"0.5", bad).replace(b"7", bad)
        yield data.replace(b"walk/", b"../../../").replace(b"img", b"/../")
        yield data.replace(b"\n", b"\n\n\xff", 2)


def _wrong_values(content: object) -> Iterator[bytes]:
    """The JSON with one value of each key exchanged for something else."""
    keys: dict[str, tuple[dict, object]] = {}

    def collect(value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                keys.setdefault(key, (value, inner))
                collect(inner)
        elif isinstance(value, list):
            for inner in value[:3]:
                collect(inner)

    collect(content)
    for key, (owner, value) in keys.items():
        for wrong in (None, "x", [], {}, float("nan"), 1e300):
            owner[key] = wrong
            yield json.dumps(content).encode()
        owner[key] = value


@pytest.mark.filterwarnings("ignore::xpose.errors.XPoseWarning")
@pytest.mark.parametrize("name", READABLE)
def test_damage_ends_in_a_clear_error(name: str, coco: Path, tmp_path: Path, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr("os.fsync", lambda _: None)
    source = in_format(coco, name)
    file = sorted(source.rglob("*.json"))[0] if source.is_dir() else source
    data = file.read_bytes()
    folder = tmp_path / "deep" / "er" / "out"
    outside = {path for path in tmp_path.rglob("*") if folder not in path.parents}
    pictures = coco.parent / "images" if name == "csv" else None
    refused = 0
    for content in damages(data):
        file.write_bytes(content)
        message, done = "", None
        try:
            done = convert_labels(source, folder, "json", name, pictures=pictures)
        except XPoseError as error:
            message = str(error)
        if done is None:
            refused += 1
            assert ". " in message or message.endswith("."), f"no sentence: {message}"
            continue
        assert all(folder in path.resolve().parents for path in done.files)
    assert refused >= 15
    assert {path for path in tmp_path.rglob("*") if folder not in path.parents} - outside <= {folder, *folder.parents}


def test_huge_declarations_are_refused(tmp_path: Path) -> None:
    """A file of a few kilobytes that unpacks to more than memory."""
    h5py, numpy = pytest.importorskip("h5py"), pytest.importorskip("numpy")
    for name, match in (("a.nwb", "declares 8 GiB"), ("a.slp", "declares 8 GiB")):
        with h5py.File(tmp_path / name, "w") as file:
            file.create_dataset("points", shape=(1 << 30,), dtype=numpy.float64, chunks=(1 << 20,), compression="gzip")
        with pytest.raises(XPoseError, match=match):
            convert_labels(tmp_path / name, tmp_path / "out.csv", "csv")


def test_tables_larger_than_the_limit_are_refused(coco: Path, monkeypatch) -> None:  # noqa: F811
    source = in_format(coco, "parquet")
    monkeypatch.setattr("xpose.results.formats.csv.MAX_BYTES", 1000)
    with pytest.raises(XPoseError, match="At most 0 are read"):
        convert_labels(source, source.with_suffix(".csv"), "csv")
