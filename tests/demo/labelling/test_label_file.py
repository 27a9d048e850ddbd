"""The label file: it comes back as it was written, other programs read it, and nothing that exists is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import full_disk
from tests.demo.labelling.conftest import LEAF, NAMES, SIZE

from xpose.demo.labelling.label_file import LABEL_FILE, LabelFile, SavedPicture, read_labels
from xpose.demo.labelling.objects import LabelledObject, Mark
from xpose.errors import DataError, XPoseError
from xpose.prompts import VisualPrompt
from xpose.results import Poses
from xpose.training.finetuning.finetune_data import Request, gather

FULL = LabelledObject({"tip": Mark(10.5, 20.25), "stalk": Mark(80, 70, visible=False), "left edge": None})
PART = LabelledObject({"stalk": Mark(50, 40)}, (10.0, 10.0, 60.0, 60.0))


@pytest.fixture
def saved(photos: Path) -> LabelFile:
    file = LabelFile(photos / LABEL_FILE, LEAF)
    file.save(NAMES[0], SavedPicture(*SIZE, (FULL, PART)))
    file.save(NAMES[1], SavedPicture(*SIZE, ()))
    file.save(NAMES[2], SavedPicture(*SIZE[::-1], (FULL,)))  # its upright size
    return file


def test_it_comes_back_as_it_was_written(saved: LabelFile):
    again = LabelFile.read(saved.path)
    assert again.category == LEAF
    assert [*again.pictures] == NAMES
    for name, picture in saved.pictures.items():
        read = again.pictures[name]
        assert (read.width, read.height) == (picture.width, picture.height)
        assert [item.points for item in read.objects] == [item.points for item in picture.objects]
        bounds = [item.bounds(read.width, read.height) for item in read.objects]
        assert bounds == [item.bounds(read.width, read.height) for item in picture.objects]
    before = saved.path.read_bytes()
    again.save(NAMES[0], again.pictures[NAMES[0]])
    assert saved.path.read_bytes() == before


def test_pycocotools_and_prompts_read_it(saved: LabelFile):
    coco = pytest.importorskip("pycocotools.coco").COCO(saved.path)
    first = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    assert first[0]["keypoints"] == [10.5, 20.25, 2, 80, 70, 1, 0, 0, 0]
    assert first[0]["num_keypoints"] == 2
    assert first[1]["bbox"] == [10, 10, 50, 50]
    example = VisualPrompt.from_coco(saved.path, 1)
    assert {name: place[:2] for name, place in example.points.items()} == {"tip": (10.5, 20.25), "stalk": (80, 70)}


def test_fine_tuning_takes_it_as_it_is(saved: LabelFile, tmp_path: Path):
    """Records state pixel indices, and a picture that is stored turned is learned upright, as it was labelled."""
    material = gather(Request.of(saved.path), tmp_path / "run")
    records = {Path(record.picture.file).name.removesuffix(".png"): record for record, _ in material.usable}
    assert set(records) == {"a", "turned.jpg"}
    for record in records.values():
        assert record.instances[0].keypoints == {"tip": (10.0, 19.75, 2), "stalk": (79.5, 69.5, 1)}
    assert (records["turned.jpg"].picture.width, records["turned.jpg"].picture.height) == SIZE[::-1]
    assert {category.name: category.keypoints for category in material.kinds} == {"leaf": LEAF.keypoints}


BROKEN = [
    lambda content: content["images"][0].pop("width"),
    lambda content: content["images"][0].update(file_name=NAMES[1]),
    lambda content: content["images"][0].update(height=0),
    lambda content: content["annotations"][0].update(image_id=77),
    lambda content: content["annotations"][0]["keypoints"].pop(),
    lambda content: content["annotations"][0]["keypoints"].__setitem__(2, 3),
    lambda content: content["annotations"][0]["keypoints"].__setitem__(0, "left"),
    lambda content: content["annotations"][0].update(bbox=[1, 2]),
    lambda content: content["categories"][0].update(keypoints=["tip", "tip", "stalk"]),
    lambda content: content["categories"][0].update(name=""),
    lambda content: content.update(annotations={}, categories=3),
    lambda content: content["info"].update(description="another program"),
]


@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_or_foreign_file_is_refused_and_untouched(saved: LabelFile, damage: Callable):
    content = json.loads(saved.path.read_text())
    damage(content)
    saved.path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"Rename it|Nothing was changed"):
        LabelFile.read(saved.path)
    assert json.loads(saved.path.read_text()) == content
    saved.path.write_text('{"images": [')
    with pytest.raises(DataError, match=r"not valid JSON .* Nothing was changed"):
        LabelFile.read(saved.path)


def test_what_another_program_wrote_meanwhile_is_kept(saved: LabelFile):
    saved.path.write_text("{}")
    with pytest.raises(DataError, match="Another program has changed"):
        saved.save(NAMES[0], SavedPicture(*SIZE, ()))
    assert saved.path.read_text() == "{}"
    saved.path.unlink()
    saved.save(NAMES[1], SavedPicture(*SIZE, (PART,)))  # with all labels that are known
    assert [*LabelFile.read(saved.path).pictures] == NAMES


def test_a_full_disk_leaves_the_file_as_it_was(saved: LabelFile):
    before = saved.path.read_bytes()
    with full_disk(100), pytest.raises(XPoseError, match="could not be written"):
        saved.save(NAMES[0], SavedPicture(*SIZE, ()))
    assert saved.path.read_bytes() == before
    assert saved.pictures[NAMES[0]].objects == (FULL, PART)


def test_a_foreign_file_states_pixel_indices(saved: LabelFile, tmp_path: Path):
    content = json.loads(saved.path.read_text())
    del content["info"]
    content["categories"].append({"id": 5, "name": "box only"})
    content["annotations"].append({"id": 9, "image_id": 1, "category_id": 5, "bbox": [1, 1, 5, 5]})
    (tmp_path / "other.json").write_text(json.dumps(content))
    ((category, pictures),) = read_labels(tmp_path / "other.json").items()
    assert category.keypoints == LEAF.keypoints
    assert pictures[NAMES[0]].objects[0].marks["tip"] == Mark(11.0, 20.75)


def test_results_of_xpose_are_read_in_each_of_their_forms(tmp_path: Path):
    poses = Poses(
        boxes=[[10, 10, 60, 60], [0, 0, 30, 30]],  # type: ignore[arg-type]
        scores=[0.9, 0.4],  # type: ignore[arg-type]
        categories=("leaf", "tree"),
        xy=[[[10.5, 20.25], [80, 70]], [[1, 2], [3, 4]]],  # type: ignore[arg-type]
        keypoint_scores=[[0.9, 0.8], [0.5, 0.1]],  # type: ignore[arg-type]
        visibility=[[2, 1], [2, 0]],  # type: ignore[arg-type]
        keypoint_names=(("tip", "stalk"), ("crown", "root")),
        image_size=SIZE[::-1],
        source="some/a.png",
    )
    expected = {
        "leaf": [{"tip": Mark(10.5, 20.25), "stalk": Mark(80, 70, visible=False)}],
        "tree": [{"crown": Mark(1, 2)}],
    }
    for number, text in enumerate((poses.to_json(), json.dumps({"pictures": [{"drawing": None, **poses.to_dict()}]}))):
        (tmp_path / f"{number}.json").write_text(text)
    poses.save(tmp_path / "2.json", "coco")
    for number in range(3):
        content = read_labels(tmp_path / f"{number}.json")
        found = {
            category.name: [item.points for item in pictures["some/a.png"].objects]
            for category, pictures in content.items()
        }
        assert found == expected, number
