"""Teachers' predictions for a picture, and which can be trusted given the existing labels."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from xpose.vocabulary import find_category

WEIGHTS = "nanodet_plus_m_416_coco80.onnx"
RAW, REGION, SURE, CONFUSABLE_SURE = 0.2, 0.25, 0.55, 0.65
SECOND_OPINION, POINTS_SURE, DOUBT = 0.6, 0.3, 0.1
SAME, INSIDE, ALIKE = 0.4, 0.7, 3.0  # IoU of one object; share of a box within another; ratio of areas of one object

ANIMALS = {"bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"}
CONFUSABLE = {"sheep", "bear", "frisbee", "kite", "bed", "bench", "apple", "orange", "banana", "broccoli", "carrot"}
NEVER_SURE = {"mouse"}  # a computer mouse; in the vocabulary the word means the animal
CARRIERS = {"couch", "bed", "chair", "bench", "dining table"}  # a cat on a couch has nearly the couch's box

Box = tuple[float, float, float, float]


@dataclass
class Guess:
    """A predicted object or region of one picture."""

    name: str  # the teacher's class
    score: float
    box: Box  # left, top, right, bottom
    sure: bool = False
    points: list[float] = field(default_factory=list)


def load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SystemExit(f"{path} is missing. Give the folder that holds it.") from None
    except ValueError as error:
        raise SystemExit(f"{path} is no JSON ({error}). Fetch it again.") from None


def store(path: Path, content: Any) -> None:
    """Write JSON so that an interrupted run leaves the old file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    os.replace(part, path)


def area(box: Box) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def overlap(one: Box, other: Box) -> tuple[float, float]:
    """IoU, and the larger share of one box within the other."""
    common = area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))
    return common / max(area(one) + area(other) - common, 1e-9), common / max(min(area(one), area(other)), 1e-9)


def covered(box: Box, by: Box) -> bool:
    return area(by) >= area(box) and overlap(box, by)[1] >= INSIDE


def corners(bbox: Sequence[float]) -> Box:
    return (bbox[0], bbox[1], bbox[0] + bbox[2], bbox[1] + bbox[3])


@cache
def word(name: str) -> str:
    """The vocabulary's word for a category."""
    found = find_category(name)
    return found.name if found else name


def kind(name: str) -> str:
    """Person, animal, a part of a person, or thing."""
    if name in ANIMALS or name in ("tiger", "butterfly"):
        return "animal"
    if name in ("person", "badminton player"):
        return "person"
    return "part" if name.split()[-1] in ("face", "hand") else "thing"


def boxes_of(raw: Iterable[Sequence[Any]], person: float = SURE) -> list[Guess]:
    """The teacher's boxes as objects and regions, by descending score; `person` is the threshold of a sure person."""
    needed = dict.fromkeys(CONFUSABLE, CONFUSABLE_SURE) | {"person": person}
    guesses = [
        Guess(name, score, tuple(box), score >= needed.get(name, SURE) and name not in NEVER_SURE)
        for name, score, *box in raw
        if score >= REGION
    ]
    return sorted(guesses, key=lambda guess: -guess.score)


def people_of(
    extra: Iterable[Mapping[str, Any]], seen: Sequence[Guess], *, with_points: bool, doubtless: bool
) -> list[Guess]:
    """The pool's people in a picture; a sure person needs a good score or a match from the box teacher.

    `doubtless` omits all points of people with a point of doubtful visibility.
    """
    people = []
    for entry in extra:
        if entry.get("matches_labelled"):
            continue
        box, score = corners(entry["bbox"]), entry["score"]
        witness = any(guess.name == "person" and overlap(box, guess.box)[0] >= SAME for guess in seen)
        sure = not entry.get("ignore") and (witness or score >= SECOND_OPINION)
        scores = entry.get("keypoint_scores", ())
        clear = not doubtless or not any(DOUBT <= value < POINTS_SURE for value in scores)
        points = entry["keypoints"] if sure and with_points and clear else []
        people.append(Guess("person", score, box, sure, points))
    lacking = [
        Guess("person", guess.score, guess.box)
        for guess in seen
        if guess.name == "person" and not any(_one(guess.box, person.box) for person in people)
    ]
    return sorted(people, key=lambda guess: -guess.score) + lacking


def _one(box: Box, other: Box) -> bool:
    """Whether two boxes of one kind probably show the same object."""
    iou, inside = overlap(box, other)
    return iou >= SAME or inside >= INSIDE


