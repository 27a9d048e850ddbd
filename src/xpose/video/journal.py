"""The record of a run: every frame with its detections, so that an interrupted run loses nothing.

The first line states the settings. A line for each frame is written as soon as the network has answered; one that was
cut off is dropped. Track ids, tables and drawings are computed from these lines, so that they are the same after an
interruption.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpose.errors import ConfigError, quote
from xpose.pictures.atomic import write_text
from xpose.prompts import PromptClass
from xpose.results import Poses
from xpose.video.sources import Frame, SkippedFrames

_WIDTHS = {"boxes": 4, "scores": 1, "xy": 2, "keypoint_scores": 1, "visibility": 1, "keypoint_errors": 1}
_PER_POSE = ("boxes", "scores")


class VideoJournal:
    """The journal in a file; what it held when it was opened can be read again.

    Attributes:
        frames: the number of frames it held.
        faulty: whether frames had been skipped.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], classes: Sequence[PromptClass]) -> None:
        """Continue the journal in this file, or begin it.

        Raises:
            ConfigError: the file belongs to a run with other settings.
        """
        self._path, self._classes = path, {names.label: names for names in classes}
        head = json.dumps(settings, sort_keys=True) + "\n"
        self.frames, self.faulty, self._length = 0, False, 0
        if not path.exists():
            write_text(path, head)
        with path.open("rb") as file:
            if file.readline() != head.encode() and not _is_whole(file.readline()):  # nothing would be lost
                write_text(path, head)
        with path.open("rb") as file:
            self._check(file.readline(), settings)
            self._length = file.tell()
            for line in file:
                if not _is_whole(line):
                    break
                self._length += len(line)
                self.faulty |= line.startswith(b'{"skipped"')
                self.frames += line.startswith(b'{"frame"')
        self._file = path.open("r+b")
        self._file.truncate(self._length)
        self._file.seek(self._length)

    def _check(self, line: bytes, settings: Mapping[str, Any]) -> None:
        try:
            before = json.loads(line)
            different = [name for name in settings if before.get(name) != json.loads(json.dumps(settings[name]))]
        except (ValueError, AttributeError):
            before, different = {}, ["file"]
        if different:
            changes = ", ".join(f"{name} {before.get(name)!r} is now {settings.get(name)!r}" for name in different)
            raise ConfigError(
                f"{quote(self._path.parent)} holds an interrupted run with other settings ({changes[:300]}). Repeat "
                "its command to go on with it, add --fresh to start over, or choose another folder with -o."
            )

    def records(self) -> Iterator[tuple[Frame | SkippedFrames, Poses | None]]:
        """The frames that the journal held when it was opened, without pixels, and their detections.

        Frames without detections on purpose have None.
        """
        with self._path.open("rb") as file:
            file.readline()
            while file.tell() < self._length:
                values = json.loads(file.readline())
                if "skipped" in values:
                    yield SkippedFrames(**values["skipped"]), None
                else:
                    poses = values.get("poses")
                    yield Frame(values["frame"], values["time"], None), None if poses is None else self._decoded(poses)

    def add(self, item: Frame | SkippedFrames, poses: Poses | None) -> Poses | None:
        """Write a frame, and return its detections exactly as they will be read."""
        if isinstance(item, SkippedFrames):
            values: dict[str, Any] = {"skipped": vars(item)}
        else:
            values = {"frame": item.number, "time": item.time}
        if poses is not None:
            values["poses"] = _encoded(poses)
        self._file.write(json.dumps(values).encode() + b"\n")
        self._file.flush()
        return None if poses is None else self._decoded(values["poses"])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _decoded(self, values: dict[str, Any]) -> Poses:
        kinds = [self._classes[label] for label in values["classes"]]
        number, width = len(kinds), values["keypoints"]
        flat = np.frombuffer(base64.b64decode(values["numbers"]), "<f4")
        arrays: dict[str, Any] = {}
        start = 0
        for name in values["fields"]:
            shape = (number, *([] if name in _PER_POSE else [width]), *([_WIDTHS[name]] if _WIDTHS[name] > 1 else []))
            arrays[name] = flat[start : start + int(np.prod(shape))].reshape(shape)
            start += arrays[name].size
        return Poses(
            **arrays,
            categories=tuple(values["classes"]),
            keypoint_names=tuple(names.names for names in kinds),
            canonical_names=tuple(names.canonical for names in kinds),
            edges=tuple(names.edges for names in kinds),
            image_size=tuple(values["size"]),
        )


def _encoded(poses: Poses) -> dict[str, Any]:
    fields = [name for name in _WIDTHS if getattr(poses, name) is not None]
    numbers = np.concatenate([getattr(poses, name).astype("<f4").ravel() for name in fields])
    return {
        "classes": poses.categories,
        "keypoints": poses.xy.shape[1],
        "size": poses.image_size,
        "fields": fields,
        "numbers": base64.b64encode(numbers.tobytes()).decode("ascii"),
    }


def _is_whole(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line), dict)
    except ValueError:
        return False
