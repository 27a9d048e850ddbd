"""Prepared sets that tests make without converters: drawn pictures in a folder of their own, records as wished."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from xpose.data.collection.manifest import LOCATION, MANIFEST, REPORT, write_json
from xpose.data.collection.store import sha256_of, write_coco
from xpose.data.datasets.report import write_report
from xpose.data.synthetic.scenes import draw_scene
from xpose.data.synthetic.toys import KINDS
from xpose.records import Category, Instance, Picture, Record, Taxonomy
from xpose.vocabulary import load_skeleton

SIZE = (120, 90)


def category(name: str, skeleton: str = "person", taxonomy: Taxonomy = Taxonomy()) -> Category:  # noqa: B008 (frozen)
    known = load_skeleton(skeleton)
    return Category(name, skeleton, known.keypoints, known.edges, taxonomy)


def draw_picture(path: Path, number: int) -> None:
    """A picture like no other number's."""
    scene = draw_scene(np.random.default_rng([99, number]), SIZE, tuple(KINDS), (1, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene.pixels).save(path)


def record(
    set_name: str, split: str, file: str, kinds: Iterable[Category] = (), rule: str = "anatomical", **more: Any
) -> Record:
    """A record whose objects have all their points in a row, half of them hidden."""
    instances = tuple(
        Instance(
            kind,
            (5.0, 5.0, 100.0, 80.0),
            {name: (10.0 + k, 20.0 + number, 1 + k % 2) for k, name in enumerate(kind.keypoints)},
        )
        for number, kind in enumerate(kinds)
    )
    picture = Picture(file, *SIZE)
    return Record(picture, instances, set_name, split, "CC-BY-4.0", left_right=rule, **more)  # type: ignore[arg-type]


def write_prepared(root: Path, name: str, records: list[Record], numbers: dict[str, int], **manifest: Any) -> Path:
    """A prepared set in `root/NAME`, its pictures in `root/NAME-original`; `numbers` tells which picture to draw."""
    folder, original = root / name, root / f"{name}-original"
    for file, number in numbers.items():
        draw_picture(original / file, number)
    entries = {}
    for split in sorted({one.split for one in records}):
        mine = [one for one in records if one.split == split]
        counted = write_coco(folder / f"{split}.json", lambda held=mine: held, {"set": name})  # type: ignore[misc]
        digest = sha256_of(folder / f"{split}.json")
        entries[split] = {"file": f"{split}.json", "sha256": digest, "counts": counted.to_json(), "skipped": {}}
    write_report(folder / REPORT, name, [])
    write_json(folder / LOCATION, {"root": str(original)})
    told = {"name": name, "title": f"The set {name}", "licence": "CC-BY-4.0", "left_right": "anatomical"}
    write_json(folder / MANIFEST, {**told, **manifest, "splits": entries})
    return folder
