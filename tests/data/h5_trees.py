"""Originals of DeepPoseKit's kind for the tests, and the ways in which h5 and mat files get damaged."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from tests.data.trees import Tree, Truth, draw, spread, write_text

from xpose.data.datasets.converters.deepposekit import DeepPoseKit, _rows

ROWS = 20
SIZE = 96


def grey(root: Path, objects: list[dict]) -> np.ndarray:
    """The picture of dots as the array that the h5 file has for it."""
    path = root / "drawing.png"
    draw(path, (SIZE, SIZE), objects)
    pixels = np.asarray(Image.open(path).convert("L"))[:, :, None]
    path.unlink()
    return pixels


def write_h5(path: Path, images: np.ndarray, points: np.ndarray, known: np.ndarray) -> None:
    """The four arrays; the last has parents and partners, both -1 here since nobody reads them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["images"], file["annotations"], file["annotated"] = images, points, known
        file["skeleton"] = np.full((points.shape[1], 2), -1, np.int32)


def csv_text(names: list[str]) -> str:
    return "\n".join(["name,parent,swap", *(f"{name},," for name in names)])


def write_tree(root: Path, converter: DeepPoseKit) -> Tree:
    """Rows with all points, and every third one without its first point: once unconfirmed, once never placed."""
    table = converter.table
    places, truth, images, known = np.full((ROWS, len(table.names), 2), -1.0), {}, [], []
    test = set(_rows(ROWS, "test"))
    for row in range(ROWS):
        points = {name: (x + 0.25, y) for name, (x, y) in spread(table.unified, 10, 10 + row % 7, 11, 7).items()}
        first = table.unified[0]
        if row % 3 == 0:
            del points[first]
        images.append(grey(root, [points]))
        sure = [name in points or row % 2 == 0 for name in table.unified]
        for number, name in enumerate(table.unified):
            if name in points or row % 2:
                places[row, number] = points.get(name, (5.0, 5.0))
        known.append(sure)
        truth[f"pictures/row_{row:05}.png"] = Truth([points], "test" if row in test else "train")
    write_h5(root / converter.file, np.stack(images), places, np.array(known))
    write_text(root / converter.names_file, csv_text(list(table.names)))
    tree = Tree(root, truth, [converter.names_file])
    tree.pictures = []  # they are inside the h5 file
    return tree


def flipped_bytes(tree: Tree) -> Iterator[str]:
    """Single bytes changed among the first, where the structure is."""
    for name in tree.annotations:
        path = tree.root / name
        content = path.read_bytes()
        chosen = random.Random(0)
        for _ in range(30):
            place = chosen.randrange(min(len(content), 4096))
            path.write_bytes(
                content[:place] + bytes([content[place] ^ chosen.randrange(1, 256)]) + content[place + 1 :]
            )
            yield f"{name}: byte {place}"
        path.write_bytes(content)


def spoilt(name: str, change: Callable[[h5py.File], None]) -> Callable[[Tree], Iterator[str]]:
    """A damage that changes every h5 file of the tree in one way."""

    def damage(tree: Tree) -> Iterator[str]:
        for file in tree.annotations:
            path = tree.root / file
            kept = path.with_suffix(".kept")
            shutil.copy2(path, kept)
            with h5py.File(path, "r+") as opened:
                change(opened)
            shutil.move(kept, tree.root.parent / "kept")
            yield f"{file}: {name}"
            shutil.move(tree.root.parent / "kept", path)

    damage.__name__ = name
    return damage


def put(file: h5py.File, key: str, value: object) -> None:
    """Another array in the place of one."""
    del file[key]
    file[key] = value
