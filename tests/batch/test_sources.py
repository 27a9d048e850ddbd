"""All kinds of sources give the same pictures; hostile and damaged ones give failed pictures, and nothing else."""

from __future__ import annotations

import os
import struct
import tarfile
import zlib
from pathlib import Path

import pytest
from tests.batch.conftest import COUNT, DAMAGED, make_parquet, make_tar, ordered
from tests.batch.fake import run_all
from tests.cli.conftest import make_picture

from xpose.batch import places, reading
from xpose.batch.listing import Entry, list_entries
from xpose.batch.plan import Plan
from xpose.errors import ConfigError, ImageError, MissingExtraError

parquet = pytest.importorskip("pyarrow.parquet", reason="batch runs need the extra batch")


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "WAITS", (0.0, 0.0))


def rows(out: Path) -> list[tuple]:
    """What was found in the pictures, in their order, without their names."""
    table = parquet.read_table(out / "shards").to_pylist()
    return [tuple(value for name, value in row.items() if name not in ("picture", "error")) for row in table]


def listed(*words: object, every: int = 1, column: str | None = None) -> list[Entry]:
    return [*list_entries([str(word) for word in words], every, column, Path("/nowhere"))]


@pytest.fixture(scope="module")
def expected(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple]:
    out = tmp_path_factory.mktemp("expected")
    folder = run_all([str(pictures)], out)
    assert (folder.total("pictures"), folder.total("failed")) == (COUNT, len(DAMAGED))
    return rows(out)


def as_memory(pictures: Path, folder: Path) -> list[str]:
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    system.rm("/photos", recursive=True) if system.exists("/photos") else None
    for path in ordered(pictures):
        system.pipe_file(f"/photos/{path.relative_to(pictures)}", path.read_bytes())
    system.pipe_file("/photos/.hidden.png", b"")
    return ["memory://photos"]


def as_remote_tar(pictures: Path, folder: Path) -> list[str]:
    fsspec = pytest.importorskip("fsspec")
    (local,) = as_tar(pictures, folder)
    fsspec.filesystem("memory").pipe_file("/shards/a.tar", Path(local).read_bytes())
    return ["memory://shards/*.tar"]


def as_tar(pictures: Path, folder: Path) -> list[str]:
    members = {"../../evil.json": b"{}", ".hidden.png": b"", "/etc/0.txt": b"0"}
    members |= {f"../../{path.name}": path.read_bytes() for path in ordered(pictures)}
    return [str(make_tar(folder / "a.tar", members))]


def as_list(pictures: Path, folder: Path) -> list[str]:
    lines = ["# pictures", "", *map(str, ordered(pictures))]
    (folder / "photos.txt").write_text("\n".join(lines), encoding="utf-8")
    return [str(folder / "photos.txt")]


SOURCES = {
    "patterns": lambda pictures, folder: [f"{pictures}/*.png", f"{pictures}/sub/*.png"],
    "files": lambda pictures, folder: [str(path) for path in ordered(pictures)],
    "list": as_list,
    "tar": as_tar,
    "parquet": lambda pictures, folder: [
        str(make_parquet(folder / "a.parquet", [path.read_bytes() for path in ordered(pictures)]))
    ],
    "hugging face": lambda pictures, folder: [
        str(make_parquet(folder / "a.parquet", [path.read_bytes() for path in ordered(pictures)], nested=True))
    ],
    "memory": as_memory,
    "remote tar": as_remote_tar,
    "twice": lambda pictures, folder: [str(pictures), f"{pictures}/sub"],
}


@pytest.mark.parametrize("kind", SOURCES)
def test_all_sources_give_the_same_rows(kind: str, pictures: Path, expected: list[tuple], tmp_path: Path) -> None:
    words = SOURCES[kind](pictures, tmp_path)
    folder = run_all(words, tmp_path / "out")
    assert rows(tmp_path / "out") == expected
    assert (folder.total("pictures"), folder.total("failed")) == (COUNT, len(DAMAGED))
    keys = [entry.key for shard in range(folder.plan.shards) for entry in folder.plan.entries(shard)]
    assert len(set(keys)) == COUNT
    assert not (tmp_path / "evil.json").exists()


def test_frames_of_videos(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="videos need the extra video")
    from tests.video.clips import make_clip

    clip = make_clip(tmp_path / "clip.mp4", 20)
    folder = run_all([str(clip)], tmp_path / "all", size=7)
    assert (folder.total("pictures"), folder.total("failed")) == (20, 0)
    third = run_all([str(clip)], tmp_path / "third", every=3)
    assert [entry.at for entry in third.plan.entries(0)] == [0, 3, 6, 9, 12]
    table = parquet.read_table(tmp_path / "all" / "shards").to_pylist()
    of_third = parquet.read_table(tmp_path / "third" / "shards").to_pylist()
    assert [row for row in table if int(row["picture"].rpartition("#")[2]) % 3 == 0] == of_third
    pytest.importorskip("fsspec").filesystem("memory").pipe_file("/clips/clip.mp4", clip.read_bytes())
    run_all(["memory://clips"], tmp_path / "remote", size=7)
    assert rows(tmp_path / "remote") == rows(tmp_path / "all")


def test_text_lists_take_any_file(pictures: Path, tmp_path: Path) -> None:
    make_parquet(tmp_path / "a.parquet", [b"", b""])
    (tmp_path / "all.txt").write_text(f"{tmp_path}/a.parquet\nmemory://x/photo?id=3\n", encoding="utf-8")
    entries = listed(tmp_path / "all.txt")
    assert [(entry.kind, entry.at) for entry in entries] == [("parquet", 0), ("parquet", 1), ("file", 0)]


