"""The tables hold the poses, and say the same; pyarrow and pycocotools read them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from tests.video.scenes import NAMES, animal, poses_of

from xpose.prompts import TextPrompt
from xpose.results import Poses
from xpose.video import tables
from xpose.video.tables import CocoTracks, Columns, CsvTracks, ParquetTracks
from xpose.video.timeline import TrackedFrame

parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet files need the extra video")
CLASSES = [TextPrompt("mouse", keypoints=list(NAMES)).resolved, TextPrompt("=fly", keypoints=["nose", "wing"]).resolved]


def frames(count: int = 9, smooth: bool = True) -> list[TrackedFrame]:
    made = []
    for number in range(count):
        mice = poses_of(
            [animal(40 + number, 50, 0.3)] * (number % 3 > 0),
            visibility=np.array([[2, 2, 2 * (number % 2), 2]] * (number % 3 > 0)).reshape(-1, 4),
        )
        fly = poses_of([animal(90.123, 70, 0)], [0.7], "=fly")
        fly = replace(
            fly, xy=fly.xy[:, :2], keypoint_scores=fly.keypoint_scores[:, :2], visibility=fly.visibility[:, :2],
            keypoint_names=(("nose", "wing"),), canonical_names=(("nose", "wing"),),
        )  # fmt: skip
        poses = Poses.concatenate([mice, fly])
        poses = replace(poses, track_ids=np.array([1] * len(mice) + [2]))
        made.append(
            TrackedFrame(
                number,
                number / 7,
                None,
                poses,
                np.array([False] * len(mice) + [number == 4]),
                np.where(poses.visibility[..., None] > 0, poses.xy + 0.25, np.nan) if smooth else None,
            )
        )
    return made


@pytest.mark.parametrize("smooth", [False, True])
def test_csv_and_parquet_hold_the_poses(tmp_path: Path, smooth: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_ROWS", 4)  # several row groups
    columns = Columns(CLASSES, smooth)
    writers = [CsvTracks(tmp_path / "t.csv", columns), ParquetTracks(tmp_path / "t.parquet", columns)]
    for frame in frames(smooth=smooth):
        for writer in writers:
            writer.add(frame)
    assert not (tmp_path / "t.parquet").exists()
    for writer in writers:
        writer.finish()
    rows = [(frame, row) for frame in frames(smooth=smooth) for row in range(len(frame.poses))]
    content = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    lines = [*csv.DictReader((tmp_path / "t.csv").open(encoding="utf-8", newline=""))]
    assert len(content) == len(lines) == len(rows) == 9 + 6
    assert list(content[0]) == list(lines[0]) == columns.names
    assert parquet.read_metadata(tmp_path / "t.parquet").num_row_groups > 2
    for (frame, row), cells, line in zip(rows, content, lines, strict=True):
        pose = frame.poses[row]
        assert (cells["frame"], cells["time"], cells["track_id"]) == (frame.number, frame.time, pose.track_id)
        assert (cells["class"], cells["interpolated"]) == (pose.category, bool(frame.interpolated[row]))
        assert [cells[name] for name in ("x1", "y1", "x2", "y2")] == pose.box.tolist()
        assert line["class"] == {"mouse": "mouse", "=fly": "'=fly"}[pose.category]  # a spreadsheet runs no formula
        for name in {*NAMES, "wing"}:
            point = pose.get(name)
            expected = (None, None) if point is None or not point.v else (point.x, point.y)
            assert (cells[f"{name}_x"], cells[f"{name}_y"]) == expected
            assert cells[f"{name}_confidence"] == (None if point is None else pytest.approx(point.score))
            if smooth and expected[0] is not None:
                assert cells[f"{name}_x_smooth"] == pytest.approx(expected[0] + 0.25, abs=1e-4)
        for name, value in cells.items():
            if isinstance(value, float):
                assert float(line[name]) == pytest.approx(value, abs=0.0051)
            elif value is None:
                assert line[name] == ""


def test_pycocotools_reads_the_coco_file(tmp_path: Path) -> None:
    writer = CocoTracks(tmp_path / "t.json", "clip", CLASSES)
    for frame in frames():
        writer.add(frame)
    writer.finish()
    coco = COCO(str(tmp_path / "t.json"))
    assert [image["frame"] for image in coco.loadImgs(coco.getImgIds())] == [*range(9)]
    assert {category["id"]: category["name"] for category in coco.loadCats(coco.getCatIds())} == {1: "mouse", 2: "=fly"}
    for frame in frames():
        found = coco.loadAnns(coco.getAnnIds(imgIds=frame.number))
        assert [entry["track_id"] for entry in found] == frame.poses.track_ids.tolist()
        assert [entry.get("interpolated", False) for entry in found] == frame.interpolated.tolist()
        for entry, pose in zip(found, frame.poses, strict=True):
            x, y, v = entry["keypoints"][:3]
            assert (x, y, v) == (pytest.approx(pose.xy[0, 0], abs=0.01), pytest.approx(pose.xy[0, 1], abs=0.01), 2)


def test_files_without_any_object_are_valid(tmp_path: Path) -> None:
    columns = Columns(CLASSES, False)
    nothing = TrackedFrame(0, 0.0, None, replace(Poses.empty((9, 9)), track_ids=np.zeros(0, int)), np.zeros(0, bool))
    for writer in (
        CsvTracks(tmp_path / "t.csv", columns),
        ParquetTracks(tmp_path / "t.parquet", columns),
        CocoTracks(tmp_path / "t.json", "clip", CLASSES),
    ):
        writer.add(nothing)
        writer.finish()
    assert (tmp_path / "t.csv").read_text().splitlines() == [
        ",".join("'=fly" if n == "=fly" else n for n in columns.names)
    ]
    assert parquet.read_table(tmp_path / "t.parquet").num_rows == 0
    assert json.loads((tmp_path / "t.json").read_text())["annotations"] == []
