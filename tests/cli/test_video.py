"""`xpose video`: its files, and that no interruption loses or doubles a frame."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import full_disk, make_picture
from tests.video.clips import damaged, make_clip, numbered, same_frames

import xpose
from xpose.cli import video as command
from xpose.errors import XPoseWarning
from xpose.video.sources import open_source

pytest.importorskip("av", reason="videos need the extra video")
parquet = pytest.importorskip("pyarrow.parquet", reason="videos need the extra video")
Run = Callable[..., tuple[int, str, str]]
ENDINGS = ("report.html", "tracks.csv", "tracks.json", "tracks.parquet", "xpose.mp4")
ALL = ("--threshold", 0, "--keypoints", "nose,tail", "--rivals", "none")  # random weights find something everywhere


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 6)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [*csv.DictReader(file)]


def test_all_files_are_written_and_agree(here: Path, run: Run, weights: str, clip: Path) -> None:
    code, out, err = run("video", clip, "-t", "mouse", *ALL, "--max-instances", 2, "-p", weights, "-o", "out")
    assert code == 0, err
    assert sorted(path.name for path in (here / "out").iterdir()) == [f"clip_{ending}" for ending in ENDINGS]
    table = rows(here / "out" / "clip_tracks.csv")
    assert {row["frame"] for row in table} == set("012345")
    assert len(table) == parquet.read_table(here / "out" / "clip_tracks.parquet").num_rows
    coco = json.loads((here / "out" / "clip_tracks.json").read_text())
    assert len(coco["images"]) == 6
    assert [str(entry["track_id"]) for entry in coco["annotations"]] == [row["track_id"] for row in table]
    assert len([*open_source(here / "out" / "clip_xpose.mp4").frames()]) == 6
    assert "mean score" in out
    assert "6 frames in out: clip_xpose.mp4, clip_tracks.csv" in err
    assert not (here / "out" / ".clip_xpose").exists()


def test_python_and_the_command_line_give_the_same_tracks(here: Path, run: Run, weights: str, clip: Path) -> None:
    run("video", clip, "-t", "mouse", *ALL, "-p", weights, "--every", 2, "--smooth", "--start", "0.04", "-o", "out")
    prompt = xpose.TextPrompt("mouse", keypoints=["nose", "tail"])
    detector = xpose.load(weights)
    frames = [*detector.track(clip, prompt, every=2, smooth=True, start=0.04, threshold=0, rivals=[])]
    assert [frame.number for frame in frames] == [1, 2, 3, 4, 5]
    table = rows(here / "out" / "clip_tracks.csv")
    expected = [
        (frame.number, pose.track_id, round(float(pose.score), 4), frame.interpolated[row])
        for frame in frames
        for row, pose in enumerate(frame.poses)
    ]
    assert [
        (int(row["frame"]), int(row["track_id"]), float(row["score"]), row["interpolated"] == "1") for row in table
    ] == expected
    with pytest.raises(xpose.XPoseError, match="whole number"):
        detector.track(clip, prompt, every=0)


def test_regions_and_damaged_frames(here: Path, run: Run, weights: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 32, 64, 3), dtype=np.uint8)
    damaged(make_clip(here / "a.mp4", 40, pictures=[*noise]), here / "b.mp4", length=3000)
    command_line = ("video", "b.mp4", "-t", "mouse", *ALL, "-p", weights, "--region", "8,4,40,20", "--every", 5)
    code, _, err = run(*command_line, "-o", "out")
    assert code == 1
    assert "Skipped" in err
    assert ": damaged." in err
    assert "Skipped stretches" in (here / "out" / "b_report.html").read_text(encoding="utf-8")
    boxes = np.array(
        [[float(row[name]) for name in ("x1", "y1", "x2", "y2")] for row in rows(here / "out/b_tracks.csv")]
    )
    assert (boxes.min(0) >= (8, 4, 8, 4)).all()
    assert (boxes.max(0) <= (48, 24, 48, 24)).all()
    code, _, err = run(*command_line[:-4], "--region", "8,4,90,20", "-o", "elsewhere")
    assert code == 1
    assert "reaches beyond the picture of 64 x 32" in err
    assert not [*(here / "elsewhere").glob("b_*")]
    code, _, err = run(*command_line, "--start", "1.5", "-o", "elsewhere")  # other options after a mistake are fine
    assert sorted(path.name for path in (here / "elsewhere").iterdir()) == [f"b_{ending}" for ending in ENDINGS]
    assert "replaced" not in err
    code, _, err = run(*command_line, "--start", "1.5", "-o", "elsewhere")
    assert "Earlier results are replaced." in err
    with pytest.warns(XPoseWarning, match="was skipped: damaged"):
        frames = [*xpose.load(weights).track(here / "b.mp4", "mouse", every=5)]
    assert 0 < len(frames) < 40


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("missing.mp4", "-t", "mouse"), 1, "There is no video"),
        (("a.png", "-t", "mouse"), 0, ""),
        (("clip.txt", "-t", "mouse"), 1, "cannot be opened"),
        (("clip.txt",), 1, "No prompt was given"),
        (("a.png", "-t", "mouse", "--start", "1:2:3:4"), 2, "is not a time"),
        (("a.png", "-t", "mouse", "--start", "abc"), 2, "is not a time"),
        (("a.png", "-t", "mouse", "--every", "0"), 2, "--every"),
        (("frames", "-t", "mouse", "--fps", "0"), 1, "fps is 0"),
        (("frames", "-t", "mouse", "--start", "2", "--end", "1"), 1, "end after the start"),
        (("frames", "-t", "mouse", "-o", "clip.txt"), 1, "is a file"),
    ],
)
def test_mistakes_end_in_clear_errors(
    here: Path, run: Run, weights: str, words: tuple[str, ...], code: int, expected: str
) -> None:
    (here / "clip.txt").write_text("no video")
    make_picture(here / "a.png")
    make_picture(here / "frames" / "1.png")
    found, _, err = run("video", *words, "-p", weights)
    assert found == code, err
    assert expected in err


STUB = """
import os, sys
from pathlib import Path
import numpy as np
from tests.video.clips import number_of, same_frames
from tests.video.scenes import NAMES, animal, poses_of
from xpose.cli.video import VideoRun
from xpose.inference.encoded import EncodedClass
from xpose.inference.options import DetectionOptions
from xpose.prompts import TextPrompt
from xpose.video import annotated
from xpose.video.pipeline import TrackOptions
from xpose.video.sources import open_source

