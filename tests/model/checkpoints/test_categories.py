"""The file with what weights have learned: it comes back as it was written, and as skeletons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from xpose.errors import ConfigError
from xpose.model.checkpoints.categories import (
    CATEGORIES_FILE,
    LearnedCategory,
    Quality,
    read_categories,
    with_quality,
    write_categories,
)
from xpose.model.checkpoints.known import bundled_weights
from xpose.vocabulary import load_skeleton

DOG = LearnedCategory("dog", "animal_pose", ("nose", "left eye", "right eye"), (("nose", "left eye"),), 12)
RABBIT = LearnedCategory("rabbit", "ours", ("left ear", "right ear", "nose"), (("nose", "left ear"),), 30)
TRUCK = LearnedCategory("truck", "truck", (), objects=4)
MEASURED = Quality({"text PCK@0.2": 0.6175}, 5)


def test_the_file_comes_back_with_the_quality_that_is_known(tmp_path: Path) -> None:
    categories = with_quality([DOG, RABBIT, TRUCK], {DOG.key: MEASURED, ("cat", "animal_pose"): MEASURED})
    assert [category.quality for category in categories] == [MEASURED, None, None]
    write_categories(tmp_path, categories)
    assert read_categories(tmp_path) == categories
    assert '"quality"' not in (tmp_path / CATEGORIES_FILE).read_text().splitlines()[4], "unknown, so it is not stated"
    write_categories(tmp_path, [])
    assert read_categories(tmp_path) == (), "as in a folder that has no such file"


@pytest.mark.parametrize(
    "change",
    [
        {"name": 3, "keypoints": 3},
        {"edges": [["nose"]]},
        {"edges": [["nose", "fin"]]},
        {"keypoints": ["nose", "nose"], "edges": []},
        {"quality": {"measures": {"text PCK@0.2": "good"}, "objects": 3}},
        {"quality": 0.5},
        {"objects": None},
    ],
)
def test_a_damaged_file_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    write_categories(tmp_path, [DOG])
    content = json.loads((tmp_path / CATEGORIES_FILE).read_text())
    content["categories"][0] |= change
    (tmp_path / CATEGORIES_FILE).write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="is damaged"):
        read_categories(tmp_path)


def test_a_category_is_a_skeleton(tmp_path: Path) -> None:
    known = load_skeleton("animal_pose")
    dog = DOG.as_skeleton()
    assert (dog.name, dog.keypoints, dog.edges) == ("animal_pose", DOG.keypoints, DOG.edges)
    assert dog.points == known.subset(DOG.keypoints).points, "with the sigmas and mirror partners of the vocabulary"
    rabbit = RABBIT.as_skeleton()
    assert (rabbit.name, rabbit.keypoints, rabbit.edges) == ("ours", RABBIT.keypoints, RABBIT.edges)
    assert rabbit.flips["left ear"] == "right ear"
    other = LearnedCategory("face", "face", ("left eye of mine",)).as_skeleton()
    assert other.keypoints == ("left eye of mine",), "another skeleton of the same name"
    assert TRUCK.as_skeleton().keypoints == ()
    (tmp_path / "x.toml").write_text("not read")
    assert LearnedCategory("x", str(tmp_path / "x.toml"), ("tip",)).as_skeleton().keypoints == ("tip",)


@pytest.mark.parametrize("name", sorted(bundled_weights()))
def test_the_bundled_weights_state_what_they_have_learned(name: str) -> None:
    categories = read_categories(bundled_weights()[name])
    assert {"bird", "cow", "horse", "sheep"} <= {category.name for category in categories}
    for category in categories:
        assert category.objects > 0
        assert category.as_skeleton().keypoints == category.keypoints
        if category.quality is not None:
            assert set(category.quality.measures) == {"text PCK@0.1", "text PCK@0.2"}
            assert 0 <= category.quality.measures["text PCK@0.1"] <= category.quality.measures["text PCK@0.2"] <= 1
            assert category.quality.objects > 0
