"""Vinegar Fly: a drawn h5 original, the real points and names, what HDF5 can do to a reader, and damage."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from tests.data.fuzz import cut_short, fuzz_test, not_text
from tests.data.h5_trees import ROWS, csv_text, flipped_bytes, put, spoilt, write_h5
from tests.data.h5_trees import write_tree as write_rows
from tests.data.trees import Tree, check_prepared, link, records_of, shared, write_text

from xpose.data.datasets.converters.deepposekit import VinegarFly, _rows
from xpose.data.datasets.pipeline import prepare
from xpose.data.datasets.report import read_report
from xpose.errors import DataError, UnmappedKeypointError
from xpose.vocabulary import load_skeleton

FLY = VinegarFly()
CSV = "datasets/fly/skeleton.csv"


def write_tree(root: Path) -> Tree:
    return write_rows(root, FLY)


def write_binary_tree(root: Path) -> Tree:
    tree = write_tree(root)
    tree.annotations = [FLY.file]
    return tree


def edit(array: str, place: tuple, value: object) -> None:
    def change(file: h5py.File) -> None:
        file[array][place] = value

    return change


SPOILS = {
    "no_pictures": lambda file: file.__delitem__("images"),
    "no_rows": lambda file: [put(file, key, file[key][:0]) for key in ("images", "annotations", "annotated")],
    "fewer_rows_of_points": lambda file: put(file, "annotations", file["annotations"][:-1]),
    "a_point_less": lambda file: put(file, "annotations", file["annotations"][:, :-1]),
    "points_in_space": lambda file: put(file, "annotations", np.zeros((ROWS, 32, 3))),
    "points_of_text": lambda file: put(file, "annotations", np.full((ROWS, 32, 2), b"1.5")),
    "pictures_of_floats": lambda file: put(file, "images", np.zeros((ROWS, 9, 9, 1))),
    "pictures_without_size": lambda file: put(file, "images", np.zeros((ROWS, 0, 9, 1), np.uint8)),
    "a_group_for_an_array": lambda file: (file.__delitem__("images"), file.create_group("images")),
    "nan": edit("annotations", (3, 5), np.nan),
    "infinite": edit("annotations", (3, 5, 1), np.inf),
    "far_outside": edit("annotations", (slice(None), 4), 5000),
    "all_unconfirmed": edit("annotated", slice(None), False),
    "all_in_one_place": edit("annotations", slice(1, None, 2), 7),
    "a_link_to_another_file": lambda file: put(file, "images", h5py.ExternalLink("other.h5", "images")),
    "a_link_to_nothing": lambda file: put(file, "images", h5py.SoftLink("/nothing")),
}

test_fuzz = fuzz_test("vinegar-fly", write_tree)
test_binary_fuzz = fuzz_test(
    "vinegar-fly",
    write_binary_tree,
    (cut_short, not_text, flipped_bytes, *(spoilt(name, change) for name, change in SPOILS.items())),
)


def test_prepared(tmp_path: Path) -> None:
    done = check_prepared("vinegar-fly", write_tree(tmp_path / "original"), tmp_path)
    assert (done.counts["train"].images, done.counts["test"].images) == (18, 2)
    record = records_of(done.folder)["pictures/row_00001.png"]
    assert record.source_id == "1"
    assert record.instances[0].box == (10.25, 11, 67, 45), "the points' extent and one pixel"
    assert record.instances[0].category.taxonomy.species == "Drosophila melanogaster"


def test_the_split_is_the_shuffle_of_numpy_seed_0() -> None:
    np.random.seed(0)
    order = np.arange(1500)
    np.random.shuffle(order)
    assert _rows(1500, "train") == order[:1350].tolist()
    assert _rows(1500, "test") == order[1350:].tolist()


def test_numbers_in_other_files_are_never_read(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(100_000))
    with h5py.File(tree.root / FLY.file, "r+") as file:
        del file["images"]
        file.create_dataset("images", (ROWS, 9, 9, 1), np.uint8, external=[(str(secret), 0, 100_000)])
    with pytest.raises(DataError, match="not an array with its numbers in this file"):
        prepare("vinegar-fly", tree.root, tmp_path)
    with h5py.File(tree.root / FLY.file, "r+") as file:
        del file["images"]
        layout = h5py.VirtualLayout((ROWS, 9, 9, 1), np.uint8)
        layout[:] = h5py.VirtualSource(str(secret), "images", (ROWS, 9, 9, 1))
        file.create_virtual_dataset("images", layout)
    with pytest.raises(DataError, match="not an array with its numbers in this file"):
        prepare("vinegar-fly", tree.root, tmp_path)


def test_rows_that_no_memory_holds_are_refused_unread(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    with h5py.File(tree.root / FLY.file, "r+") as file:
        del file["images"]
        file.create_dataset("images", (ROWS, 90_000, 90_000, 1), np.uint8, chunks=(1, 90_000, 30_000, 1))
    with pytest.raises(DataError, match="takes more than 1 GiB"):
        prepare("vinegar-fly", tree.root, tmp_path)


def test_a_clone_without_the_large_files_is_explained(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    write_text(tree.root / FLY.file, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(DataError, match="git lfs pull"):
        prepare("vinegar-fly", tree.root, tmp_path)


def test_the_order_of_the_points() -> None:
    legs = [f"{leg}leg{side}{part}" for side in "RL" for leg in ("fore", "mid", "hind") for part in range(1, 5)]
    body = ["head", "eyeL", "eyeR", "neck", "thorax", "abdomen"]
    assert list(FLY.table.names) == [*body, *legs, "wingL", "wingR"]


def test_names_are_checked_since_the_arrays_have_none(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    names = list(FLY.table.names)
    write_text(tree.root / CSV, csv_text([names[1], names[0], *names[2:]]))
    with pytest.raises(DataError, match="in another order"):
        prepare("vinegar-fly", tree.root, tmp_path)
    write_text(tree.root / CSV, csv_text([*names[:-1], "wingRR"]))
    with pytest.raises(UnmappedKeypointError, match=r'"wingRR" has no unified name. Did you mean "wingR"'):
        prepare("vinegar-fly", tree.root, tmp_path)


def test_rows_that_nobody_confirmed_are_reported(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    with h5py.File(tree.root / FLY.file, "r+") as file:
        file["annotated"][4] = False
        file["annotations"][5, 6] = np.nan
    done = prepare("vinegar-fly", tree.root, tmp_path)
    reasons = {entry["file"]: entry["reason"] for entry in read_report(done.folder / "report.json")}
    assert reasons == {
        "pictures/row_00004.png": "nobody has confirmed any of its points",
        "pictures/row_00005.png": "one of its points is at (nan, nan), not at two finite numbers",
    }
    assert done.counts["train"].images + done.counts["test"].images == ROWS - 2


def test_the_real_swap_table_is_right_but_for_one_place_which_ours_mends() -> None:
    sample = shared("format_samples/deepposekit_skeletons") / "fly_skeleton.csv"
    with open(sample, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == list(FLY.table.names)
    flips = load_skeleton("fly").flips
    ours = {source: flips[unified] for source, unified in FLY.table.names.items()}
    theirs = {row["name"]: FLY.table.names[row["swap"] or row["name"]] for row in rows}
    wrong = {name for name in ours if ours[name] != theirs[name]}
    assert wrong == {"midlegR3"}
    assert ours["midlegR3"] == "left midleg second segment" == FLY.table.names["midlegL3"]
    parents = {
        frozenset((FLY.table.names[row["name"]], FLY.table.names[row["parent"]])) for row in rows if row["parent"]
    }
    assert parents <= {frozenset(edge) for edge in load_skeleton("fly").edges}


def test_the_real_points_and_boxes_come_through(tmp_path: Path) -> None:
    sample = shared("format_samples/fly")
    root = tmp_path / "original"
    content = json.loads((sample / "test_fly.json").read_text())
    told = [np.array(annotation["keypoints"]).reshape(-1, 3) for annotation in content["annotations"]]
    pixels = [np.asarray(Image.open(sample / image["file_name"]).convert("L")) for image in content["images"]]
    places = np.stack([points[:, :2] for points in told])
    write_h5(root / FLY.file, np.stack(pixels)[..., None], places, np.stack([points[:, 2] > 0 for points in told]))
    link(shared("format_samples/deepposekit_skeletons") / "fly_skeleton.csv", root / CSV)
    done = prepare("vinegar-fly", root, tmp_path)
    assert done.skipped == {}
    records = records_of(done.folder)
    for row, (annotation, points) in enumerate(zip(content["annotations"], told, strict=True)):
        (fly,) = records[f"pictures/row_{row:05}.png"].instances
        assert fly.box == pytest.approx(annotation["bbox"], abs=1e-3)
        names = [FLY.table.names[name] for name in content["categories"][0]["keypoints"]]
        assert [fly.point(name) for name in names] == [pytest.approx(tuple(point), abs=1e-3) for point in points]
        assert (np.asarray(Image.open(done.folder / f"pictures/row_{row:05}.png")) == pixels[row]).all()