annotated.FRAMES = 6


class Stub:
    '''Two animals whose places depend on the number of the frame; `stop` is called in the given frame.'''

    name, engine = "stub", type("Engine", (), {"identity": "stub"})

    def __init__(self, stop=None, where="detect", at_once=1):
        self.stop, self.where, self.detected, self.at_once = stop, where, [], at_once

    def for_frames(self, classes, options):
        return self.prepare, self.detect, self.at_once

    def prepare(self, pixels):
        return number_of(pixels)

    def detect(self, number):
        if self.where == "detect" and self.stop and len(self.detected) == self.stop[0]:
            self.stop[1]()
        self.detected.append(number)
        random = np.random.default_rng(number)
        there = [animal(20 + number, 20, 0), animal(60 - number, 24, 3)][: 1 + (number % 7 > 0)]
        return poses_of([points + random.normal(0, 0.5, (4, 2)) for points in there], image_size=(32, 64))


def run(clip, out, stub, options=TrackOptions(every=2, fill_gaps=3, smooth=True), fresh=False):
    tokens = np.zeros(4, np.float32)
    classes = [EncodedClass(TextPrompt("mouse", keypoints=list(NAMES)).resolved, tokens, np.zeros((4, 4), np.float32))]
    Path(out).mkdir(exist_ok=True)
    source = open_source(clip)
    return VideoRun(source, stub, classes, DetectionOptions(), options, Path(out), {"input": str(clip)}, fresh).go()
"""

OUR_TESTS = """
import sys, types
sys.modules["tests"] = types.ModuleType("tests")  # another package installs a folder of this name
sys.modules["tests"].__path__ = ["tests"]
"""

KILLS = (
    OUR_TESTS
    + STUB
    + """
import signal

clip, folder = sys.argv[1], Path(sys.argv[2])
random = np.random.default_rng(int(sys.argv[3]))
run(clip, folder / "whole", Stub())
rounds = 0
for repeat in range(2):
    out = folder / f"killed{repeat}"
    while True:
        rounds += 1
        child = os.fork()
        if not child:
            # Killed in the network, or while a frame is drawn or a table is written, or not at all.
            steps, where = int(random.integers(1, 12)), random.choice(["detect", "draw", "row"])
            stub = Stub((steps, lambda: os.kill(os.getpid(), signal.SIGKILL)), where, 1 + repeat)
            for place, name in (("draw", "_drawn"), ("row", "_lengthen_trails")):
                if where == place:
                    original, calls = getattr(annotated.AnnotatedVideo, name), []
                    def late(self, *given, original=original, calls=calls):
                        calls.append(0)
                        if len(calls) == steps:
                            stub.stop[1]()
                        return original(self, *given)
                    setattr(annotated.AnnotatedVideo, name, late)
            run(clip, out, stub)
            os._exit(0)
        random.random(3)
        status = os.waitpid(child, 0)[1]
        if status == 0:
            break
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
        assert rounds < 300
    for whole in sorted((folder / "whole").iterdir()):
        if whole.suffix == ".mp4":
            assert same_frames(out / whole.name, whole), (repeat, whole.name)
        elif whole.suffix != ".html":
            assert (out / whole.name).read_bytes() == whole.read_bytes(), (repeat, whole.name)
    assert len(list(out.iterdir())) == 5
