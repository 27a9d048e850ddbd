"""APT-36K: a drawn original with its Windows paths and misspelt folders, and damage. No original was ever seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.coco_trees import coco_annotation
from tests.data.fuzz import fuzz_test
from tests.data.trees import Tree, Truth, check_prepared, draw, records_of, spread, write_json

from xpose.data.datasets.converters.coco import ANIMAL, APT36K, APT_FOLDER
from xpose.data.datasets.pipeline import prepare
from xpose.data.datasets.report import read_report
from xpose.errors import DataError

# On disk and in the file: three animals are spelt differently, some clips have tails of other letters.
PLACES = {
    "29wolf/v3c2": "29wolf\\v3c2",
    "24raccoon/clip1": "24raccon\\clip1",
    "13hourse/clip1": "13horse\\clip1",
    "1deer/clip46": "1deer\\clip46（2）",
    "6pig/v2c21╝ô": "6pig\\v2c21副本",
    "6pig/v2c212": "6pig\\v2c212",
}
CATEGORIES = {3: "deer", 12: "raccon", 14: "hourse", 18: "pig", 29: "wolf", 7: "howling-monkey"}
KINDS = {"29wolf": 29, "24raccoon": 12, "13hourse": 14, "1deer": 3, "6pig": 18}


def write_tree(root: Path, written: dict[str, str] = PLACES) -> Tree:
    truth: dict[str, Truth] = {}
    images, annotations = [], []
    for video, (place, name) in enumerate(written.items(), start=1):
        for frame in (1, 2):
            number = 10 * video + frame
            objects = [spread(ANIMAL.unified, 12, 12), spread(ANIMAL.unified[:6], 70, 40)][:frame]
            file = f"{APT_FOLDER}/{place}/frame{frame}.jpg"
            draw(root / file, (120, 90), objects)
            truth[file] = Truth(objects, "train")
            path = f"D:\\Animal_pose\\AP-36k-patr1\\{name}\\frame{frame}.jpg"
            images.append({"id": number, "file_name": path, "width": 120, "height": 90, "video_id": video})
            for track, points in enumerate(objects):
                entry = coco_annotation(10 * number + track, number, KINDS[place.split("/")[0]], ANIMAL, points)
                del entry["iscrowd"]
                annotations.append({**entry, "is_crowd": 0, "video_id": video, "track_id": track})
    categories = [{"id": number, "name": name} for number, name in CATEGORIES.items()]
    content = {"info": {}, "license": [], "images": images, "annotations": annotations, "categories": categories}
    write_json(root / APT36K.annotation_files["train"], content)
    return Tree(root, truth, [APT36K.annotation_files["train"]])


test_fuzz = fuzz_test("apt36k", write_tree)


def test_prepared(tmp_path: Path) -> None:
    done = check_prepared("apt36k", write_tree(tmp_path / "original"), tmp_path)
    records = records_of(done.folder)
    assert (
        records[f"{APT_FOLDER}/29wolf/v3c2/frame1.jpg"].group
        == records[f"{APT_FOLDER}/29wolf/v3c2/frame2.jpg"].group
        == "1"
    )
    names = {record.picture.file.split("/")[1]: record.instances[0].category.name for record in records.values()}
    assert names == {"29wolf": "wolf", "24raccoon": "raccoon", "13hourse": "horse", "1deer": "deer", "6pig": "pig"}


def test_folders_as_the_file_spells_them_are_found_too(tmp_path: Path) -> None:
    plain = {place: place.replace("/", "\\") for place in PLACES}
    done = prepare("apt36k", write_tree(tmp_path / "original", plain).root, tmp_path)
    assert (done.counts["train"].images, done.skipped) == (12, {})


def test_a_tail_that_fits_two_folders_fits_none(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    (tree.root / APT_FOLDER / "1deer/clip46_b").mkdir()
    done = prepare("apt36k", tree.root, tmp_path)
    missing = [entry["file"] for entry in read_report(done.folder / "report.json") if "missing" in entry["reason"]]
    assert missing == [f"{APT_FOLDER}/1deer/clip46（2）/frame{frame}.jpg" for frame in (1, 2)]


def test_frames_that_the_file_does_not_name_are_reported(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    draw(tree.root / APT_FOLDER / "29wolf/v3c2/frame3.jpg", (120, 90), [])
    (entry,) = read_report(prepare("apt36k", tree.root, tmp_path).folder / "report.json")
    assert (entry["file"], entry["reason"]) == (
        f"{APT_FOLDER}/29wolf/v3c2/frame3.jpg",
        "no annotation names this picture",
    )


def test_crowds_are_read_from_the_misspelt_key(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    path = tree.root / APT36K.annotation_files["train"]
    path.write_text(path.read_text().replace('"is_crowd": 0', '"is_crowd": 1', 1))
    records = records_of(prepare("apt36k", tree.root, tmp_path).folder)
    assert [i.iscrowd for record in records.values() for i in record.instances].count(True) == 1


def test_a_category_with_other_keypoints_stops_the_build(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    path = tree.root / APT36K.annotation_files["train"]
    content = json.loads(path.read_text())
    content["categories"][0]["keypoints"] = list(ANIMAL.names)
    path.write_text(json.dumps(content))
    assert prepare("apt36k", tree.root, tmp_path).skipped == {}
    content["categories"][0]["keypoints"].reverse()
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="not those of AP-10K"):
        prepare("apt36k", tree.root, tmp_path)
