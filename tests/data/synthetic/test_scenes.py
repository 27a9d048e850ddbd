"""Drawn pictures: the points are where the pixels say, hidden ones are hidden, the same seed draws the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.data.trees import check_pycocotools

from xpose.data.collection.manifest import Places, read_manifest, verify
from xpose.data.collection.store import CocoSet
from xpose.data.synthetic.scenes import category_of, draw_scene, generate, write_synthetic
from xpose.data.synthetic.toys import KINDS
from xpose.errors import DataError
from xpose.records import HIDDEN, VISIBLE
from xpose.vocabulary import default_skeleton, find_category

SIZE = (200, 160)


def scenes(kinds: tuple[str, ...], count: int = 25, objects: tuple[int, int] = (1, 4)):
    return [draw_scene(np.random.default_rng([7, number]), SIZE, kinds, objects) for number in range(count)]


@pytest.mark.parametrize("kind", KINDS)
def test_visible_points_lie_on_their_object(kind: str) -> None:
    checked = 0
    for scene in scenes((kind,)):
        for number, instance in enumerate(scene.instances, start=1):
            mine = np.argwhere(scene.owners == number)[:, ::-1]
            for name, (x, y, v) in instance.keypoints.items():
                if v == VISIBLE:
                    distance = np.abs(mine - (x, y)).max(axis=1).min()
                    assert distance <= 2, f"{name} is {distance} pixels off"
                    checked += 1
    assert checked > 50


def test_points_behind_another_object_are_hidden() -> None:
    hidden = 0
    for scene in scenes(tuple(KINDS), count=60, objects=(3, 5)):
        for number, instance in enumerate(scene.instances, start=1):
            for x, y, v in instance.keypoints.values():
                if scene.owners[round(y), round(x)] > number:
                    assert v == HIDDEN
                    hidden += 1
    assert hidden > 10, "the pictures hold too few covered points to check anything"


def test_no_object_is_covered_for_the_most_part() -> None:
    for scene in scenes(tuple(KINDS), count=40, objects=(3, 6)):
        for instance in scene.instances:
            assert instance.area is not None
            assert instance.area > 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_words(kind: str) -> None:
    category = category_of(kind)
    figure = KINDS[kind](np.random.default_rng(0))
    assert set(figure.points) == set(category.keypoints), "the figure's points are those of its skeleton"
    assert find_category(category.name) is not None
    assert default_skeleton(category.name).skeleton.name == category.skeleton


def test_points_on_the_far_side_are_hidden_sometimes() -> None:
    seen = {"left headlight" in KINDS["car"](np.random.default_rng(number)).hidden for number in range(30)}
    assert seen == {True, False}


def test_left_and_right_are_the_objects_own() -> None:
    """Seen from the front (a headlight is visible) a car's left is at the right of the picture, from behind not."""
    for number in range(40):
        car = KINDS["car"](np.random.default_rng(number))
        left_is_right = car.points["left headlight"][0] > car.points["right headlight"][0]
        assert left_is_right == ("left headlight" not in car.hidden)


def test_records_are_valid_and_pictures_differ() -> None:
    pictures, kinds = set(), set()
    for pixels, record in generate(3, 20, SIZE):
        assert pixels.shape == (SIZE[1], SIZE[0], 3)
        assert pixels.dtype == np.uint8
        assert record.faults() == []
        pictures.add(pixels.tobytes())
        kinds |= {instance.category.name for instance in record.instances}
    assert len(pictures) == 20
    assert len(kinds) == 4


def test_a_picture_depends_on_the_seed_and_its_number_alone() -> None:
    everything = list(generate(1, 6, SIZE))
    part = list(generate(1, 2, SIZE, start=4))
    for (pixels, record), (again, other) in zip(everything[4:], part, strict=True):
        assert np.array_equal(pixels, again)
        assert record == other
    assert not np.array_equal(everything[0][0], next(generate(2, 1, SIZE))[0])


def test_a_written_set_is_a_prepared_set(tmp_path: Path) -> None:
    counts = write_synthetic(tmp_path / "a", 20, 5, size=SIZE)
    assert {split: counted.images for split, counted in counts.items()} == {"train": 18, "val": 2}
    verify(tmp_path / "a")
    check_pycocotools(tmp_path / "a")
    for record in CocoSet(tmp_path / "a/val.json"):
        assert Places(tmp_path / "a").path(record.picture).is_file()
    write_synthetic(tmp_path / "b", 20, 5, size=SIZE)
    for file in ("train.json", "val.json", "manifest.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert read_manifest(tmp_path / "a")["sampling_seed"] == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kinds": ("fsh",)}, 'Did you mean "fish"'),
        ({"kinds": ()}, "At least one"),
        ({"count": 0}, "at least one picture"),
        ({"size": (20, 20)}, "32 pixels"),
        ({"objects": (3, 1)}, "smaller number"),
    ],
)
def test_wrong_wishes_are_refused(change: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(generate(**{"seed": 0, "count": 1, **change}))


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        write_synthetic(tmp_path, 2, size=SIZE)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
