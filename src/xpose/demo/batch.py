"""A folder's worth of pictures, one after the other, into one archive."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from xpose.demo.answers import Sliders, coco_json, csv_table, drawing, everything
from xpose.errors import XPoseError

if TYPE_CHECKING:
    from xpose.demo.uploads import Upload
    from xpose.inference import Detector
    from xpose.poses import Poses


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


def run_batch(detector: Detector, prompts: Any, pictures: Sequence[Upload], sliders: Sliders) -> Iterator[Progress]:
    """Detect in each picture and report after each; the last report holds the archive.

    The archive has a drawing of each picture, `poses.json` (COCO), `poses.csv`, and `failed.txt` if a picture failed.
    It is a file without a name, which vanishes when it is closed.

    Raises:
        XPoseError: the prompts cannot be used.
    """
    encoded = detector.encode_prompts(prompts)
    archive = tempfile.TemporaryFile(prefix="xpose-")  # noqa: SIM115 - whoever takes the last report closes it
    names = file_names(pictures)
    kept: list[tuple[str, Poses]] = []
    faults: list[tuple[str, str]] = []
    objects = 0
    try:
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:  # pictures are packed already
            for number, (picture, name) in enumerate(zip(pictures, names, strict=True), start=1):
                try:
                    poses = sliders.keep(everything(detector, encoded, picture))
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
