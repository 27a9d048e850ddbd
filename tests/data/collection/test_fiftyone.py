"""The import format of FiftyOne, as its reader takes it (checked by hand with FiftyOne 1.22)."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tests.data.collection.test_unify import simple
from tests.data.small_sets import category, record, write_prepared

from xpose.data.collection.fiftyone import field_of, write_fiftyone
from xpose.data.collection.unify import unify
from xpose.errors import DataError
from xpose.records import Category, Instance, Picture, Record
from xpose.vocabulary import load_skeleton


def read(folder: Path) -> tuple[list[dict], dict]:
    samples = json.loads((folder / "samples.json").read_text("utf-8"))["samples"]
    return samples, json.loads((folder / "metadata.json").read_text("utf-8"))


def one_set(root: Path) -> Path:
    kind = category("person")
    points = {"nose": (59.5, 44.5, 2), "left eye": (120.0, 90.0, 1)}
    instance = Instance(kind, (30.0, 45.0, 60.0, 45.0), points, iscrowd=True)
    one = Record(Picture("a.png", 120, 90), (instance,), "mine", "train", "CC0", "anatomical", style="cartoon")
    return write_prepared(root, "mine", [one], {"a.png": 1})


def test_a_sample_holds_boxes_and_points(tmp_path: Path) -> None:
    assert write_fiftyone(one_set(tmp_path), tmp_path / "out") == 1
    (sample,), metadata = read(tmp_path / "out")
    assert "version" not in metadata, "with a version FiftyOne takes the folder for a dump of its database"
    assert sample["filepath"] == str(tmp_path / "mine-original/a.png")
    assert sample["tags"] == ["train"]
    assert sample["metadata"] == {"_cls": "ImageMetadata", "width": 120, "height": 90}
    assert (sample["style"], sample["licence"], sample["source"]) == ("cartoon", "CC0", "mine")
    (box,) = sample["objects"]["detections"]
    assert box["bounding_box"] == [0.25, 0.5, 0.5, 0.5]
    assert (box["label"], box["iscrowd"]) == ("person", 1)
    (found,) = sample["points_person"]["keypoints"]
    order = load_skeleton("person").keypoints
    points = dict(zip(order, found["points"], strict=True))
    assert points["nose"] == [0.5, 0.5]
    assert points["left eye"] == [1.0, 1.0], "a point on the edge stays inside"
    assert all(math.isnan(value) for value in points["right ear"])
    assert dict(zip(order, found["visibility"], strict=True))["left eye"] == 1
    assert found["number"] == box["number"]


def test_skeletons_go_by_field(tmp_path: Path) -> None:
    own = Category("forklift", "My forklift!", ("mast top", "fork tip"), (("mast top", "fork tip"),))
    kinds = [own, category("face", "face"), category("person")]
    write_prepared(tmp_path, "mixed", [record("mixed", "train", "a.png", kinds)], {"a.png": 1})
    write_fiftyone(tmp_path / "mixed", tmp_path / "out")
    (sample,), metadata = read(tmp_path / "out")
    skeletons = metadata["info"]["skeletons"]
    assert set(skeletons) == {"points_my_forklift_", "points_face", "points_person"}
    assert skeletons["points_person"]["labels"] == list(load_skeleton("person").keypoints)
    edges = [list(edge) for edge in load_skeleton("person").edge_indices()]
    assert skeletons["points_person"]["edges"] == edges
    assert skeletons["points_my_forklift_"]["labels"] == ["mast top", "fork tip"]
    for field, skeleton in skeletons.items():
        assert field.isidentifier()
        for keypoint in sample[field]["keypoints"]:
            assert len(keypoint["points"]) == len(skeleton["labels"]) == len(keypoint["visibility"])


def test_a_collection_with_its_pictures(tmp_path: Path) -> None:
    simple(tmp_path / "sets", "first")
    simple(tmp_path / "sets", "second", start=20)
    unify([tmp_path / "sets"], tmp_path / "collection")
    assert write_fiftyone(tmp_path / "collection", tmp_path / "out", splits=["evaluation"], copy=True) == 4
    samples, _ = read(tmp_path / "out")
    for sample in samples:
        assert not Path(sample["filepath"]).is_absolute()
        assert (tmp_path / "out" / sample["filepath"]).is_file()
    assert len({sample["filepath"] for sample in samples}) == 4


def test_mistakes_get_a_message(tmp_path: Path) -> None:
    folder = one_set(tmp_path)
    with pytest.raises(DataError, match=r'no split "val".*train'):
        write_fiftyone(folder, tmp_path / "out", splits=["val"])
    with pytest.raises(DataError, match="no manifest"):
        write_fiftyone(tmp_path, tmp_path / "out")
    (tmp_path / "mine-original/a.png").unlink()
    with pytest.raises(DataError, match="cannot be copied"):
        write_fiftyone(folder, tmp_path / "out", copy=True)
    assert not (tmp_path / "out/samples.json").exists(), "nothing is left half done"


@pytest.mark.parametrize(("skeleton", "field"), [("person", "points_person"), ("Ä-1", "points___1")])
def test_field_names(skeleton: str, field: str) -> None:
    assert field_of(skeleton) == field
