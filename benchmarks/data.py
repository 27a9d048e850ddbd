"""Cost of `xpose data unify`: memory and time for a large synthetic collection, and the fingerprints' quality.

    python benchmarks/data.py unify                # 400,000 objects in 240,000 pictures; annotations only
    python benchmarks/data.py leaks                # comparing the fingerprints of 240,000 pictures
    python benchmarks/data.py pictures             # pictures read and compared per second, on synthetic ones
    python benchmarks/data.py prints FOLDER        # differing bits of looks, on your own pictures

`unify` writes a collection's annotation files (no pictures, so no search for leaks), then unifies them in a fresh
process and reports its peak memory. The exit code is 1 if it is over the limit.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

LIMIT_MB = 300
SETS = ("person", "animal", "face", "hand", "cub_bird", "fly")


def write_sets(root: Path, pictures: int, objects: int) -> None:
    """Write prepared sets of several skeletons with random, complete records."""
    from xpose.data.collection.manifest import LOCATION, MANIFEST, REPORT, write_json
    from xpose.data.collection.store import sha256_of, write_coco
    from xpose.data.datasets.report import write_report

    for number, skeleton in enumerate(SETS):
        folder = root / skeleton
        splits = {"train": 0.9, "val": 0.1}
        entries = {}
        for split, share in splits.items():
            counts = (round(pictures * share / len(SETS)), round(objects * share / len(SETS)))
            path = folder / f"{split}.json"
            counted = write_coco(path, lambda c=counts, s=split, n=number: records(n, s, *c), {"set": skeleton})
            entries[split] = {"file": path.name, "sha256": sha256_of(path), "counts": counted.to_json(), "skipped": {}}
        write_report(folder / REPORT, skeleton, [])
        write_json(folder / LOCATION, {"root": str(folder)})
        write_json(folder / MANIFEST, {"name": skeleton, "left_right": "anatomical", "splits": entries})


def records(number: int, split: str, pictures: int, objects: int) -> Iterator[object]:
    """Random records of one set, the same at every call."""
    from xpose.records import Category, Instance, Picture, Record
    from xpose.vocabulary import load_skeleton

    rng = np.random.default_rng([number, len(split)])
    skeleton = load_skeleton(SETS[number])
    kinds = [
        Category(f"kind {k} of {skeleton.name}", skeleton.name, skeleton.keypoints, skeleton.edges) for k in range(100)
    ]
    done = 0
    for index in range(pictures):
        amount = round(objects * (index + 1) / pictures) - done
        done += amount
        instances = []
        for _ in range(amount):
            places = rng.uniform(0, 480, (len(skeleton), 2)).round(2).tolist()
            points = {name: (x, y, 2) for name, (x, y) in zip(skeleton.keypoints, places, strict=True)}
            instances.append(Instance(kinds[int(rng.integers(100))], (0.0, 0.0, 480.0, 480.0), points))
        picture = Picture(f"{split}/a_folder_of_pictures/{index:012}.jpg", 640, 480)
        yield Record(picture, tuple(instances), SETS[number], split, "not stated", "anatomical")


def unify_here(root: Path) -> None:
    """Unify (run in a subprocess) and print time and peak memory."""
    from xpose.data.collection.unify import Choices, unify

    start = time.perf_counter()
    done = unify([root / "sets"], root / "collection", Choices(leaks="off", samples={"hand": 30_000}))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
    totals = done.statistics.totals()
    print(json.dumps({"seconds": seconds, "peak_mb": peak, **totals}))


def run_unify(pictures: int, objects: int) -> int:
    """Write, unify, report."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        start = time.perf_counter()
        write_sets(root / "sets", pictures, objects)
        size = sum(path.stat().st_size for path in root.rglob("*.json")) / 1e6
        seconds = time.perf_counter() - start
        print(f"written: {pictures:,} pictures, {objects:,} objects, {size:,.0f} MB in {seconds:.0f} s")
        command = [sys.executable, __file__, "unify-here", str(root)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    print(f"unified: {found['images']:,} pictures, {found['instances']:,} objects in {found['seconds']:.0f} s")
    print(f"peak memory of the process: {found['peak_mb']:.0f} MB (limit {LIMIT_MB} MB)")
    return int(found["peak_mb"] > LIMIT_MB)


def run_leaks(pictures: int) -> int:
    """Compare random fingerprints; a tenth are evaluation pictures, of which one in a hundred is a near copy."""
    from xpose.data.collection.leaks import Prints, Side, find_leaks

    rng = np.random.default_rng(0)
    sides = Side(), Side()
    looks = rng.integers(0, 256, (pictures, 32), dtype=np.uint8)
    held_out = pictures // 10
    copies = np.arange(0, held_out, 100)
    looks[held_out + copies] = looks[copies] ^ (rng.uniform(size=(len(copies), 32)) < 0.1).astype(np.uint8)
    for number, look in enumerate(looks):
        prints = Prints(number.to_bytes(16, "big"), look.tobytes(), look[::-1].tobytes())
        sides[number < held_out].add(f"a_set/a_folder_of_pictures/{number:012}.jpg", prints)
    start = time.perf_counter()
    found = find_leaks(*sides)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
    print(f"{pictures:,} pictures compared in {seconds:.1f} s; {len(found)} of {len(copies)} near copies found")
    print(f"peak memory: {peak:.0f} MB")
    return int(len(found) != len(copies))


def run_pictures(count: int) -> int:
    """Fingerprints per second and core, on synthetic 640x480 JPEGs."""
    from PIL import Image

    from xpose.data.collection.leaks import print_picture
    from xpose.data.synthetic.scenes import generate

    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, (pixels, _) in enumerate(generate(0, count)):
            paths.append(Path(folder) / f"{number}.jpg")
            Image.fromarray(pixels).save(paths[-1], quality=90)
        start = time.perf_counter()
        for path in paths:
            print_picture(path)
        print(f"{count / (time.perf_counter() - start):,.0f} pictures a second in one process (640x480 JPEG)")
    return 0


def run_prints(folder: Path, count: int) -> int:
    """Distances between looks, for changed copies and for other pictures."""
    from PIL import Image

    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    chosen = [paths[k] for k in sorted(np.random.default_rng(0).permutation(len(paths))[:count])]
    images = [Image.open(path).convert("RGB") for path in chosen]
    looks = [_look(image) for image in images]
    distances: dict[str, list[int]] = {}
    for image, own in zip(images, looks, strict=True):
        for name, changed in _changes(image):
            distances.setdefault(name, []).append(int((_look(changed) != own).sum()))
    for name, found in distances.items():
        print(f"{name:<22} {_spread(found)}")
    matrix = np.array(looks)
    apart = (matrix[:, None] != matrix[None]).sum(axis=-1)
    np.fill_diagonal(apart, 256)
    print(f"{'nearest other picture':<22} {_spread(apart.min(axis=1).tolist())}")
    return 0


def _look(image: object) -> np.ndarray:
    from PIL import Image

    from xpose.data.collection.leaks import SIDE, looks

    assert isinstance(image, Image.Image)
    grey = image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    bits: np.ndarray = np.unpackbits(np.frombuffer(looks(np.asarray(grey, dtype=float))[0] or bytes(32), np.uint8))
    return bits


def _changes(image: object) -> Iterable[tuple[str, object]]:
    from PIL import Image

    assert isinstance(image, Image.Image)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=50)
    yield "JPEG quality 50", Image.open(stream)
    yield "half the size", image.resize((max(1, image.width // 2), max(1, image.height // 2)))
    yield "15 % brighter", image.point(lambda value: min(255, round(value * 1.15)))
    yield (
        "2 % cut off all round",
        image.crop(
            (image.width // 50, image.height // 50, image.width - image.width // 50, image.height - image.height // 50)
        ),
    )


def _spread(found: list[int]) -> str:
    least, low, median, high, most = np.percentile(found, [0, 2, 50, 98, 100])
    return f"bits: least {least:.0f}, 2 % {low:.0f}, median {median:.0f}, 98 % {high:.0f}, most {most:.0f}"


def main() -> int:
    """Choose and run a benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["unify", "unify-here", "leaks", "pictures", "prints"])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--pictures", type=int, default=240_000)
    parser.add_argument("--objects", type=int, default=400_000)
    parser.add_argument("--count", type=int, default=250)
    given = parser.parse_args()
    if given.what == "unify-here":
        unify_here(given.folder)
        return 0
    print(f"Python {platform.python_version()}, {platform.machine()}")
    if given.what == "unify":
        return run_unify(given.pictures, given.objects)
    if given.what == "leaks":
        return run_leaks(given.pictures)
    if given.what == "pictures":
        return run_pictures(given.count)
    if given.folder is None:
        parser.error("prints needs a FOLDER of pictures")
    return run_prints(given.folder, given.count)


if __name__ == "__main__":
    sys.exit(main())
