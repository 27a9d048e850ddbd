"""The journal gives back exactly what was written, whatever was cut off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.video.scenes import NAMES, animal, poses_of

from xpose.errors import ConfigError
from xpose.prompts import TextPrompt
from xpose.results import Poses
from xpose.video.journal import VideoJournal
from xpose.video.sources import Frame, SkippedFrames

CLASSES = [TextPrompt("mouse", keypoints=list(NAMES)).resolved, TextPrompt("cage", keypoints=[]).resolved]
SETTINGS = {"input": ["clip.mp4", "abc"], "every": 2}


def detections(seed: int) -> Poses:
    random = np.random.default_rng(seed)
    mice = [animal(*random.uniform(20, 90, 2), 1.0) for _ in range(seed % 3)]
    return poses_of(
        mice,
        random.random(len(mice)).astype(np.float32),
        visibility=random.integers(0, 3, (len(mice), len(NAMES))),
        canonical_names=(CLASSES[0].canonical,) * len(mice),
        keypoint_errors=random.random((len(mice), len(NAMES))) if seed % 2 else None,
    )


def test_frames_are_read_as_they_were_written(tmp_path: Path) -> None:
    journal = VideoJournal(tmp_path / "journal.jsonl", SETTINGS, CLASSES)
    given = [(Frame(n, n / 3, None), detections(n) if n % 2 == 0 else None) for n in range(8)]
    for frame, poses in given:
        assert journal.add(frame, poses) == poses
    journal.add(SkippedFrames(8, 1, 8 / 3, 3.0, "damaged"), None)
    journal.close()
    again = VideoJournal(tmp_path / "journal.jsonl", SETTINGS, CLASSES)
    assert (again.frames, again.faulty) == (8, True)
    *records, (skipped, _) = again.records()
    assert skipped == SkippedFrames(8, 1, 8 / 3, 3.0, "damaged")
    assert [(item.number, item.time, poses) for item, poses in records] == [(f.number, f.time, p) for f, p in given]


def test_any_part_of_a_journal_gives_its_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = VideoJournal(path, SETTINGS, CLASSES)
    for number in range(5):
        journal.add(Frame(number, number / 25, None), detections(number))
    journal.close()
    content = path.read_bytes()
    ends = [n + 1 for n, byte in enumerate(content) if byte == 10]
    for length in range(ends[0], len(content), 37):
        for tail in (b"", b"\0" * 9):
            path.write_bytes(content[:length] + tail)
            journal = VideoJournal(path, SETTINGS, CLASSES)
            assert journal.frames == sum(end <= length for end in ends) - 1
            for number in range(journal.frames, 5):
                journal.add(Frame(number, number / 25, None), detections(number))
            journal.close()
            assert path.read_bytes() == content


def test_other_settings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "work" / "journal.jsonl"
    VideoJournal(path, {"every": 7}, CLASSES).close()
    journal = VideoJournal(path, SETTINGS, CLASSES)  # nothing is lost by replacing a journal without frames
    journal.add(Frame(0, 0.0, None), None)
    journal.close()
    with pytest.raises(ConfigError, match=r"other settings \(every 2 is now 3\).*--fresh"):
        VideoJournal(path, SETTINGS | {"every": 3}, CLASSES)
    path.write_bytes(b"\xff no journal\n{}\n")
    with pytest.raises(ConfigError, match="--fresh"):
        VideoJournal(path, SETTINGS, CLASSES)