def judged(guess: Guess, own: Sequence[tuple[str, Box, bool]]) -> str:
    """Judge a guess given the set's own objects (name, box, whether a crowd): keep, region or drop."""
    verdict = "keep"
    for name, box, crowd in own:
        iou, inside = overlap(guess.box, box)
        if kind(name) == kind(guess.name) != "thing" or word(name) == word(guess.name):
            if iou >= SAME or (crowd and inside >= SAME):
                return "drop"
            if inside >= INSIDE:
                ratio = area(guess.box) / max(area(box), 1e-9)
                if 1 / ALIKE < ratio < ALIKE:
                    return "drop"
                verdict = "region"  # a limb, or a large person in front or behind
        elif kind(name) == "part" or crowd:
            continue  # a face or a hand belongs to a person and is in front of things
        elif guess.name in CARRIERS or (kind(guess.name) == "person" and kind(name) == "thing"):
            verdict = "region" if iou >= SAME else verdict
        elif iou >= SAME:
            return "drop"
        elif kind(guess.name) != "thing" and kind(name) != "thing" and covered(guess.box, box):
            verdict = "region"  # a person within an animal's box, or vice versa
    return verdict


def settled(guesses: Sequence[Guess], own: Sequence[tuple[str, Box, bool]]) -> list[Guess]:
    """The guesses to keep, best first; of several for one object, only the best becomes an object."""
    kept: list[Guess] = []
    for guess in sorted(guesses, key=lambda guess: (not guess.sure, -guess.score)):
        verdict = judged(guess, own)
        if verdict == "drop":
            continue
        rivals = [other for other in kept if other.sure and kind(other.name) == kind(guess.name)]
        rivals = [other for other in rivals if kind(guess.name) != "thing" or other.name == guess.name]
        same = [other for other in rivals if _one(guess.box, other.box)]
        if not guess.sure and any(other.name == guess.name for other in same):
            continue
        if verdict == "region" or same:
            guess.sure, guess.points = False, []
        kept.append(guess)
    return kept


def teacher(folder: Path) -> Any:
    """The script of the box teacher as a module."""
    if not (folder / "label_boxes.py").is_file():
        raise SystemExit(f"{folder / 'label_boxes.py'} is missing. --teachers is the folder of the trained networks.")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return importlib.import_module("label_boxes")


class Detector:
    """The teacher's raw boxes, cached by set; the network is only loaded for pictures not in the cache."""

    def __init__(self, teachers: Path, cache: Path) -> None:
        self.teachers, self.cache = teachers, cache
        if not (teachers / WEIGHTS).is_file():
            raise SystemExit(f"{teachers / WEIGHTS} is missing. --teachers is the folder of the trained networks.")
        self.stamp = hashlib.sha256((teachers / WEIGHTS).read_bytes()).hexdigest()[:16]
        self.network: Callable[..., Any] | None = None
        self.done, self.began = 0, time.monotonic()

    def raw(self, name: str, pictures: Path, files: Sequence[str]) -> dict[str, list[list[Any]]]:
        """By file: class, score and corners of every detection."""
        path = self.cache / f"{name}.json"
        kept = load(path) if path.is_file() else {}
        boxes = kept["boxes"] if kept.get("teacher") == self.stamp else {}
        lacking = [file for file in files if file not in boxes]
        for number, file in enumerate(lacking, start=1):
            boxes[file] = self.detect(pictures / file)
            if number % 200 == 0 or number == len(lacking):
                store(path, {"teacher": self.stamp, "boxes": boxes})
                pace = (time.monotonic() - self.began) / self.done
                print(f"{name}: {number} of {len(lacking)} pictures, {1000 * pace:.0f} ms each", file=sys.stderr)
        return boxes

    def detect(self, picture: Path) -> list[list[Any]]:
        """The detections in one picture."""
        import cv2

        if self.network is None:
            cv2.setNumThreads(1)
            self.network = teacher(self.teachers).Boxes(str(self.teachers / WEIGHTS))
        image = cv2.imread(str(picture))
        if image is None:
            raise SystemExit(f"{picture} is missing or no picture. Fetch the set again.")
        self.done += 1
        found = self.network(image, RAW)
        return [
            [name.replace("_", " "), round(score, 3), *(round(float(c), 1) for c in box)] for name, score, box in found
        ]
