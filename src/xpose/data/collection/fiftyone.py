"""A prepared set or a collection in the import format of FiftyOne, without FiftyOne itself.

Writes the folder that FiftyOne calls a `FiftyOneDataset` (its documented JSON form: `metadata.json`, `samples.json`):

    import fiftyone as fo
    dataset = fo.Dataset.from_dir(dataset_dir="OUT", dataset_type=fo.types.FiftyOneDataset)

Each picture is a sample with its objects as `Detections` in the field `objects` and their points as `Keypoints`, one
field for each skeleton (`points_person`, ...), so that FiftyOne draws the edges and names. `visibility` stands beside
the points. A point that is not labelled is NaN, as FiftyOne wants it: `samples.json` holds the bare word NaN, which
FiftyOne's reader takes (and not the {"$numberDouble": "NaN"} that FiftyOne itself writes) but strict JSON lacks.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from xpose.data.collection.manifest import read_manifest, write_json
from xpose.data.collection.parts import split_files
from xpose.data.collection.places import Places
from xpose.data.collection.store import CocoSet, write_atomically
from xpose.errors import DataError, VocabularyError, quote
from xpose.records import Category, Instance, Record
from xpose.vocabulary import load_skeleton

DECIMALS = 6  # of coordinates, which are shares of the picture's sides


def write_fiftyone(
    source: str | Path,
    out: str | Path,
    *,
    splits: Iterable[str] | None = None,
    copy: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> int:
    """Write the set or collection in `source` as a FiftyOne dataset into `out`; the number of samples.

    The pictures stay where they are and are named by their full path, unless `copy` asks to put them into `out`.

    Raises:
        DataError: there is no prepared set, no such split, or with `copy` a picture is missing.
    """
    folder, target = Path(source), Path(out)
    manifest = read_manifest(folder)
    files = split_files(folder, manifest)
    wanted = list(files) if splits is None else list(splits)
    for split in wanted:
        if split not in files:
            raise DataError(f"{quote(folder)} has no split {quote(split)}. Its splits: {', '.join(files)}.")
    total = sum(files[split].images for split in wanted)
    layouts = _layouts(category for split in wanted for category in CocoSet(files[split].path).categories.values())
    places = Places(folder)
    written = 0

    def samples() -> Iterator[str]:
        nonlocal written
        yield '{"samples":['
        for split in wanted:
            for record in CocoSet(files[split].path):
                path = places.path(record.picture)
                where = _copied(path, record, target) if copy else str(path.resolve())
                yield f"{',' if written else ''}\n{_line(sample_of(record, where, layouts))}"
                written += 1
                if progress and (written % 200 == 0 or written == total):
                    progress("fiftyone", written, total)
        yield "\n]}\n"

    write_atomically(target / "samples.json", lambda file: file.writelines(samples()))
    write_json(target / "metadata.json", _metadata(manifest, layouts))
    return written


def sample_of(record: Record, path: str, layouts: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """A record as FiftyOne writes a sample; `layouts` gives the order of each skeleton's points."""
    width, height = record.picture.width, record.picture.height
    fields: dict[str, list[dict[str, Any]]] = {}
    for number, instance in enumerate(record.instances):
        layout = layouts[instance.category.skeleton]
        if layout:
            keypoint = _keypoint(instance, number, layout, width, height)
            fields.setdefault(field_of(instance.category.skeleton), []).append(keypoint)
    objects = [_detection(instance, number, width, height) for number, instance in enumerate(record.instances)]
    return {
        "filepath": path,
        "tags": [record.split],
        "metadata": {"_cls": "ImageMetadata", "width": width, "height": height},
        "file": record.picture.file,
        "source": record.source,
        "licence": record.licence,
        "left_right": record.left_right,
        "style": record.style,
        "picture_group": record.group,
        "objects": {"_cls": "Detections", "detections": objects},
        **{name: {"_cls": "Keypoints", "keypoints": found} for name, found in fields.items()},
    }


def field_of(skeleton: str) -> str:
    """The sample field for the points of a skeleton; FiftyOne wants a plain identifier."""
    return "points_" + re.sub(r"\W", "_", skeleton.casefold(), flags=re.ASCII)


def _line(sample: dict[str, Any]) -> str:
    return json.dumps(sample, sort_keys=True, separators=(",", ":"), allow_nan=True)


def _detection(instance: Instance, number: int, width: int, height: int) -> dict[str, Any]:
    x, y, w, h = instance.box
    box = [
        round(x / width, DECIMALS),
        round(y / height, DECIMALS),
        round(w / width, DECIMALS),
        round(h / height, DECIMALS),
    ]
    return {
        "_cls": "Detection",
        "attributes": {},
        "tags": [],
        "label": instance.category.name,
        "bounding_box": box,
        "number": number,
        "iscrowd": int(instance.iscrowd),
        "skeleton": instance.category.skeleton,
    }


def _keypoint(instance: Instance, number: int, layout: tuple[str, ...], width: int, height: int) -> dict[str, Any]:
    points: list[list[Any]] = []
    for name in layout:
        x, y, v = instance.point(name)
        # A keypoint is a pixel index; its middle lies half a pixel further on.
        place = (min((x + 0.5) / width, 1.0), min((y + 0.5) / height, 1.0))
        points.append([round(value, DECIMALS) for value in place] if v else [math.nan, math.nan])
    return {
        "_cls": "Keypoint",
        "attributes": {},
        "tags": [],
        "label": instance.category.name,
        "points": points,
        "visibility": [instance.point(name)[2] for name in layout],
        "number": number,
    }


def _layouts(categories: Iterable[Category]) -> dict[str, tuple[str, ...]]:
    """For each skeleton the names of its points in order: the vocabulary's, else all that the categories have."""
    found: dict[str, tuple[str, ...]] = {}
    for category in categories:
        known = found.get(category.skeleton, ())
        if not known and category.keypoints:
            with contextlib.suppress(VocabularyError):
                known = load_skeleton(category.skeleton).keypoints
        found[category.skeleton] = tuple(dict.fromkeys((*known, *category.keypoints)))
    return found


def _metadata(manifest: dict[str, Any], layouts: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """Without "version" FiftyOne reads the folder in its documented JSON form instead of as a dump of its database."""
    skeletons = {}
    for skeleton, names in layouts.items():
        place = {name: number for number, name in enumerate(names)}
        try:
            edges = [[place[a], place[b]] for a, b in load_skeleton(skeleton).edges]
        except VocabularyError:
            edges = []
        if names:
            skeletons[field_of(skeleton)] = {"labels": list(names), "edges": edges}
    info = {
        "description": str(manifest.get("title", "")),
        "licence": str(manifest.get("licence", "see the field licence of each sample")),
        "skeletons": skeletons,
    }
    return {"name": str(manifest.get("name", "xpose")), "media_type": "image", "info": info}


def _copied(path: Path, record: Record, target: Path) -> str:
    """Put a picture into the dataset's folder; its name relative to that."""
    name = f"data/{record.picture.file}"
    copy = target / name
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    except OSError as error:
        raise DataError(
            f"{quote(path)} cannot be copied: {error.strerror}. Check location.json, or leave out --copy."
        ) from None
    return name
