"""A detector without a network, whose results depend on every pixel; also a process that can be killed.

python tests/batch/fake.py SOURCE OUT SECONDS_PER_PICTURE
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from xpose.batch.listing import list_entries
from xpose.batch.plan import write_plan
from xpose.batch.results import ResultsFolder
from xpose.batch.runners import run_locally
from xpose.batch.stages import Decode, Detect
from xpose.cli.batch import _run
from xpose.inference.encoded import PreparedImage
from xpose.inference.options import DetectionOptions
from xpose.results import Poses

SHARD = 5
SETTINGS = {"sources": ["in"]}


class FakeDetector:
    """Finds one object in most pictures, and none in the others."""

    engine = SimpleNamespace(resizes=False)

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds

    def side_by_side(self) -> tuple[FakeDetector, int]:
        return self, 1

    def detect(self, images: Sequence[PreparedImage], classes: Any, **options: Any) -> list[Poses]:
        time.sleep(self._seconds * len(images))
        return [self._poses(image) for image in images]

    def _poses(self, image: PreparedImage) -> Poses:
        total = float(np.abs(image.values).sum())
        if int(total) % 4 == 0:
            return Poses.empty(image.size)
        return Poses(
            boxes=np.array([[0, 0, total % 17, total % 13]]),
            scores=np.array([total % 1]),
            categories=("thing",),
            xy=np.array([[[total % 7, total % 5], [1, 2]]]),
            keypoint_scores=np.array([[0.5, total % 1]]),
            visibility=np.array([[2, 0]]),
            keypoint_names=(("tip", "end"),),
            edges=((("tip", "end"),),),
            image_size=image.size,
        )


def list_all(path: Path, sources: Sequence[str], every: int = 1, column: str | None = None, size: int = SHARD) -> int:
    return write_plan(path, list_entries(sources, every, column, path.parent.absolute()), size, lambda _: None)


def folder_of(sources: Sequence[str], out: Path, **options: Any) -> ResultsFolder:
    return ResultsFolder(out, SETTINGS, partial(list_all, sources=sources, **options))


def run_all(sources: Sequence[str], out: Path, seconds: float = 0.0, **options: Any) -> ResultsFolder:
    """Everything that is not finished, as the command does it."""
    folder = folder_of(sources, out, **options)
    decode = Decode(32, 48, column=options.get("column"))
    detect = Detect(FakeDetector(seconds), [], DetectionOptions())  # type: ignore[arg-type]
    if folder.pending:
        _run(folder, run_locally(folder.plan, folder.pending, decode, detect))
    folder.finish()
    return folder


if __name__ == "__main__":
    run_all([sys.argv[1]], Path(sys.argv[2]), float(sys.argv[3]))
