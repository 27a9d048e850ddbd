"""Whatever is killed or fails, and whenever: after the run is continued, its files are those of an undisturbed run."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.batch.conftest import COUNT, DAMAGED
from tests.batch.fake import FakeDetector, folder_of, run_all
from tests.cli.conftest import full_disk

from xpose.batch import results as module
from xpose.batch.results import ResultsFolder
from xpose.batch.runners import run_locally
from xpose.batch.stages import Decode, Detect
from xpose.errors import ConfigError, XPoseError
from xpose.inference.options import DetectionOptions

parquet = pytest.importorskip("pyarrow.parquet", reason="batch runs need the extra batch")
SHARDS = 5
WRITES = SHARDS + 5  # the plan and its draft, the manifest twice, the failed pictures


@pytest.fixture(scope="module")
def undisturbed(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed")
    run_all([str(pictures)], out)
    return files(out)


def files(out: Path) -> dict[str, bytes]:
    """All files of a run, hidden ones too."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def check_complete(out: Path) -> None:
    """Every picture is there once, as the manifest says."""
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["complete"]
    assert manifest["finished"] == {**manifest["finished"], "pictures": COUNT, "failed": len(DAMAGED), "shards": SHARDS}
    table = parquet.read_table(out / "shards").to_pylist()
    assert len({row["picture"] for row in table}) == COUNT
    places = [(row["picture"], row["object"], row["keypoint"]) for row in table]
    assert len(set(places)) == len(places)
    failed = [json.loads(line) for line in (out / "failed.jsonl").read_text().splitlines()]
    assert [Path(row["picture"]).stem for row in failed] == [str(number) for number in DAMAGED]


@pytest.mark.parametrize("seed", range(3))
def test_killing_the_driver_at_random_times(
    seed: int, pictures: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    chance, out, killed = random.Random(seed), tmp_path / "out", 0
    command = [sys.executable, Path(__file__).with_name("fake.py"), pictures, out]
    for _ in range(2):
        process = subprocess.Popen([*command, "0.02"], stderr=subprocess.DEVNULL)
        while not (out / "manifest.json").exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed
    run_all([str(pictures)], out)
    assert files(out) == undisturbed
    check_complete(out)


@settings(max_examples=25)
@given(st.integers(1, WRITES), st.sampled_from([errno.ENOSPC, errno.EDQUOT, errno.EIO]))
def test_a_disk_that_is_full_at_any_write(
    tmp_path_factory: pytest.TempPathFactory, pictures: Path, undisturbed: dict[str, bytes], write: int, reason: int
) -> None:
    """The fault stays, as that of a full disk does, until there is space again."""
    out, writes, replace = tmp_path_factory.mktemp("full") / "out", 0, os.replace

    def full(*paths: object) -> None:
        nonlocal writes
        writes += 1
        if writes >= write:
            raise OSError(reason, os.strerror(reason))
        replace(*paths)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xpose.pictures.atomic.os.replace", full)
        with pytest.raises((XPoseError, OSError)):
            run_all([str(pictures)], out)
    shards = {name: data for name, data in files(out).items() if name.startswith("shards/")}
    assert shards.items() <= undisturbed.items()
    run_all([str(pictures)], out)
    assert files(out) == undisturbed


def test_a_full_disk_for_real(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder_of([str(pictures)], tmp_path)
    with full_disk(3000), pytest.raises(XPoseError, match="could not be written"):
        run_all([str(pictures)], tmp_path)
    assert "Repeat the command to go on." in capsys.readouterr().err
    run_all([str(pictures)], tmp_path)
    check_complete(tmp_path)


def test_chunks_that_arrive_twice_and_in_any_order_count_once(
    pictures: Path, tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpose.batch.runners.CHUNK", 2)
    folder = folder_of([str(pictures)], tmp_path)
    detect = Detect(FakeDetector(), [], DetectionOptions())  # type: ignore[arg-type]
    rows = [*run_locally(folder.plan, folder.pending, Decode(32, 48), detect)] * 2
    random.Random(0).shuffle(rows)
    for chunk in rows:
        folder.add(chunk)
    folder.finish()
    assert files(tmp_path) == undisturbed


def test_damaged_shards_are_made_again_and_finished_ones_kept(
    pictures: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    run_all([str(pictures)], tmp_path)
    (tmp_path / "shards" / "00001.parquet").write_bytes(b"")
    (tmp_path / "shards" / "00002.parquet").unlink()
    (tmp_path / "shards" / ".00003.parquet.abc").write_bytes(b"left by a killed process")
    folder = folder_of([str(pictures)], tmp_path)
    assert folder.pending == [1, 2]
    assert not json.loads((tmp_path / "manifest.json").read_text())["complete"]
    run_all([str(pictures)], tmp_path)
    assert files(tmp_path) == undisturbed


def test_pictures_that_are_added_later_are_not_part_of_the_run(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(7):
        (tmp_path / "in" / f"{number}.png").write_bytes((pictures / f"{number}.png").read_bytes())
    folder_of([str(tmp_path / "in")], tmp_path / "out")
    (tmp_path / "in" / "00.png").write_bytes(b"new")
    (tmp_path / "in" / "1.png").unlink()
    folder = run_all([str(tmp_path / "in")], tmp_path / "out")
    assert folder.total("pictures") == 7
    assert "No such file" in folder.failed.read_text()


def test_another_command_in_the_same_folder_is_refused(pictures: Path, tmp_path: Path) -> None:
    run_all([str(pictures)], tmp_path)
    before = files(tmp_path)
    with pytest.raises(ConfigError, match=r"sources: \['in'\] is now \['other'\].*another folder with -o, or.*--fresh"):
        ResultsFolder(tmp_path, {"sources": ["other"]}, pytest.fail)
    for name, match in (("plan.parquet", "damaged run"), ("manifest.json", "has shards but no manifest")):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(b"x") if name == "plan.parquet" else (tmp_path / name).unlink()
        with pytest.raises(ConfigError, match=match):
            folder_of([str(pictures)], tmp_path)
        (tmp_path / name).write_bytes(data)
    assert files(tmp_path) == before
    other = run_all([f"{pictures}/sub"], tmp_path / "other")
    (tmp_path / "shards" / "00000.parquet").write_bytes((other.folder / "shards" / "00000.parquet").read_bytes())
    with pytest.raises(ConfigError, match="belongs to another run"):
        folder_of([str(pictures)], tmp_path)


def test_a_picture_that_does_not_fit_into_memory_fails_alone(pictures: Path, tmp_path: Path) -> None:
    class Small(FakeDetector):
        def detect(self, images, classes, **options):  # type: ignore[no-untyped-def]
            if any(image.size[1] == 25 for image in images):
                raise MemoryError
            return super().detect(images, classes, **options)

    folder = folder_of([str(pictures)], tmp_path)
    for rows in run_locally(folder.plan, folder.pending, Decode(32, 48), Detect(Small(), [], DetectionOptions())):  # type: ignore[arg-type]
        folder.add(rows)
    folder.finish()
    assert folder.total("failed") == len(DAMAGED) + 1
    assert "does not fit into memory" in folder.failed.read_text()


def test_starting_over_deletes_only_the_run(pictures: Path, tmp_path: Path) -> None:
    run_all([str(pictures)], tmp_path)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "shards" / "notes.txt").touch()
    module.clear(tmp_path)
    assert [*files(tmp_path)] == ["notes.txt", "shards/notes.txt"]
