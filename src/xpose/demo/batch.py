"""A folder's worth of pictures, one after the other, into one archive."""

from __future__ import annotations

import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from xpose.demo.answers import Sliders, Usual, coco_json, csv_table, drawing, everything, usual_sliders
from xpose.errors import XPoseError

if TYPE_CHECKING:
    from xpose.demo.uploads import Upload
    from xpose.inference import Detector
    from xpose.results import Poses


@dataclass(frozen=True)
class Progress:
    """How far a batch is.

    Attributes:
        done, total: pictures.
        name: the last one.
        objects: found so far.
        faults: name and message of each picture that failed.
        archive: the finished archive, only in the last report.
    """

    done: int
    total: int
    name: str
    objects: int
    faults: tuple[tuple[str, str], ...]
    archive: IO[bytes] | None = None


def run_batch(
    detector: Detector,
    prompts: Any,
    pictures: Sequence[Upload],
    sliders: Sliders,
    turn: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Iterator[Progress]:
    """Detect in each picture and report after each; the last report holds the archive.

    The archive has a drawing of each picture, `poses.json` (COCO), `poses.csv`, and `failed.txt` if a picture failed.
    It is a file without a name, which vanishes when it is closed. The network runs inside `turn()`, picture by picture,
    so that others come in between.

    Raises:
        XPoseError: the prompts cannot be used.
    """
    with turn():
        encoded = detector.encode_prompts(prompts)
        usual = Usual(usual_sliders(detector), detector.limits(encoded))
    archive = tempfile.TemporaryFile(prefix="xpose-")  # noqa: SIM115 - whoever takes the last report closes it
    names = file_names(pictures)
    kept: list[tuple[str, Poses]] = []
    faults: list[tuple[str, str]] = []
    objects = 0
    try:
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:  # pictures are packed already
            for number, (picture, name) in enumerate(zip(pictures, names, strict=True), start=1):
                try:
                    with turn():
                        found = everything(detector, encoded, picture)
                    poses = usual.keep(found, sliders)
                    kind = "JPEG" if picture.name.lower().endswith((".jpg", ".jpeg")) else "PNG"
                    ending = "jpg" if kind == "JPEG" else "png"
                    target.writestr(f"{name}_xpose.{ending}", drawing(poses, picture, kind))
                except XPoseError as error:
                    faults.append((picture.name, str(error)))
                else:
                    kept.append((picture.name, poses))
                    objects += len(poses)
                yield Progress(number, len(pictures), picture.name, objects, tuple(faults))
            results = [poses for _, poses in kept]
            target.writestr("poses.json", coco_json(results, [name for name, _ in kept]))
            target.writestr("poses.csv", csv_table(results))
            if faults:
                target.writestr("failed.txt", "".join(f"{name}: {message}\n" for name, message in faults))
    except BaseException:  # also where the visitor stopped it
        archive.close()
        raise
    archive.seek(0)
    yield Progress(len(pictures), len(pictures), "", objects, tuple(faults), archive)


class Job:
    """A batch that runs in a thread of its own.

    Attributes:
        progress: the last report; None before the first.
        failure: what ended it, if anything did.
    """

    def __init__(self, steps: Iterator[Progress], total: int) -> None:
        self.progress: Progress | None = None
        self.failure: Exception | None = None
        self.total = total
        self._steps = steps
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="xpose-batch")
        self._thread.start()

    @property
    def runs(self) -> bool:
        """Whether it is still at work."""
        return self._thread.is_alive()

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop before it was done."""
        return self._stop.is_set() and (self.progress is None or self.progress.archive is None)

    def stop(self) -> None:
        """Stop after the picture that is worked on."""
        self._stop.set()

    def join(self, seconds: float | None = None) -> None:
        """Wait for the end."""
        self._thread.join(seconds)

    def forget(self) -> None:
        """Stop, and close the archive."""
        self.stop()
        if self.progress is not None and self.progress.archive is not None:
            self.progress.archive.close()

    def _work(self) -> None:
        try:
            for report in self._steps:
                self.progress = report
                if self._stop.is_set():
                    break
        except Exception as error:  # shown to the visitor, who is not in this thread
            self.failure = error
        finally:
            self._steps = iter(())  # an unfinished one closes its archive


def file_names(pictures: Sequence[Upload]) -> list[str]:
    """A name for each picture's drawing, no two the same, also where case does not count."""
    used: set[str] = set()
    names = []
    for picture in pictures:
        name, number = picture.stem, 1
        while name.casefold() in used:
            number += 1
            name = f"{picture.stem}-{number}"
        used.add(name.casefold())
        names.append(name)
    return names
