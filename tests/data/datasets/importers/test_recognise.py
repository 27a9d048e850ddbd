"""Formats told by what lies there, and what is said where that cannot be told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.data.datasets.importers import test_coco as test_import_coco
from tests.data.datasets.importers import test_cvat as test_import_cvat
from tests.data.datasets.importers import test_deeplabcut as test_import_deeplabcut
from tests.data.datasets.importers import test_label_studio as test_import_label_studio
from tests.data.datasets.importers import test_sleap as test_import_sleap
from tests.data.datasets.importers import test_yolo as test_import_yolo
from tests.data.small_sets import category, record, write_prepared
from tests.data.trees import draw, write_json, write_text

from xpose.data.datasets.importers.recognise import PREPARED, recognise
from xpose.errors import DataError, XPoseError

LABELLED = {"images": [], "annotations": [{"id": 1, "keypoints": [1, 2, 2]}], "categories": []}
TREES: dict[str, Callable[[Path], object]] = {
    "coco": test_import_coco.write_tree,
    "yolo-pose": test_import_yolo.write_tree,
    "deeplabcut": test_import_deeplabcut.write_tree,
    "sleap": lambda root: test_import_sleap.write_tree(root, embedded=True),
    "cvat": test_import_cvat.write_tree,
    "label-studio": test_import_label_studio.write_tree,
}
FILES = [
    ("coco", "annotations/train.json"),
    ("yolo-pose", "data.yaml"),
    ("deeplabcut", test_import_deeplabcut.CSV),
]


@pytest.mark.parametrize("name", TREES)
def test_a_folder_as_the_tool_leaves_it(name: str, tmp_path: Path) -> None:
    TREES[name](tmp_path)
    found = recognise(tmp_path)
    assert found.format == name
    assert found.path == tmp_path or found.path.parent == tmp_path


@pytest.mark.parametrize(("name", "file"), FILES, ids=[name for name, _ in FILES])
def test_a_file_of_it(name: str, file: str, tmp_path: Path) -> None:
    TREES[name](tmp_path)
    found = recognise(tmp_path / file)
    assert (found.format, found.path) == (name, tmp_path / file)


def test_the_config_of_a_project_means_the_project(tmp_path: Path) -> None:
    test_import_deeplabcut.write_tree(tmp_path)
    found = recognise(tmp_path / "config.yaml")
    assert (found.format, found.path) == ("deeplabcut", tmp_path)


def test_a_prepared_set_is_taken_as_it_is(tmp_path: Path) -> None:
    one = record("mine", "train", "a.png", [category("person")])
    assert recognise(write_prepared(tmp_path, "mine", [one], {"a.png": 0})).format == PREPARED


def test_a_folder_of_sets_is_taken_as_it_is(tmp_path: Path) -> None:
    write_json(tmp_path / "birds" / "train.json", LABELLED)
    (tmp_path / "birds" / "images").mkdir()
    assert recognise(tmp_path).format == PREPARED


def pictures_only(root: Path) -> Path:
    draw(root / "a.png", (20, 20), [])
    return root


def two_formats(root: Path) -> Path:
    test_import_yolo.write_tree(root)
    write_json(root / "labels.json", LABELLED)
    return root


def broken_json(root: Path) -> Path:
    write_text(root / "labels.json", '{"images": [')
    return root


def no_keypoints(root: Path) -> Path:
    write_json(root / "labels.json", {"images": [], "annotations": [{"id": 1, "segmentation": []}], "categories": []})
    return root


def foreign_yaml(root: Path) -> Path:
    write_text(root / "data.yaml", "names: [a]\n")
    return root / "data.yaml"


WRONG: list[tuple[str, Callable[[Path], Path], str]] = [
    ("nothing there", lambda root: root / "nowhere", "does not exist"),
    ("empty", lambda root: root, "neither labels nor pictures"),
    ("pictures without labels", pictures_only, "given with --images"),
    ("a picture", lambda root: pictures_only(root) / "a.png", "is a picture"),
    ("two formats", two_formats, "--format NAME"),
    ("broken json", broken_json, "is not JSON"),
    ("broken json itself", lambda root: broken_json(root) / "labels.json", "is not JSON"),
    ("objects without keypoints", no_keypoints, 'no annotation has "keypoints"'),
    ("yaml of something else", foreign_yaml, 'no "kpt_shape"'),
    ("another file", lambda root: Path(__file__), "not a label file of a known format"),
]


@pytest.mark.parametrize(("make", "message"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_cannot_be_told_is_said(make: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    with pytest.raises(XPoseError) as caught:
        recognise(make(tmp_path))
    assert isinstance(caught.value, DataError)
    assert message in str(caught.value)


def test_other_json_files_do_not_disturb(tmp_path: Path) -> None:
    test_import_coco.write_tree(tmp_path)
    write_json(tmp_path / "settings.json", {"zoom": 3})
    assert recognise(tmp_path).format == "coco"