def test_files_are_sorted_naturally_and_the_folder_of_results_is_no_input(tmp_path: Path) -> None:
    for name in ("10.jpg", "9.jpg", ".hidden.jpg", "notes.md", "b/1.jpg", "a/2.jpg", "out/x.jpg", ".git/x.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    entries = list_entries([str(tmp_path)], 1, None, tmp_path / "out")
    assert [Path(entry.key).relative_to(tmp_path).as_posix() for entry in entries] == [
        "9.jpg",
        "10.jpg",
        "a/2.jpg",
        "b/1.jpg",
    ]


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    try:
        make_picture(tmp_path / name)
    except OSError:
        pytest.skip("this file system has no such names")
    folder = run_all([str(tmp_path)], tmp_path / "out")
    assert (folder.total("pictures"), folder.total("failed")) == (1, 0)
    assert "caf\\udce9.png" in parquet.read_table(tmp_path / "out" / "shards")["picture"][0].as_py()


@pytest.mark.parametrize("cut", [0, 100, 700, 2000])
def test_damaged_containers_are_failed_pictures(cut: int, tmp_path: Path) -> None:
    whole = make_tar(tmp_path / "whole.tar", {f"{n}.png": bytes([n]) * 600 for n in range(3)}).read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[:cut])
    *entries, last = listed(tmp_path / "a.tar")
    assert last.kind == "unreadable"
    assert len(entries) <= 2
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + bytes(cut) + b"PAR1")
    (entry,) = listed(tmp_path / "a.parquet")
    assert entry.error is not None
    assert entry.error.startswith("It cannot be listed")


def test_what_follows_a_damaged_header_is_not_lost_silently(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", {f"{n}.png": bytes([n]) * 600 for n in range(3)})
    data = bytearray(path.read_bytes())
    data[1536:1600] = b"x" * 64  # the header of the second member
    path.write_bytes(data)
    entries = listed(path)
    assert [entry.kind for entry in entries] == ["tar", "unreadable"]
    assert "no part of a tar file" in str(entries[1].error)


def test_links_and_names_that_occur_twice_in_a_tar_file(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", {"a.png": b"first"})
    with tarfile.open(path, "a") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo("link.png")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        tar.addfile(tarfile.TarInfo("a.png"))
    first, second = listed(path)
    assert reading.read(first) == b"first"
    assert second.key == f"{first.key}@{second.at}"


def bomb(width: int, height: int) -> bytes:
    """A PNG file that claims to be huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def test_bombs_and_other_hostile_pictures_fail_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MOST_BYTES", 1 << 20)
    contents = {"bomb.png": bomb(60_000, 60_000), "large.png": bytes((1 << 20) + 1), "empty.jpg": b"", "no.gif": b"GIF"}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    os.mkfifo(tmp_path / "pipe.png")
    make_picture(tmp_path / "z.png")
    make_parquet(tmp_path / "nulls.parquet", [None, b"x"])
    folder = run_all([str(tmp_path)], tmp_path / "out")
    assert (folder.total("pictures"), folder.total("failed")) == (8, 7)
    errors = folder.failed.read_text()
    for reason in ("at most 200,000,000", "no picture", "no regular file", "The cell is empty", "empty.jpg"):
        assert reason in errors


def test_passing_faults_are_tried_again(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def content(*place: object) -> bytes:
        calls.append(place)
        if len(calls) < 3:
            raise TimeoutError
        return b"data"

    monkeypatch.setattr(reading, "content", content)
    (entry,) = listed(pictures / "0.png")
    assert reading.read(entry) == b"data"
    monkeypatch.setattr(reading, "content", lambda *place: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        reading.read(entry)
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError):
        reading.read(entry._replace(file="/nowhere/x.png"))


@pytest.mark.parametrize(
    ("word", "column", "message"),
    [
        ("missing.png", None, "There is no"),
        ("empty", None, "There are no pictures"),
        ("*.png", None, "There are no pictures"),
        ("a.tar.gz", None, "unpack it"),
        ("two.parquet", None, "choose one with --column"),
        ("two.parquet", "c", 'no column "c" of bytes'),
        ("memory://nowhere/*.png", None, "There are no pictures"),
        ("memory://nowhere/a.png", None, "Check the URL"),
        ("gs1://bucket/a.png", None, "gs1:// URLs cannot be read"),
    ],
)
def test_mistakes_in_sources(word: str, column: str | None, message: str, tmp_path: Path) -> None:
    import pyarrow

    (tmp_path / "empty").mkdir()
    (tmp_path / "a.tar.gz").touch()
    parquet.write_table(pyarrow.table({"a": [b"1"], "b": [b"2"]}), tmp_path / "two.parquet")
    with pytest.raises((ImageError, ConfigError), match=message):
        listed(word if "://" in word else tmp_path / word, column=column)
    assert len(listed(tmp_path / "two.parquet", column="b")) == 1


def test_urls_need_fsspec_and_local_files_do_not(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    places._check_protocol.cache_clear()
    assert len(listed(pictures)) == COUNT
    with pytest.raises(MissingExtraError, match=r"xpose\[batch\]"):
        listed("memory://photos")
    places._check_protocol.cache_clear()


def test_a_plan_is_cut_into_shards_and_read_back(pictures: Path, tmp_path: Path) -> None:
    folder = run_all([str(pictures)], tmp_path)
    plan = Plan(tmp_path / "plan.parquet")
    assert [plan.size(shard) for shard in range(plan.shards)] == [5, 5, 5, 5, 3]
    entries = [entry for shard in range(plan.shards) for entry in plan.entries(shard)]
    assert entries == listed(pictures)
    assert folder.total("pictures") == plan.pictures == COUNT
