"""The numbers of the report, for motions whose speed and noise are known."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.video.scenes import NAMES, animal, poses_of

from xpose.prompts import TextPrompt
from xpose.video.report import VideoLog, write_report
from xpose.video.sources import SkippedFrames
from xpose.video.tables import Columns, ParquetTracks
from xpose.video.timeline import TrackedFrame
from xpose.video.tracker import Doubt

pytest.importorskip("av", reason="videos need the extra video")
pytest.importorskip("pyarrow", reason="Parquet files need the extra video")
CLASSES = [TextPrompt("mouse", keypoints=list(NAMES)).resolved]


def written(folder: Path, log: VideoLog) -> Path:
    """An animal at 50 pixels per second with noise of 0.5 pixels, and one that is there in the second half."""
    random = np.random.default_rng(0)
    table = ParquetTracks(folder / "t.parquet", Columns(CLASSES, False))
    for number in range(200):
        animals = [animal(10 + 2 * number, 50, 0) + random.normal(0, 0.5, (4, 2))] + [animal(60, 20, 0)] * (
            number >= 100
        )
        poses = replace(poses_of(animals, [0.9, 0.5][: len(animals)]), track_ids=np.array([4, 7][: len(animals)]))
        doubts = (Doubt(number / 25, (4, 7), "exchange"),) if 120 <= number < 130 else ()
        frame = TrackedFrame(
            number, number / 25, None, poses, np.array([False, number == 150][: len(animals)]), None, doubts
        )
        for writer in (table, log):
            writer.add(frame)
    for number in (201, 202, 205):
        log.add(SkippedFrames(number, 1, number / 25, (number + 1) / 25, "damaged"))
    table.finish()
    return folder / "t.parquet"


def test_tracks_are_summarised(tmp_path: Path) -> None:
    log = VideoLog()
    first, second = write_report(tmp_path / "r.html", written(tmp_path, log), tmp_path / "no.mp4", log, [], "clip")
    assert (first.id, first.category, first.detected, first.interpolated) == (4, "mouse", 200, 0)
    assert (first.start, first.end) == (0.0, 199 / 25)
    assert first.path == pytest.approx(398, rel=0.1)
    assert (second.id, second.detected, second.interpolated, second.start) == (7, 99, 1, 4.0)
    assert (second.score, second.path) == (0.5, 0.0)


def test_the_page_states_speed_jitter_confusions_and_skipped_stretches(tmp_path: Path) -> None:
    log = VideoLog()
    write_report(tmp_path / "r.html", written(tmp_path, log), tmp_path / "no.mp4", log, [("weights", "<tiny>")], "clip")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "&lt;tiny&gt;" in page
    assert "<script" not in page
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)]
    nose = next(row for row in rows if row and row[0] == "nose")
    assert nose[1:3] == ["100 %", "0.80"]
    assert float(nose[5]) == pytest.approx(0.5 * np.sqrt(2 / 3), rel=0.15)  # a third of the rows stand still
    assert ["4.8 s", "5.16 s", "4, 7", "an exchange of their objects"] in rows
    assert [row for row in rows if row[-1:] == ["damaged"]] == [
        ["8.04 s", "8.12 s", "2", "damaged"],
        ["8.2 s", "8.24 s", "1", "damaged"],
    ]


def test_a_video_without_objects_has_a_report(tmp_path: Path) -> None:
    ParquetTracks(tmp_path / "t.parquet", Columns(CLASSES, True)).finish()
    assert write_report(tmp_path / "r.html", tmp_path / "t.parquet", tmp_path / "no.mp4", VideoLog(), [], "clip") == []
    assert "Nothing was detected" in (tmp_path / "r.html").read_text(encoding="utf-8")
