"""Small originals for the tests: drawn pictures whose known points are coloured dots, and the checks all sets share.

A converter's test module has one `write_tree(root) -> Tree` that writes the original's layout, and gives it to
`check_prepared` (pixels, counts, pycocotools, same bytes twice, source untouched) and to `fuzz.fuzz_test`.
"""

from __future__ import annotations

import colorsys
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from xpose.data.collection.manifest import read_manifest
from xpose.data.collection.store import CocoSet
from xpose.data.datasets.pipeline import Prepared, prepare
from xpose.records import Record

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
RADIUS = 2  # of a dot


@dataclass
class Truth:
    """What the records of one picture must say: per object, unified name -> (x, y) of the dot's middle, 0-based."""

    objects: list[dict[str, tuple[float, float]]]
    split: str
    visibility: int = 2


@dataclass
class Tree:
    """An original in its authors' layout."""

    root: Path
    truth: dict[str, Truth]  # picture, as its record names it
    annotations: list[str]  # text and JSON files (relative) that the fuzz test damages
    pictures: list[str] = field(default_factory=list)  # files (relative); the truth's keys if they are the same

    def __post_init__(self) -> None:
        self.pictures = self.pictures or list(self.truth)


def colour_of(name: str, number: int) -> tuple[int, int, int]:
    """A bright colour that belongs to one point of one object."""
    hue = int(hashlib.sha256(f"{name} {number}".encode()).hexdigest()[:4], 16) / 0xFFFF
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 1, 1))  # type: ignore[return-value]


def draw(path: Path, size: tuple[int, int], objects: list[dict[str, tuple[float, float]]]) -> None:
    """A black picture with a dot in its own colour at every point."""
    image = Image.new("RGB", size)
    pen = ImageDraw.Draw(image)
    for number, points in enumerate(objects):
        for name, (x, y) in points.items():
            pen.rectangle((x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS), fill=colour_of(name, number))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=100, subsampling=0) if path.suffix in (".jpg", ".jpeg") else image.save(path)


def spread(names: tuple[str, ...] | list[str], left: int, top: int, step: int = 8, row: int = 5) -> dict:
    """Places on a grid, one for each name; far enough apart that no dot covers another."""
    return {name: (left + step * (i % row), top + step * (i // row)) for i, name in enumerate(names)}


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, value: object) -> None:
    write_text(path, json.dumps(value))


def records_of(folder: Path) -> dict[str, Record]:
    """All records of a prepared set, by their picture's name."""
    splits = read_manifest(folder)["splits"].values()
    return {record.picture.file: record for entry in splits for record in CocoSet(folder / entry["file"])}


def snapshot(root: Path) -> dict[str, tuple[int, str]]:
    """Every file under a folder with its time and content, to see that nothing was touched."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files}


def check_prepared(converter: str, tree: Tree, out: Path) -> Prepared:
    """Prepare the tree and check everything that holds for every set."""
    before = snapshot(tree.root)
    done = prepare(converter, tree.root, out / "a")
    assert snapshot(tree.root) == before, "the source folder was changed"
    assert done.skipped == {}
    records = records_of(done.folder)
    assert set(records) == set(tree.truth)
    for name, truth in tree.truth.items():
        _check_record(records[name], truth, tree.root if records[name].picture.stored == "source" else done.folder)
    check_pycocotools(done.folder)
    again = prepare(converter, tree.root, out / "b")
    for file in sorted(path.name for path in done.folder.glob("*.json")):
        assert (done.folder / file).read_bytes() == (again.folder / file).read_bytes(), f"{file}: other bytes"
    return done


def _check_record(record: Record, truth: Truth, root: Path) -> None:
    assert record.faults() == []
    assert record.split == truth.split
    stored = Image.open(root / record.picture.file)
    image, tolerance = stored.convert("RGB"), 2 if stored.mode == "L" else 60  # grey ones come from arrays, unharmed
    assert image.size == (record.picture.width, record.picture.height)
    assert len(record.instances) == len(truth.objects)
    for number, (instance, points) in enumerate(zip(record.instances, truth.objects, strict=True)):
        assert set(instance.keypoints) == set(points)
        x0, y0, width, height = instance.box
        for name, (x, y, v) in instance.keypoints.items():
            assert v == truth.visibility
            assert (x, y) == pytest.approx(points[name], abs=0.001)
            pixel = image.getpixel((round(x), round(y)))
            colour = Image.new("RGB", (1, 1), colour_of(name, number))
            expected = colour.convert(stored.mode).convert("RGB").getpixel((0, 0))
            differs = max(abs(a - b) for a, b in zip(pixel, expected, strict=True))
            assert differs < tolerance, f"{name}: {pixel}, {expected}"
            assert x0 - 1 <= x <= x0 + width + 1
            assert y0 - 1 <= y <= y0 + height + 1


def check_pycocotools(folder: Path) -> None:
    """pycocotools loads every split and finds what the manifest counts."""
    from pycocotools.coco import COCO

    for entry in read_manifest(folder)["splits"].values():
        coco = COCO(folder / entry["file"])
        assert len(coco.getImgIds()) == entry["counts"]["images"]
        assert len(coco.getAnnIds()) == entry["counts"]["instances"]
        for annotation in coco.loadAnns(coco.getAnnIds()):
            category = coco.loadCats(annotation["category_id"])[0]
            assert len(annotation["keypoints"]) == 3 * len(category["keypoints"])
            assert all(1 <= end <= len(category["keypoints"]) for edge in category["skeleton"] for end in edge)


def shared(folder: str) -> Path:
    """A folder of the shared data beside the project; the test skips, saying so, where it is absent."""
    path = SHARED / folder
    if not path.is_dir():
        pytest.skip(f"needs the sample data {folder} in ../shared/data beside the project, which is not there")
    return path


def link(source: Path, target: Path) -> None:
    """Put a sample file where the original's layout has it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source.resolve())
