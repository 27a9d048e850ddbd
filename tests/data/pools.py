"""Pools for the tests of loading: pictures with a coloured dot at every point, in files of their own."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from xpose.data.loading.labelling import Labelling
from xpose.data.loading.pool import Pool
from xpose.records import Category, Instance, Picture, Record
from xpose.vocabulary import load_skeleton


def category(name: str, skeleton: str, names: Iterable[str] | None = None) -> Category:
    known = load_skeleton(skeleton)
    return Category(name, skeleton, tuple(names) if names else known.keypoints, known.edges if names is None else ())


def colours(names: Iterable[str]) -> dict[str, np.ndarray]:
    """A colour for each name, far from the others and from black."""
    names = list(names)
    return {name: np.array(colorsys.hsv_to_rgb(i / len(names), 1.0, 1.0)) * 255 for i, name in enumerate(names)}


def dotted(size: tuple[int, int], points: Mapping[str, tuple[int, int]], radius: int) -> Image.Image:
    """Black, with a disc in its own colour at every point (a pixel index)."""
    image = Image.new("RGB", size)
    pen = ImageDraw.Draw(image)
    shades = colours(points)
    for name, (x, y) in points.items():
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tuple(int(v) for v in shades[name]))
    return image


def spread(names: Iterable[str], size: tuple[int, int], columns: int = 6) -> dict[str, tuple[int, int]]:
    """Points on a grid over the whole picture."""
    names = list(names)
    rows = -(-len(names) // columns)
    return {
        name: (
            round(size[0] * (i % columns + 0.5) / columns),
            round(size[1] * (i // columns + 0.5) / rows),
        )
        for i, name in enumerate(names)
    }


def record(
    file: str, size: tuple[int, int], instances: Iterable[Instance], source: str = "dots", **more: str
) -> Record:
    return Record(Picture(file, *size), tuple(instances), source, "train", "none", "anatomical", **more)


def dot_pool(folder: Path, sizes: Iterable[tuple[int, int]], ending: str = ".png", radius: int = 4) -> Pool:
    """Pictures of one person each, whose points lie on a grid."""
    person = category("person", "person")
    items = []
    for number, size in enumerate(sizes):
        points = spread(person.keypoints, size)
        path = folder / f"{number}{ending}"
        options = {"quality": 95, "subsampling": 0} if ending == ".jpg" else {}
        dotted(size, points, radius).save(path, **options)
        labelled = {name: (float(x), float(y), 2) for name, (x, y) in points.items()}
        box = (0.0, 0.0, float(size[0]), float(size[1]))
        items.append((record(path.name, size, [Instance(person, box, labelled)]), path))
    return Pool(items)


def bare_pool(
    sets: Mapping[str, Iterable[Iterable[Category]]], labelling: Mapping[str, Labelling] | None = None
) -> Pool:
    """Labels without pictures: for every set the categories of each of its pictures."""
    items = []
    for name, pictures in sets.items():
        for number, shown in enumerate(pictures):
            instances = [Instance(one, (1.0, 1.0, 30.0, 30.0)) for one in shown]
            items.append((record(f"{number}.jpg", (64, 64), instances, name), Path("nowhere")))
    return Pool(items, labelling=labelling)