print("rounds", rounds)
"""
)


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="processes are killed after a fork")
@pytest.mark.parametrize("seed", [0])
def test_kills_at_any_point_change_no_byte_of_the_tracks(tmp_path: Path, seed: int) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 26)
    done = subprocess.run(
        [sys.executable, "-c", KILLS, clip, tmp_path, str(seed)], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[2], timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[-1]) > 4


@pytest.fixture(scope="module")
def stubbed() -> dict[str, Any]:
    values: dict[str, Any] = {}
    exec(compile(STUB, "stub", "exec"), values)
    return values


def test_ctrl_c_leaves_the_finished_frames_and_goes_on(tmp_path: Path, stubbed: dict[str, Any], capsys: Any) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 40)

    def interrupt() -> None:
        raise KeyboardInterrupt

    stub, run = stubbed["Stub"], stubbed["run"]
    with pytest.raises(KeyboardInterrupt):
        run(clip, tmp_path / "out", stub((9, interrupt)))
    assert "Repeat the command to go on." in capsys.readouterr().err
    table = rows(tmp_path / "out" / "clip_tracks.csv")
    assert 10 <= int(table[-1]["frame"]) <= 17
    assert len([*open_source(tmp_path / "out" / "clip_xpose.mp4").frames()]) >= 10
    with pytest.raises(xpose.XPoseError, match=r"other settings \(.*every 2 is now 3"):
        run(clip, tmp_path / "out", stub(), command_options(every=3))
    again = stub()
    assert run(clip, tmp_path / "out", again)
    assert again.detected == [*range(18, 40, 2), 39]
    whole = stub()
    run(clip, tmp_path / "whole", whole)
    assert whole.detected == [*range(0, 40, 2), 39]
    assert same_frames(tmp_path / "out" / "clip_xpose.mp4", tmp_path / "whole" / "clip_xpose.mp4")
    for name in ("clip_tracks.csv", "clip_tracks.parquet", "clip_tracks.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def command_options(**values: Any) -> Any:
    from xpose.video.pipeline import TrackOptions

    return TrackOptions(**values)


def test_fresh_starts_over(tmp_path: Path, stubbed: dict[str, Any]) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 12)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stubbed["run"](clip, tmp_path / "out", stubbed["Stub"]((2, interrupt)))
    stub = stubbed["Stub"]()
    stubbed["run"](clip, tmp_path / "out", stub, command_options(every=5), fresh=True)
    assert stub.detected == [0, 5, 10, 11]


def test_ctrl_c_is_how_a_camera_ends(tmp_path: Path, stubbed: dict[str, Any], monkeypatch: Any, capsys: Any) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 12)
    opened = stubbed["open_source"](clip)
    opened.live = True
    monkeypatch.setitem(stubbed, "open_source", lambda _: opened)

    def interrupt() -> None:
        raise KeyboardInterrupt

    assert stubbed["run"](clip, tmp_path / "out", stubbed["Stub"]((4, interrupt)))
    assert "Repeat" not in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"clip_{ending}" for ending in ENDINGS]


def test_times_are_seconds_or_hours_minutes_seconds() -> None:
    words = {"75.5": 75.5, "1:15.5": 75.5, "0:00:01": 1.0, "2:01:00": 7260.0}
    assert {word: command._seconds(word) for word in words} == words


def test_a_full_disk_is_a_clear_error(here: Path, run: Run, weights: str, clip: Path) -> None:
    with full_disk(3000):
        code, _, err = run("video", clip, "-t", "mouse", *ALL, "-p", weights, "-o", "out")
    assert code == 1
    assert "Traceback" not in err


def test_pictures_of_one_scene_are_a_video(here: Path, run: Run, weights: str) -> None:
    for number in range(3):
        (here / "frames").mkdir(exist_ok=True)
        Image.fromarray(numbered(number)).save(here / "frames" / f"{number}.png")
    code, _, err = run("video", "frames/*.png", "-t", "mouse", *ALL, "-p", weights, "--fps", 10, "-o", "out")
    assert code == 0, err
    assert {row["time"] for row in rows(here / "out" / "frames_tracks.csv")} == {"0.0", "0.1", "0.2"}
