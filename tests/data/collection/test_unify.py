"""Unifying: names, categories, sides, balance, leaks, and the same bytes every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.data.datasets.test_folder_sets import write_tree
from tests.data.small_sets import category, record, write_prepared
from tests.data.trees import check_pycocotools

from xpose.data.collection.manifest import Places, read_manifest, verify
from xpose.data.collection.parts import find_parts, role_of
from xpose.data.collection.store import CocoSet
from xpose.data.collection.unify import SAMPLES, SEED, Choices, unify
from xpose.errors import DataError, UnmappedKeypointError
from xpose.records import Category, Record, Taxonomy
from xpose.vocabulary import load_skeleton

PERSON = category("person")


def simple(
    root: Path, name: str = "first", train: int = 6, start: int = 0, kind: Category = PERSON, **manifest: Any
) -> Path:
    """A set with `train` training pictures and two for evaluation, all different."""
    rule = manifest.get("left_right", "anatomical")
    files = {f"train/{k}.png": start + k for k in range(train)} | {f"val/{k}.png": start + 100 + k for k in range(2)}
    records = [record(name, file.partition("/")[0], file, [kind], rule) for file in files]
    return write_prepared(root, name, records, files, **manifest)


def records_in(folder: Path) -> dict[str, Record]:
    found = [
        one
        for file in ("train", "evaluation")
        if (folder / f"{file}.json").exists()
        for one in CocoSet(folder / f"{file}.json")
    ]
    return {one.picture.file: one for one in found}


def test_sets_become_one_collection(tmp_path: Path) -> None:
    simple(tmp_path / "sets", "first")
    simple(tmp_path / "sets", "second", start=20)
    done = unify([tmp_path / "sets"], tmp_path / "out")
    assert {role: counts.images for role, counts in done.counts.items()} == {"train": 12, "evaluation": 4}
    verify(tmp_path / "out")
    check_pycocotools(tmp_path / "out")
    records = records_in(tmp_path / "out")
    assert set(records) >= {"first/train/0.png", "second/val/1.png"}
    places = Places(tmp_path / "out")
    for name, one in records.items():
        set_name, _, file = name.partition("/")
        assert places.path(one.picture) == tmp_path / "sets" / f"{set_name}-original" / file
        assert one.source == set_name
        assert one.split == file.partition("/")[0], "the split it had stays"


def test_nothing_of_a_record_gets_lost(tmp_path: Path) -> None:
    kind = category("dog", "animal", Taxonomy(family="Canidae"))
    before = record("only", "train", "a.png", [kind, kind], style="oil painting", group="walk", source_id="7")
    write_prepared(tmp_path, "only", [before], {"a.png": 1})
    unify([tmp_path / "only"], tmp_path / "out")
    (after,) = CocoSet(tmp_path / "out/train.json")
    assert [one.keypoints for one in after.instances] == [one.keypoints for one in before.instances]
    assert [one.box for one in after.instances] == [one.box for one in before.instances]
    assert after.instances[0].category == kind
    assert (after.style, after.source_id, after.licence) == ("oil painting", "7", "CC-BY-4.0")
    assert after.group == "only/walk", "groups of different sets are different groups"


def test_the_same_sets_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    for name, start in (("first", 0), ("second", 20)):
        simple(tmp_path / "here", name, start=start)
        simple(tmp_path / "elsewhere", name, start=start)
    choices = Choices(samples={"first": 3})
    unify([tmp_path / "here/second", tmp_path / "here/first"], tmp_path / "a", choices)
    unify([tmp_path / "elsewhere"], tmp_path / "b", choices)
    files = {path.name for path in (tmp_path / "a").glob("*.*")} - {"location.json", ".prints.sqlite"}
    assert files >= {
        "train.json",
        "evaluation.json",
        "manifest.json",
        "leaks.json",
        "statistics.json",
        "statistics.html",
    }
    before = {file: (tmp_path / "a" / file).read_bytes() for file in files}
    assert before == {file: (tmp_path / "b" / file).read_bytes() for file in files}, "whatever the order and the place"
    unify([tmp_path / "here"], tmp_path / "a", choices)
    assert before == {file: (tmp_path / "a" / file).read_bytes() for file in files}, "a second run"


def test_a_sample_is_fixed_by_the_seed(tmp_path: Path) -> None:
    simple(tmp_path / "sets", train=30)

    def chosen(seed: int, count: int) -> set[str]:
        done = unify([tmp_path / "sets"], tmp_path / "out", Choices(seed=seed, samples={"first": count}, leaks="off"))
        assert done.sampled == {"first": (min(count, 30), 30)}
        return {one.picture.file for one in CocoSet(tmp_path / "out/train.json")}

    assert len(chosen(1, 10)) == 10
    assert chosen(1, 10) == chosen(1, 10)
    assert chosen(1, 10) != chosen(2, 10)
    assert chosen(1, 10) < chosen(1, 20), "a larger sample holds the smaller one"
    assert len(chosen(1, 99)) == 30
    manifest = read_manifest(tmp_path / "out")
    assert manifest["sampling_seed"] == 1
    assert manifest["sampled"] == {"first": {"taken": 30, "of": 30}}
    assert manifest["splits"]["evaluation"]["counts"]["images"] == 2, "evaluation stays whole"


def test_the_published_choices() -> None:
    assert Choices().seed == SEED
    assert set(SAMPLES.values()) == {2000}
    assert {"onehand10k", "macaquepose"} <= set(SAMPLES)


def leaky(root: Path) -> None:
    """Training pictures 1 and 2 are evaluation pictures of another set."""
    simple(root, "first", train=4)
    kinds = [PERSON]
    other = {"test/x.png": 1, "test/y.jpg": 2, "test/z.png": 77}
    write_prepared(root, "second", [record("second", "test", file, kinds) for file in other], other)


def test_leaks_are_left_out_and_named(tmp_path: Path) -> None:
    leaky(tmp_path / "sets")
    done = unify([tmp_path / "sets"], tmp_path / "out")
    found = {(leak.train, leak.evaluation): leak.how for leak in done.leaks}
    assert found == {
        ("first/train/1.png", "second/test/x.png"): "same file",
        ("first/train/2.png", "second/test/y.jpg"): "same look",
    }
    assert [one.picture.file for one in CocoSet(tmp_path / "out/train.json")] == [
        "first/train/0.png",
        "first/train/3.png",
    ]
    told = json.loads((tmp_path / "out/leaks.json").read_text())
    assert [leak["train"] for leak in told["leaks"]] == ["first/train/1.png", "first/train/2.png"]
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert [entry["file"] for entry in report["skipped"]] == ["first/train/1.png", "first/train/2.png"]
    assert read_manifest(tmp_path / "out")["leaks"]["pictures_dropped"] == 2


def test_leaks_can_be_kept_or_not_looked_for(tmp_path: Path) -> None:
    leaky(tmp_path / "sets")
    kept = unify([tmp_path / "sets"], tmp_path / "out", Choices(leaks="report"))
    assert (len(kept.leaks), kept.counts["train"].images) == (2, 4)
    unseen = unify([tmp_path / "sets"], tmp_path / "out", Choices(leaks="off"))
    assert (unseen.leaks, unseen.counts["train"].images) == ([], 4)


def test_pictures_that_cannot_be_compared_are_named(tmp_path: Path) -> None:
    simple(tmp_path / "sets")
    (tmp_path / "sets/first-original/train/3.png").unlink()
    done = unify([tmp_path / "sets"], tmp_path / "out")
    assert done.unread == ["first/train/3.png"]
    assert json.loads((tmp_path / "out/leaks.json").read_text())["not_compared"] == ["first/train/3.png"]


def test_groups_on_both_sides_are_named(tmp_path: Path) -> None:
    files = {"a.png": 1, "b.png": 2}
    records = [
        record("clips", split, file, [PERSON], group="walk")
        for file, split in zip(files, ("train", "val"), strict=True)
    ]
    write_prepared(tmp_path, "clips", records, files)
    assert unify([tmp_path / "clips"], tmp_path / "out").parted == {"clips/walk": (1, 1)}


def test_categories_take_one_name_and_share_their_taxonomy(tmp_path: Path) -> None:
    kinds = [
        category("human face", "face"),
        category("dog", "animal", Taxonomy(family="Canidae")),
        category("Dog", "animal_pose", Taxonomy(class_="mammal")),
        category("fox", "animal", Taxonomy(family="Canidae")),
        category("fox", "animal_pose", Taxonomy(family="Vulpini")),
    ]
    write_prepared(tmp_path, "zoo", [record("zoo", "train", "a.png", kinds)], {"a.png": 1})
    done = unify([tmp_path / "zoo"], tmp_path / "out")
    (one,) = CocoSet(tmp_path / "out/train.json")
    found = [(i.category.name, i.category.taxonomy.family, i.category.taxonomy.class_) for i in one.instances]
    assert found == [
        ("face", None, None),
        ("dog", "Canidae", "mammal"),
        ("dog", "Canidae", "mammal"),
        ("fox", "Canidae", None),
        ("fox", "Vulpini", None),
    ]
    manifest = read_manifest(tmp_path / "out")
    assert manifest["renamed_categories"] == {"human face": "face", "Dog": "dog"}
    assert manifest["taxonomy_conflicts"] == ["fox: family is Canidae or Vulpini"]
    assert done.statistics.totals()["categories"] == 3


def test_a_keypoint_that_its_skeleton_lacks_stops_it(tmp_path: Path) -> None:
    odd = Category("person", "person", ("nose", "third eye"))
    write_prepared(tmp_path, "odd", [record("odd", "train", "a.png", [odd])], {"a.png": 1})
    with pytest.raises(UnmappedKeypointError, match=r'"third eye".*"odd"'):
        unify([tmp_path / "odd"], tmp_path / "out")


def test_skeletons_of_a_users_own_pass_and_are_named(tmp_path: Path) -> None:
    own = Category("forklift", "my_forklift", ("mast top", "fork tip"))
    write_prepared(tmp_path, "own", [record("own", "train", "a.png", [own])], {"a.png": 1})
    unify([tmp_path / "own"], tmp_path / "out")
    assert read_manifest(tmp_path / "out")["skeletons_of_their_own"] == ["my_forklift"]


def test_sides_seen_by_the_viewer_need_a_decision(tmp_path: Path) -> None:
    simple(tmp_path, "mirror", left_right="viewer")
    with pytest.raises(DataError, match="--swap-sides mirror"):
        unify([tmp_path / "mirror"], tmp_path / "out")
    unify([tmp_path / "mirror"], tmp_path / "kept", Choices(keep_sides=("mirror",)))
    unify([tmp_path / "mirror"], tmp_path / "swapped", Choices(swap_sides=("mirror",)))
    kept, swapped = (next(iter(CocoSet(tmp_path / name / "train.json"))) for name in ("kept", "swapped"))
    assert (kept.left_right, swapped.left_right) == ("viewer", "anatomical")
    flips = load_skeleton("person").flips
    before, after = kept.instances[0].keypoints, swapped.instances[0].keypoints
    assert after == {flips[name]: point for name, point in before.items()}
    assert before != after


@pytest.mark.parametrize(
    ("split", "role"),
    [
        ("train", "train"),
        ("all", "train"),
        ("val", "evaluation"),
        ("common", "evaluation"),
        ("part1", "evaluation"),
        ("train-split2", "none"),
        ("test-P3-bird", "none"),
    ],
)
def test_roles_by_name(split: str, role: str) -> None:
    assert role_of(split) == role


def test_other_partings_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    splits = {"a.png": "train", "b.png": "val", "c.png": "train-split2"}
    records = [record("parted", split, file, [PERSON]) for file, split in splits.items()]
    write_prepared(tmp_path, "parted", records, {file: k for k, file in enumerate(splits)})
    unify([tmp_path / "parted"], tmp_path / "out")
    assert set(records_in(tmp_path / "out")) == {"parted/a.png", "parted/b.png"}
    roles = {"parted:train": "none", "parted:train-split2": "train"}
    unify([tmp_path / "parted"], tmp_path / "other", roles=roles)
    assert set(records_in(tmp_path / "other")) == {"parted/c.png", "parted/b.png"}


def test_a_picture_in_two_splits_of_one_role_counts_once(tmp_path: Path) -> None:
    records = [record("twice", split, "a.png", [PERSON]) for split in ("val", "test")]
    write_prepared(tmp_path, "twice", records, {"a.png": 1})
    done = unify([tmp_path / "twice"], tmp_path / "out")
    assert done.counts["evaluation"].images == 1
    assert "train" not in done.counts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ["frist"]}, 'Did you mean "first"'),
        ({"without": ["none such"]}, "There are: first"),
        ({"without": ["first"]}, "No set is left"),
        ({"roles": {"first:vall": "none"}}, "first:vall"),
        ({"roles": {"first:val": "testing"}}, "train, evaluation, none"),
    ],
)
def test_wrong_wishes_are_refused(tmp_path: Path, options: dict, message: str) -> None:
    simple(tmp_path / "sets")
    with pytest.raises(DataError, match=message):
        unify([tmp_path / "sets"], tmp_path / "out", **options)


def test_wrong_sources_are_refused(tmp_path: Path) -> None:
    simple(tmp_path / "sets")
    with pytest.raises(DataError, match="not a folder"):
        find_parts([tmp_path / "none"], tmp_path)
    with pytest.raises(DataError, match="holds neither prepared sets"):
        find_parts([tmp_path / "sets/first-original"], tmp_path)
    with pytest.raises(DataError, match="holds each set once"):
        find_parts([tmp_path / "sets", tmp_path / "sets/first"], tmp_path)
    with pytest.raises(DataError, match="Choose another folder"):
        unify([tmp_path / "sets"], tmp_path / "sets/first")
    unify([tmp_path / "sets"], tmp_path / "sets/collection")
    with pytest.raises(DataError, match="unified collection already"):
        find_parts([tmp_path / "sets/collection"], tmp_path)
    assert [part.name for part in find_parts([tmp_path / "sets"], tmp_path)] == ["first"], (
        "a collection beside its sets"
    )


def test_a_set_that_was_changed_is_refused(tmp_path: Path) -> None:
    folder = simple(tmp_path)
    with open(folder / "val.json", "a") as file:
        file.write(" ")
    with pytest.raises(DataError, match=r"checksum.*prepare first --fresh"):
        unify([folder], tmp_path / "out")


@pytest.mark.parametrize(
    "damage",
    [
        {"splits": {"train": None}},
        {"splits": {"train": {"file": "train.json", "sha256": "x"}}},
        {"splits": {"train": {"file": "train.json", "sha256": "x", "counts": {"images": "many"}}}},
        {"splits": {"train": {"file": "../train.json", "sha256": "x", "counts": {"images": 1}}}},
        {"splits": [1]},
        {"name": 3},
        {"name": "../up"},
    ],
)
def test_damaged_manifests_get_a_message(tmp_path: Path, damage: dict) -> None:
    folder = simple(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | damage))
    with pytest.raises(DataError):
        unify([folder], tmp_path / "out")


def test_originals_that_have_moved_get_a_message(tmp_path: Path) -> None:
    folder = simple(tmp_path)
    (tmp_path / "first-original").rename(tmp_path / "moved")
    with pytest.raises(DataError, match=r"location.json.*is not there"):
        unify([folder], tmp_path / "out")
    unify([folder], tmp_path / "out", Choices(leaks="off"))


def test_single_records_with_sides_of_the_viewer_are_noticed(tmp_path: Path) -> None:
    one = record("mixed", "train", "a.png", [PERSON], "viewer")
    write_prepared(tmp_path, "mixed", [one], {"a.png": 1})
    with pytest.raises(DataError, match="--keep-sides mixed"):
        unify([tmp_path / "mixed"], tmp_path / "out")
    with pytest.raises(DataError, match='no set "mxed"'):
        unify([tmp_path / "mixed"], tmp_path / "out", Choices(keep_sides=("mxed",)))


def test_folders_of_coco_sets_are_prepared_on_the_way(tmp_path: Path) -> None:
    write_tree(tmp_path / "root")
    unify([tmp_path / "root"], tmp_path / "out")
    records = records_in(tmp_path / "out")
    assert set(records) == {"people/images/p.png", "tubes/images/a.png", "tubes/images/b.png", "tubes/images/c.png"} - {
        one["file"] for one in json.loads((tmp_path / "out/report.json").read_text())["skipped"]
    }
    assert all(Places(tmp_path / "out").path(one.picture).is_file() for one in records.values())
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    assert Places(moved).roots["tubes"][1] == moved / "prepared/tubes"
