"""Drawn pictures with keypoints that are known exactly: for tests, demos and checks of training, without a download.

    for pixels, record in generate(seed=0, count=10):
        ...                                     # an array (height, width, 3) of bytes and its record
    write_synthetic("sets/synthetic", 1000, seed=0)   # a prepared set like any other

Every picture depends on the seed and its own number alone, so that any part of a collection can be drawn by itself.
A keypoint is hidden (1) behind an object in front of it or the object's own far side, and not labelled outside the
picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from xpose import __version__
from xpose.data.collection.manifest import LOCATION, MANIFEST, REPORT, split_entry, verify, write_json
from xpose.data.collection.store import Counts, sha256_of, write_coco
from xpose.data.datasets.report import write_report
from xpose.data.synthetic.figure import PolygonFigure, box_of_mask, draw_background, noise, rotation
from xpose.data.synthetic.toys import KINDS
from xpose.errors import DataError, did_you_mean, quote
from xpose.records import HIDDEN, VISIBLE, Category, Instance, Picture, Point, Record
from xpose.vocabulary import load_skeleton

NAME, TITLE = "synthetic", "Drawn objects with exact keypoints"
LICENCE = "Apache-2.0"
SMOOTHING = 2  # scale of the drawing before reduction
LEAST_SEEN = 0.4  # visible share of an object's pixels that later objects must leave
TRIES = 12  # attempts to place an object


@dataclass
class Scene:
    """A drawn picture; `owners` is the number (from 1) of the object that is visible at each pixel."""

    pixels: np.ndarray
    owners: np.ndarray
    instances: tuple[Instance, ...]


@dataclass
class _Placed:
    kind: str
    figure: PolygonFigure  # in picture pixels
    mask: np.ndarray


def generate(
    seed: int,
    count: int,
    size: tuple[int, int] = (640, 480),
    *,
    kinds: Sequence[str] = tuple(KINDS),
    objects: tuple[int, int] = (1, 4),
    start: int = 0,
    split: str = "train",
) -> Iterator[tuple[np.ndarray, Record]]:
    """`count` pictures of `size` (width, height) with their records, numbered from `start`.

    `kinds` are the objects to draw (from `toys.KINDS`); `objects` is their minimum and maximum number per picture.
    """
    _check(count, size, kinds, objects)
    for number in range(start, start + count):
        scene = draw_scene(np.random.default_rng([seed, number]), size, kinds, objects)
        picture = Picture(f"pictures/{number:06}.png", size[0], size[1], stored="prepared")
        record = Record(picture, scene.instances, NAME, split, LICENCE, "anatomical", "drawing", source_id=picture.file)
        yield scene.pixels, record


def write_synthetic(
    out: str | Path,
    count: int,
    seed: int = 0,
    *,
    size: tuple[int, int] = (640, 480),
    kinds: Sequence[str] = tuple(KINDS),
    objects: tuple[int, int] = (1, 4),
    validation: float = 0.1,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Counts]:
    """Write `count` pictures as a prepared set into `out`; the last ones (share `validation`) form `val`.

    Raises:
        DataError: a kind is unknown, or a number is invalid.
    """
    _check(count, size, kinds, objects)
    held_out = min(count - 1, round(count * validation)) if validation > 0 else 0
    parts = {"train": (0, count - held_out)} | ({"val": (count - held_out, held_out)} if held_out else {})
    drawn = {
        split: (amount, generate(seed, amount, size, kinds=kinds, objects=objects, start=start, split=split))
        for split, (start, amount) in parts.items()
    }
    words = {"name": NAME, "title": TITLE, "licence": LICENCE, "terms": "none", "left_right": "anatomical"}
    stated = {**words, "skeletons": sorted(f"toy_{kind}" for kind in kinds)}
    settings = {"seed": seed, "count": count, "size": list(size), "kinds": list(kinds), "objects": list(objects)}
    return write_drawn(Path(out), stated, settings, drawn, progress)


def write_drawn(
    folder: Path,
    stated: Mapping[str, Any],
    settings: Mapping[str, Any],
    drawn: Mapping[str, tuple[int, Iterable[tuple[np.ndarray, Record]]]],
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Counts]:
    """Write drawn pictures as a prepared set; `drawn` has each split's number of pictures, and the pictures.

    The manifest contains `stated` (name, title, licence, terms, left_right, skeletons) and the `settings` with a seed.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise DataError(f"The folder {quote(folder)} is not empty. Name another folder, or empty this one.")
    counts = {}
    for split, (amount, pictures) in drawn.items():
        records = []
        for number, (pixels, record) in enumerate(pictures, start=1):
            path = folder / record.picture.file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
            height, width = pixels.shape[:2]
            picture = Picture(record.picture.file, width, height, stored="prepared", sha256=sha256_of(path))
            records.append(replace(record, picture=picture))
            if progress:
                progress(split, number, amount)
        info = {"description": stated["title"], "set": stated["name"], "split": split, "licence": stated["licence"]}
        counts[split] = write_coco(folder / f"{split}.json", lambda held=records: held, info)  # type: ignore[misc]
    write_report(folder / REPORT, stated["name"], [])
    write_json(folder / LOCATION, {"root": str(folder.resolve())})
    manifest = {
        **stated,
        "homepage": "not stated",
        "format": "drawn by xpose",
        "origin": "0-based pixels",
        "visibility": "2 visible, 1 behind another object or on the far side, not labelled outside the picture",
        "boxes": "extent of the object's pixels inside the picture, covered ones too",
        "evaluation": "none",
        "expected": {"unikpt_images": None, "images": None, "instances": None, "split_images": {}},
        "xpose": __version__,
        "sampling_seed": settings["seed"],
        "drawn": settings,
        "splits": {split: split_entry(folder, split, counted, {}) for split, counted in counts.items()},
    }
    write_json(folder / MANIFEST, manifest)
    verify(folder)
    return counts


