"""Small labelled pictures and answers to measure: written by hand, or drawn at random."""

from __future__ import annotations

import numpy as np

from xpose.records import Category, Instance, Picture, Record
from xpose.results import Poses

DOG = Category("dog", "animal", ("nose", "left eye", "right eye", "tail base"))
FACE = Category("face", "toy_face", ("left eye", "right eye", "chin"))


def labelled(category=DOG, box=(0, 0, 100, 50), /, *, iscrowd=False, area=None, **points):
    """An object; points as left_eye=(x, y) or (x, y, v)."""
    named = {name.replace("_", " "): (*place, 2)[:3] for name, place in points.items()}
    return Instance(category, tuple(map(float, box)), named, iscrowd, area)


def record(*instances, source="set", file="1.jpg", size=(200, 300), source_id=None):
    """A picture 300 wide and 200 high with these objects."""
    picture = Picture(file, size[1], size[0])
    return Record(picture, tuple(instances), source, "val", "CC0", "anatomical", source_id=source_id).check()


def pose(category=DOG, box=(0, 0, 100, 50), score=0.9, /, *, scores=None, names=None, **points):
    """A found object; box as x, y, width, height; scores of its points as a dict (0.9 where left out)."""
    x, y, width, height = box
    names = names or category.keypoints
    given = {name.replace("_", " "): place for name, place in points.items()}
    told = {name.replace("_", " "): value for name, value in (scores or {}).items()}
    return {
        "boxes": (x, y, x + width, y + height),
        "scores": score,
        "categories": category.name,
        "xy": [given.get(name, (np.nan, np.nan)) for name in names],
        "keypoint_scores": [told.get(name, 0.9 if name in given else np.nan) for name in names],
        "visibility": [2 if name in given else 0 for name in names],
        "keypoint_names": tuple(names),
    }


def found(*poses, size=(200, 300)):
    """The result of a picture, in the order given."""
    if not poses:
        return Poses.empty(size)
    widest = max(len(one["keypoint_names"]) for one in poses)

    def padded(rows, filler):
        return [list(row) + [filler] * (widest - len(row)) for row in rows]

    columns = {key: [one[key] for one in poses] for key in poses[0]}
    nan = float("nan")
    columns["xy"] = padded(columns["xy"], (nan, nan))
    columns["keypoint_scores"] = padded(columns["keypoint_scores"], nan)
    columns["visibility"] = padded(columns["visibility"], 0)
    for key in ("categories", "keypoint_names"):
        columns[key] = tuple(columns[key])
    return Poses(**columns, image_size=size)


def perfect(truth, score=1.0):
    """The answer that repeats the labels; points that are not labelled have confidence 0."""
    rows = []
    for one in truth.instances:
        points = {name.replace(" ", "_"): (x, y) for name, (x, y, v) in one.keypoints.items() if v}
        missing = {name: 0.0 for name in one.category.keypoints if not one.keypoints.get(name, (0, 0, 0))[2]}
        rows.append(pose(one.category, one.box, score, scores=missing | dict.fromkeys(points, 1.0), **points))
    return found(*rows, size=(truth.picture.height, truth.picture.width))


def random_pictures(seed, pictures=12, categories=(DOG, FACE), most=5, noise=8.0):
    """Labelled pictures and imperfect answers: displaced, missing, doubled and invented objects and points."""
    random = np.random.default_rng(seed)

    def quarters(values):  # exact in single precision too
        return (values * 4).round() / 4

    made = []
    for number in range(pictures):
        instances, poses = [], []
        for _ in range(random.integers(0, most + 1)):
            category = categories[random.integers(len(categories))]
            low = quarters(random.uniform(0, (200, 100)))
            size = quarters(random.uniform(10, 170, 2))
            places = quarters(low + random.uniform(0, 1, (len(category.keypoints), 2)) * size)
            marks = random.choice([0, 1, 2], len(places), p=[0.2, 0.2, 0.6])
            points = {
                name: (float(x), float(y), int(v))
                for name, (x, y), v in zip(category.keypoints, places, marks, strict=True)
                if v
            }
            box = (*map(float, low), *map(float, size))
            instances.append(Instance(category, box, points, bool(random.random() < 0.1), float(size.prod() * 0.6)))
            for _ in range(random.choice([0, 1, 1, 1, 2])):
                moved = places + random.normal(0, noise, places.shape)
                given = {name.replace(" ", "_"): place for name, place in zip(category.keypoints, moved, strict=True)}
                told = {name: float(random.random()) for name in given}
                shift = random.normal(0, noise / 2, 2)
                poses.append(pose(category, (*(low + shift), *size), round(random.random(), 1), scores=told, **given))
        order = random.permutation(len(poses))
        truth = record(*instances, source=f"set {number % 2}", file=f"{number}.jpg")
        made.append((truth, found(*(poses[i] for i in order))))
    return made
