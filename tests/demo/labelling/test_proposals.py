"""Proposals: what the network detects, and what a results file states for the same pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.demo.labelling.conftest import NAMES

from xpose.demo.labelling.label_file import FileContent, SavedPicture
from xpose.demo.labelling.objects import LabelledObject, Mark
from xpose.demo.labelling.proposals import Proposer, results_for, skeleton_of
from xpose.errors import DataError
from xpose.inference import Detector
from xpose.records import Category
from xpose.vocabulary import load_skeleton

FILE = Path("results.json")
DOG = Category("dog", "dog", ("nose", "left eye"))
ITEM = LabelledObject({"Nose": Mark(10, 20), "other": Mark(1, 1), "left_eye": None}, (0, 0, 20, 40))


def content(*file_names: str, name: str = "Dog", size: tuple[int, int] = (100, 80)) -> FileContent:
    kind = Category(name, name, ("Nose", "other", "left_eye"))
    return {kind: {file_name: SavedPicture(*size, (ITEM,)) for file_name in file_names}}


def test_the_network_proposes_what_it_detects(detector: Detector):
    pixels = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    category = Category("dog", "animal", load_skeleton("animal").keypoints)
    assert skeleton_of(category) == load_skeleton("animal")
    poses = detector.detect(pixels, "dog")
    proposed = Proposer(detector, category)("any.png", pixels)
    assert len(proposed) == len(poses) > 0
    for item, pose in zip(proposed, poses, strict=True):
        assert item.proposed
        assert item.box == pytest.approx(pose.box)
        expected = {
            name: (point.x, point.y)
            for name, point in pose.points.items()
            if point.v and 0 <= point.x <= 120 and 0 <= point.y <= 90
        }
        assert {name: (mark.x, mark.y) for name, mark in item.marks.items()} == expected


def test_a_results_file_comes_before_the_network(detector: Detector):
    results = results_for(content("photos/a.png", size=(50, 40)), DOG, NAMES, FILE)
    proposer = Proposer(detector, DOG, results)
    (item,) = proposer("a.png", np.zeros((80, 100, 3), np.uint8))  # twice as large as listed
    assert item == LabelledObject({"nose": Mark(20, 40), "left eye": None}, (0, 0, 40, 80), proposed=True)
    with pytest.raises(DataError, match="another shape"):
        proposer("a.png", np.zeros((100, 80, 3), np.uint8))
    assert len(proposer("below/b.png", np.zeros((80, 100, 3), np.uint8))) == 6


@pytest.mark.parametrize(
    ("listed", "match"),
    [
        ("a.png", "a.png"),
        ("/home/me/photos/a.png", "a.png"),
        ("photos\\below\\b.png", "below/b.png"),
        ("c/b.png", "below/b.png"),
        ("below/c.png", "below/c.png"),
        ("other/c.png", "other/c.png"),
        ("c.png", None),
    ],
)
def test_pictures_are_found_by_the_end_of_their_path(listed: str, match: str | None):
    names = ["a.png", "below/b.png", "below/c.png", "other/c.png"]
    found = results_for(content("a.png", listed), DOG, names, FILE)
    assert set(found) == {"a.png"} | ({match} if match else set())


def test_what_does_not_fit_is_named():
    with pytest.raises(DataError, match=r'no category "dog". Its categories: "tree"'):
        results_for(content("a.png", name="tree"), DOG, NAMES, FILE)
    with pytest.raises(DataError, match="none of the keypoints"):
        results_for(content("a.png"), Category("dog", "dog", ("tail",)), NAMES, FILE)
    with pytest.raises(DataError, match="lists no picture of the folder"):
        results_for(content("z.png"), DOG, NAMES, FILE)