def _check(count: int, size: tuple[int, int], kinds: Sequence[str], objects: tuple[int, int]) -> None:
    for kind in kinds:
        if kind not in KINDS:
            raise DataError(f"Unknown kind {quote(kind)}.{did_you_mean(kind, KINDS)} There are: {', '.join(KINDS)}.")
    if not kinds:
        raise DataError(f"No kind of object was given. At least one is needed; there are: {', '.join(KINDS)}.")
    if count < 1 or min(size) < 32 or not 0 <= objects[0] <= objects[1]:
        raise DataError(
            f"{count} pictures of {size[0]}x{size[1]} with {objects[0]} to {objects[1]} objects cannot be drawn. "
            "Give at least one picture, sides of at least 32 pixels, and the smaller number of objects first."
        )


def category_of(kind: str) -> Category:
    """The category of a kind, such as "toy fish" with the skeleton "toy_fish"."""
    skeleton = load_skeleton(f"toy_{kind}")
    return Category(f"toy {kind}", skeleton.name, skeleton.keypoints, skeleton.edges)


def draw_scene(
    rng: np.random.Generator, size: tuple[int, int], kinds: Sequence[str], objects: tuple[int, int]
) -> Scene:
    """Draw one picture: a background, objects from back to front, then lighting and noise over all."""
    count, placed = int(rng.integers(objects[0], objects[1] + 1)), list[_Placed]()
    background = draw_background(rng, size)
    for _ in range(count):
        if placement := _place(rng, str(rng.choice(np.array(kinds))), size, count, placed):
            placed.append(placement)
    large = background.resize((size[0] * SMOOTHING, size[1] * SMOOTHING), Image.Resampling.BICUBIC)
    brush = ImageDraw.Draw(large)
    owners = np.zeros((size[1], size[0]), dtype=np.uint8)
    for number, placement in enumerate(placed, start=1):
        for corners, paint in placement.figure.shapes:
            # A keypoint is a pixel index, so the middle of pixel 0 is at 0.5 of the drawing.
            brush.polygon([tuple(corner) for corner in (corners + 0.5) * SMOOTHING - 0.5], fill=paint)
        owners[placement.mask] = number
    pixels = np.asarray(large.resize(size, Image.Resampling.BOX), dtype=float)
    light = 0.78 + 0.44 * noise(rng, *size)[..., None]
    pixels = np.clip(pixels * light + rng.normal(0, rng.uniform(0, 8), pixels.shape), 0, 255).astype(np.uint8)
    return Scene(pixels, owners, tuple(_instance(item, number, owners) for number, item in enumerate(placed, start=1)))


def _place(
    rng: np.random.Generator, kind: str, size: tuple[int, int], crowd: int, others: list[_Placed]
) -> _Placed | None:
    """Place a figure where enough of those behind it stays visible; None if there is no room."""
    figure = KINDS[kind](rng)
    reach = float(np.ptp(np.concatenate([corners for corners, _ in figure.shapes]), axis=0).max())
    largest = 0.85 if crowd == 1 else 1.1 / np.sqrt(crowd)
    for _ in range(TRIES):
        height = rng.uniform(0.3, 1.0) * largest * min(size)
        turn = rotation(rng.normal(0, 0.18)) @ np.diag([rng.uniform(0.85, 1.18), 1.0])
        moved = figure.moved(height / reach * turn, rng.uniform(0.02, 0.98, 2) * size)
        corners = np.concatenate([corners for corners, _ in moved.shapes])
        inside = np.clip(corners, 0, np.array(size) - 1)
        if np.abs(corners - inside).max() > (0.35 * height if rng.uniform() < 0.2 else 0):
            continue
        mask = _mask(moved, size)
        covered = mask.copy()  # by all objects in front together
        for other in reversed(others):
            if (other.mask & ~covered).sum() < LEAST_SEEN * other.mask.sum():
                break
            covered |= other.mask
        else:
            if mask.any():
                return _Placed(kind, moved, mask)
    return None


def _mask(figure: PolygonFigure, size: tuple[int, int]) -> np.ndarray:
    image = Image.new("1", size)
    brush = ImageDraw.Draw(image)
    for corners, _ in figure.shapes:
        brush.polygon([tuple(corner) for corner in corners], fill=1)
    return np.array(image)


def _instance(placed: _Placed, number: int, owners: np.ndarray) -> Instance:
    height, width = owners.shape
    points: dict[str, Point] = {}
    category = category_of(placed.kind)
    for name in category.keypoints:
        x, y = placed.figure.points[name]
        column, row = round(x), round(y)
        if 0 <= column < width and 0 <= row < height:
            # Objects are painted in the order of their numbers. A tip with covered surroundings is hidden, too.
            near = owners[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
            covered = owners[row, column] > number or not (near == number).any()
            points[name] = (x, y, HIDDEN if covered or name in placed.figure.hidden else VISIBLE)
    area = float((owners == number).sum())
    return Instance(category, box_of_mask(placed.mask), points, area=area, source_id=str(number))
