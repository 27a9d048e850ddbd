"""Sets with skeletons of their own in training: what a mirrored picture calls a point lies on the dot drawn for it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from tests.data.trees import colour_of, draw, spread, write_json, write_text

from xpose.data.datasets.importers import import_set
from xpose.data.loading.examples import ExampleSettings
from xpose.data.loading.loader import Loader, Prompting
from xpose.data.loading.pool import open_pool, own_flips
from xpose.data.loading.transforms import NO_COLOURS, Augmentation
from xpose.errors import DataError

SIZE = (96, 96)
# No whole word says left or right, so nothing but the set's own skeleton knows the partners.
GLUED = {"eyeL": "eyeR", "eyeR": "eyeL", "tip": "tip"}
NUMBERED = {"point 1": "point 1", "point 2": "point 3", "point 3": "point 2"}


def coco(root: Path) -> Path:
    names, images, annotations = list(GLUED), [], []
    for number in range(3):
        points = spread(names, 20, 30, step=16)
        flat = [value for name in names for value in (*points[name], 2)]
        images.append({"id": number, "file_name": f"{number}.png", "width": SIZE[0], "height": SIZE[1]})
        row = {"id": number, "image_id": number, "category_id": 1, "bbox": [10, 20, 60, 40], "keypoints": flat}
        annotations.append(row)
        draw(root / f"{number}.png", SIZE, [points])
    categories = [{"id": 1, "name": "newt", "keypoints": names}]
    write_json(root / "labels.json", {"images": images, "annotations": annotations, "categories": categories})
    return import_set("coco", root / "labels.json", root.parent / "sets", name="newts").prepared.folder


def yolo(root: Path) -> Path:
    names = list(NUMBERED)
    for number in range(3):
        points = spread(names, 20, 30, step=16)
        cells = [0, 0.4, 0.4, 0.6, 0.5] + [v for name in names for v in (*(c / 96 for c in points[name]), 2)]
        draw(root / f"images/{number}.png", SIZE, [points])
        write_text(root / f"labels/{number}.txt", " ".join(map(str, cells)) + "\n")
    write_text(root / "data.yaml", "train: images\nkpt_shape: [3, 3]\nflip_idx: [0, 2, 1]\nnames: {0: newt}\n")
    return import_set("yolo-pose", root, root.parent / "sets", name="newts").prepared.folder


def dot(pixels: np.ndarray, x: float, y: float, name: str) -> float:
    """How far the colour at a place is from that of the dot drawn for a name."""
    colour = np.array(colour_of(name, 0), float)
    return float(np.abs(pixels[int(y), int(x)].astype(float) - colour).max())


@pytest.mark.parametrize(("make", "partners"), [(coco, GLUED), (yolo, NUMBERED)], ids=["by name", "by number"])
def test_mirrored_pictures_and_examples_take_the_names_of_the_skeleton(make, partners, tmp_path: Path) -> None:
    if make is yolo:
        pytest.importorskip("yaml", reason="needs pyyaml, which the extra `data` brings")
    place = make(tmp_path / "original")
    loader = Loader(
        open_pool([place], "train" if make is yolo else "all"),
        batch=2,
        augmentation=Augmentation(size=96, flip=1.0, scale=(1.0, 1.0), rotation=0.0, colours=NO_COLOURS),
        prompting=Prompting(1.0, examples=ExampleSettings((1, 1), side=96, flip=1.0, rotation=0.0, colours=NO_COLOURS)),
    )
    (kind,) = loader.pool.kinds
    assert dict(zip(kind.names, kind.mirrored, strict=True)) == partners
    sample = loader.sample(loader.plan.step(0), 0)
    assert sample.mirrored
    points = sample.labels.keypoints(0)
    assert set(points) == set(partners)
    cut = loader.finder.cut(np.random.default_rng(0), 0)
    for name, partner in partners.items():
        # The dot was drawn for the partner: mirroring carries a right eye to where the left one is looked for.
        assert dot(sample.pixels, *points[name][:2], partner) < 40, name
        assert dot(cut.pixels, *cut.keypoints[name][:2], partner) < 60, name


def test_two_sets_that_disagree_about_a_skeleton_are_refused(tmp_path: Path) -> None:
    one, other = coco(tmp_path / "a" / "original"), coco(tmp_path / "b" / "original")
    assert own_flips([one, other]) == {"newt of newts": GLUED}
    text = (other / "skeleton.toml").read_text("utf-8")
    for name in ("eyeL", "eyeR"):
        text = re.sub(rf'(name = "{name}", .*flip = )"{GLUED[name]}"', rf'\1"{name}"', text)
    (other / "skeleton.toml").write_text(text, "utf-8")
    with pytest.raises(DataError, match="other mirror partners"):
        open_pool([one, other], "all")
