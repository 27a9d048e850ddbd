"""COCO keypoint json of a user: free names, a skeleton's names, a mapping file, pictures elsewhere, damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.imports import check_imported, fuzz_import
from tests.data.trees import Tree, Truth, draw, link, records_of, shared, spread, write_json, write_text

from xpose.data.collection.manifest import read_manifest
from xpose.data.datasets.importers import import_set, imported_skeletons
from xpose.data.datasets.importers.base import box_round
from xpose.data.datasets.report import read_report
from xpose.errors import DataError, UnmappedKeypointError, VocabularyError
from xpose.records import Picture
from xpose.vocabulary import load_skeleton

SOURCE = ("Left_Eye", "Right_Eye", "beak_tip", "tail")
FREE = ("Left Eye", "Right Eye", "beak tip", "tail")
FILE = "annotations/train.json"


def annotation(number: int, image: int, points: dict, **more: object) -> dict:
    flat = [value for name in FREE for value in (*points.get(name, (0, 0)), 2 * (name in points))]
    xs, ys = [x for x, _ in points.values()], [y for _, y in points.values()]
    box = [min(xs) - 4, min(ys) - 4, max(xs) - min(xs) + 8, max(ys) - min(ys) + 8]
    return {"id": number, "image_id": image, "category_id": 7, "bbox": box, "keypoints": flat, **more}


def content(split: str, first: int) -> tuple[dict, dict[str, Truth]]:
    images, annotations, truth = [], [], {}
    for number in range(first, first + 3):
        objects = [spread(FREE, 12, 12), spread(FREE[:2], 70, 40, step=12)][: number - first]
        truth[f"images/{split}/{number}.png"] = Truth(objects, split)
        images.append({"id": number, "file_name": f"{number}.png", "width": 120, "height": 90})
        annotations += [annotation(10 * number + i, number, points) for i, points in enumerate(objects)]
    category = {"id": 7, "name": "heron", "keypoints": list(SOURCE), "skeleton": [[1, 3], [2, 3], [3, 4]]}
    return {"images": images, "annotations": annotations, "categories": [category]}, truth


def write_tree(root: Path) -> Tree:
    truth: dict[str, Truth] = {}
    for split, first in (("train", 1), ("val", 100)):
        value, found = content(split, first)
        write_json(root / f"annotations/{split}.json", value)
        truth |= found
    for name, each in truth.items():
        draw(root / name, (120, 90), each.objects)
    return Tree(root, truth, [FILE, "annotations/val.json"])


def write_single(root: Path) -> Tree:
    value, truth = content("train", 1)
    write_json(root / FILE, value)
    for name, each in truth.items():
        draw(root / name, (120, 90), each.objects)
    return Tree(root, truth, [FILE])


test_fuzz = fuzz_import("coco", write_single, FILE)


def test_imported(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    done = check_imported("coco", tree, "", tmp_path)
    (heron,) = records_of(done.prepared.folder)["images/train/2.png"].instances
    assert heron.category.name == "heron"
    assert heron.category.keypoints == FREE
    assert heron.category.edges == (("Left Eye", "beak tip"), ("Right Eye", "beak tip"), ("beak tip", "tail"))
    assert heron.source_id == "20"
    (skeleton,) = imported_skeletons(done.prepared.folder).values()
    assert skeleton.name == heron.category.skeleton == "heron of mine"
    assert skeleton.flips["Left Eye"] == "Right Eye"
    assert skeleton.flips["tail"] == "tail"
    assert skeleton.left_right == "disputed", "the file does not say whose left it means"
    assert skeleton.point("beak tip").source_names == ("beak_tip",)
    assert skeleton.point("Left Eye").sigma == load_skeleton("person").point("left eye").sigma
    manifest = read_manifest(done.prepared.folder)
    assert manifest["import"]["categories"]["heron"]["names"] == dict(zip(SOURCE, FREE, strict=True))
    assert set(manifest["originals"]) == set(tree.annotations)
    assert str(tmp_path) not in json.dumps(manifest), "the manifest belongs to no machine"


def test_one_file_finds_its_pictures_beside_its_folder(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    done = import_set("coco", tree.root / FILE, tmp_path / "sets")
    assert done.prepared.folder.name == "original"
    assert set(done.prepared.counts) == {"train"}
    assert set(records_of(done.prepared.folder)) == {f"images/train/{i}.png" for i in (1, 2, 3)}


def test_a_file_of_another_kind_in_the_folder_is_reported(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    write_json(tree.root / "annotations/captions.json", {"images": [], "annotations": [{"caption": "a heron"}]})
    done = import_set("coco", tree.root, tmp_path / "out")
    (entry,) = read_report(done.prepared.folder / "report.json")
    assert entry["file"] == "annotations/captions.json"
    assert "captions.json was left out" in " ".join(done.notes)


@pytest.mark.parametrize("name", ["y" * 300 + ".png", "図" * 100 + ".png", "a/" * 400 + "b.png", "\ud800.png"])
def test_names_that_no_file_can_have_are_reported(name: str, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    value = json.loads((tree.root / FILE).read_text())
    value["images"][0]["file_name"] = name
    write_json(tree.root / FILE, value)
    done = import_set("coco", tree.root, tmp_path / "out", name="mine")
    assert done.prepared.skipped == {"train": {"picture": 1}}


def test_pictures_elsewhere(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    (tree.root / "images").rename(tmp_path / "photos")
    done = import_set("coco", tree.root / FILE, tmp_path / "out", pictures=tmp_path / "photos")
    assert set(records_of(done.prepared.folder)) == {f"train/{i}.png" for i in (1, 2, 3)}
    assert done.prepared.skipped == {}
    with pytest.raises(DataError, match="is not a folder"):
        import_set("coco", tree.root / FILE, tmp_path / "out2", pictures=tmp_path / "nowhere")


def test_a_skeleton_gives_the_names_it_knows(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    done = import_set("coco", tree.root, tmp_path, name="birds", skeleton="cub_bird")
    (heron,) = records_of(done.prepared.folder)["images/train/2.png"].instances
    assert heron.category.keypoints == ("left eye", "right eye", "beak tip", "tail")
    assert heron.category.skeleton == "heron of birds", "one name is free, so the skeleton is the set's own"
    assert any('"beak_tip" not found' in note for note in done.notes)
    (skeleton,) = imported_skeletons(done.prepared.folder).values()
    assert skeleton.point("left eye") == skeleton.point("Left_Eye")
    assert skeleton.point("left eye").sigma == load_skeleton("cub_bird").point("left eye").sigma
    assert skeleton.flips["left eye"] == "right eye"


def test_a_skeleton_that_knows_all_needs_no_file(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    write_text(
        tmp_path / "map.toml",
        'skeleton = "cub_bird"\n[names]\nLeft_Eye = "left eye"\nRight_Eye = "right eye"\nbeak_tip = "beak"\n'
        "tail = false\n",
    )
    done = import_set("coco", tree.root, tmp_path / "out", name="birds", names=tmp_path / "map.toml")
    (heron,) = records_of(done.prepared.folder)["images/train/2.png"].instances
    assert heron.category.skeleton == "cub_bird"
    assert heron.category.keypoints == ("left eye", "right eye", "beak"), "false leaves a point out"
    assert done.skeletons == {"cub_bird": None}
    assert not list(done.prepared.folder.glob("*.toml"))


def test_a_skeleton_file_of_the_user_is_kept_beside_the_set(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    write_text(
        tmp_path / "bird.toml",
        'name = "my bird"\nkeypoints = ["left eye", "right eye", '
        '{name = "beak tip", sigma = 0.04, layout = [0.1, 0.2], '
        'note = "of the upper \\"half\\""}, "tail"]\nedges = [["beak tip", "tail"]]\n',
    )
    done = import_set("coco", tree.root, tmp_path / "out", name="birds", skeleton=tmp_path / "bird.toml")
    assert imported_skeletons(done.prepared.folder) == {"my bird": load_skeleton(tmp_path / "bird.toml")}


def test_a_skeleton_file_may_not_pass_for_another(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    write_text(tmp_path / "bird.toml", 'name = "person"\nkeypoints = ["left eye", "right eye", "beak tip", "tail"]\n')
    with pytest.raises(DataError, match="Give it a name of its own"):
        import_set("coco", tree.root, tmp_path / "out", skeleton=tmp_path / "bird.toml")


def test_pictures_in_two_splits_are_told(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    write_json(tree.root / "annotations/whole.json", json.loads((tree.root / FILE).read_text()))
    done = import_set("coco", tree.root, tmp_path / "out", name="mine")
    assert any(note.startswith('3 pictures are in each of the splits "train", "whole"') for note in done.notes)


@pytest.mark.parametrize(
    ("names", "error", "reason"),
    [
        ('[names]\nLeft_Eye = "a"\nRight_Eye = "b"\nbeak_tip = "c"\n', UnmappedKeypointError, r'"tail" has no unified'),
        ('[names]\nLeft_Eye="a"\nRight_Eye="a"\nbeak_tip="c"\ntail="d"', DataError, "become one keypoint"),
        ('skeleton = "cub_bird"\n[names]\nLeft_Eye="left eyee"', VocabularyError, 'Did you mean "left eye"'),
        ("[names]\nLeft_Eye = 3\n", DataError, "is mapped to"),
        ("names = 3", DataError, r"no table \[names\]"),
        ("[names\n", DataError, "is not TOML"),
        ('[name]\na = "b"\n', DataError, "means nothing there"),
    ],
)
def test_a_mapping_file_that_does_not_fit_stops(tmp_path: Path, names: str, error: type, reason: str) -> None:
    tree = write_tree(tmp_path / "original")
    write_text(tmp_path / "map.toml", names)
    with pytest.raises(error, match=reason):
        import_set("coco", tree.root, tmp_path / "out", names=tmp_path / "map.toml")


def test_numbered_points_take_a_skeletons_names_by_order(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    value = json.loads((tree.root / FILE).read_text())
    del value["categories"][0]["keypoints"]
    write_json(tree.root / FILE, value)
    done = import_set("coco", tree.root / FILE, tmp_path / "a")
    (heron,) = records_of(done.prepared.folder)["images/train/2.png"].instances
    assert heron.category.keypoints == ("point 1", "point 2", "point 3", "point 4")
    done = import_set("coco", tree.root / FILE, tmp_path / "b", skeleton="mouse_openfield")
    (heron,) = records_of(done.prepared.folder)["images/train/2.png"].instances
    assert heron.category.keypoints == load_skeleton("mouse_openfield").keypoints
    with pytest.raises(DataError, match=r"4 points without names, skeleton .* has 17"):
        import_set("coco", tree.root / FILE, tmp_path / "c", skeleton="person")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image_id": 5555}, "belongs to no image"),
        ({"category_id": 2}, "no category 2"),
        ({"keypoints": [1, 2]}, "must be a list of 12 finite numbers"),
        ({"bbox": [1, 2, 0, 5]}, "no area"),
        ({"bbox": None, "keypoints": [5, 5, 2] + [0] * 9}, "two labelled points"),
    ],
)
def test_one_bad_annotation_is_reported_and_the_others_stay(tmp_path: Path, change: dict, reason: str) -> None:
    tree = write_tree(tmp_path / "original")
    value = json.loads((tree.root / FILE).read_text())
    value["annotations"][-1].update(change)
    write_json(tree.root / FILE, value)
    done = import_set("coco", tree.root, tmp_path / "out", name="mine")
    (entry,) = read_report(done.prepared.folder / "report.json")
    assert entry["what"] == "object"
    assert reason in entry["reason"]
    assert "31" in entry["reason"], "the annotation's id is named"


def test_a_missing_box_comes_from_the_points(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    value = json.loads((tree.root / FILE).read_text())
    for entry in value["annotations"]:
        del entry["bbox"]
    write_json(tree.root / FILE, value)
    done = import_set("coco", tree.root, tmp_path / "out", name="mine")
    heron = records_of(done.prepared.folder)["images/train/2.png"].instances[0]
    xs = [x for x, _ in spread(FREE, 12, 12).values()]
    margin = 0.1 * (max(xs) - min(xs))
    assert heron.box[0] == pytest.approx(min(xs) - margin)
    assert heron.box[2] == pytest.approx(max(xs) - min(xs) + 2 * margin)


def test_a_box_of_points_stays_in_the_picture_and_leaves_out_what_is_outside() -> None:
    picture = Picture("a.png", 100, 50)
    points = {"a": (0, 0, 2), "b": (40, 50, 2), "c": (5000, 5, 2), "d": (99, 49, 0)}
    assert box_round(points, picture) == (0, 0, 45, 50)


def test_sources_do_not_mix(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    import_set("coco", tree.root / FILE, tmp_path / "out", name="mine")
    import_set("coco", tree.root / FILE, tmp_path / "out", name="mine", category="bird")
    (category,) = {i.category.name for r in records_of(tmp_path / "out/mine").values() for i in r.instances}
    assert category == "bird", "other choices make everything anew"
    with pytest.raises(DataError, match="already holds another set"):
        import_set("coco", tree.root / "annotations/val.json", tmp_path / "out", name="mine")


@pytest.mark.parametrize(
    ("path", "choices", "reason"),
    [
        ("nothing.json", {}, "does not exist"),
        ("images", {}, "holds no COCO keypoints file"),
        ("", {"name": "../up"}, "cannot be the name of the set"),
        ("", {"name": "coco"}, "cannot be the name of the set"),
    ],
)
def test_mistakes_are_refused(tmp_path: Path, path: str, choices: dict, reason: str) -> None:
    tree = write_tree(tmp_path / "original")
    with pytest.raises(DataError, match=reason):
        import_set("coco", tree.root / path, tmp_path / "out", **choices)
    with pytest.raises(DataError, match="lies inside"):
        import_set("coco", tree.root, tmp_path / "original/sets")


def test_the_real_sample_keeps_every_number(tmp_path: Path) -> None:
    sample = shared("format_samples/coco")
    for file in ("test_coco.json", *(path.name for path in sample.glob("*.jpg"))):
        link(sample / file, tmp_path / "original" / file)
    done = import_set("coco", tmp_path / "original/test_coco.json", tmp_path / "out", skeleton="person")
    value = json.loads((sample / "test_coco.json").read_text())
    assert done.prepared.skipped == {}
    found = {i.source_id: i for record in records_of(done.prepared.folder).values() for i in record.instances}
    assert set(found) == {str(entry["id"]) for entry in value["annotations"]}
    names = load_skeleton("person").keypoints
    for entry in value["annotations"]:
        instance = found[str(entry["id"])]
        assert instance.category.keypoints == names
        flat = [number for name in names for number in instance.point(name)]
        assert flat == pytest.approx(
            [0 if not entry["keypoints"][i // 3 * 3 + 2] else v for i, v in enumerate(entry["keypoints"])]
        )
        assert instance.box == pytest.approx(entry["bbox"], abs=0.001)


@pytest.mark.parametrize("folder", ["steel_profiles", "alpine_birds"])
def test_whole_collections_of_the_sample_data(folder: str, tmp_path: Path) -> None:
    source = shared(folder)
    value = json.loads((source / "val.json").read_text())
    done = import_set("coco", source / "val.json", tmp_path)
    counts = done.prepared.counts["val"]
    assert counts.images == len(value["images"])
    lost = done.prepared.skipped.get("val", {}).get("object", 0)
    assert counts.instances + lost == len(value["annotations"])
    assert lost == 0
