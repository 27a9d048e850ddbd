"""Keypoint-5: a drawn original in both forms of Matlab's files, several people's clicks, and damage."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat
from tests.data.fuzz import cut_short, damaged_picture, fuzz_test, missing_picture, not_text
from tests.data.h5_trees import flipped_bytes
from tests.data.trees import Tree, Truth, check_prepared, draw, records_of, spread, write_text

from xpose.data.datasets.converters.array_files import mat_array
from xpose.data.datasets.converters.keypoint5 import CLASSES, Keypoint5
from xpose.data.datasets.pipeline import prepare
from xpose.data.datasets.report import read_report
from xpose.data.datasets.sources import SourceFolder
from xpose.errors import DataError

TABLES = Keypoint5.tables
PICTURES = 6
SPLITS = {1: "test", 2: "test", 3: "val", 4: "val", 5: "train", 6: "train"}


def write_mat(path: Path, coords: np.ndarray, *, new: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not new:
        savemat(path, {"coords": coords, "note": "clicks"}, do_compression=True)
        return
    with h5py.File(path, "w", userblock_size=512) as file:
        file["coords"] = coords.T
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: ... HDF5 schema 1.00 .".ljust(512))


def write_tree(root: Path, *, new: bool = False) -> Tree:
    """Three people click one pixel apart round the truth; sofas have room for two points that nobody uses."""
    truth = {}
    for kind in CLASSES:
        names = TABLES[kind].unified
        people = 4 if kind == "bed" else 3
        coords = np.full((2, len(names) + 2 * (kind == "sofa"), people, PICTURES), np.nan)
        for number in range(1, PICTURES + 1):
            points = spread(names, 12, 12 + number, 14)
            if number % 2:
                del points[names[number]]
            for place, name in enumerate(names):
                if name in points:
                    for person, (dx, dy) in enumerate(((0, -1), (1, 1), (-1, 0))):
                        coords[:, place, person, number - 1] = points[name][0] + dx, points[name][1] + dy
            picture = f"{kind}/images/{number:04}.jpg"
            draw(root / picture, (100, 80), [points])
            truth[picture] = Truth([points], SPLITS[number])
        write_mat(root / kind / "coords.mat", coords, new=new)
    return Tree(root, truth, [f"{kind}/coords.mat" for kind in ("bed", "sofa")])


def write_new_tree(root: Path) -> Tree:
    return write_tree(root, new=True)


def change(tree: Tree, kind: str, edit: object) -> None:
    file = tree.root / kind / "coords.mat"
    coords = mat_array(SourceFolder(tree.root), f"{kind}/coords.mat", "coords", 4).copy()
    savemat(file, {"coords": edit(coords)})


def wrong_numbers(tree: Tree) -> Iterator[str]:
    for value in (np.inf, -np.inf, 1e300, -5000, np.nan, 0):
        file = tree.root / "chair/coords.mat"
        content = file.read_bytes()

        def put(coords: np.ndarray, value: float = value) -> np.ndarray:
            coords[:, :, :, 2] = value
            return coords

        change(tree, "chair", put)
        yield f"all clicks of chair 3 are {value}"
        file.write_bytes(content)


BINARY = (cut_short, not_text, flipped_bytes, wrong_numbers, missing_picture, damaged_picture)
test_fuzz = fuzz_test("keypoint-5", write_tree, BINARY)
test_fuzz_of_version_7_3 = fuzz_test("keypoint-5", write_new_tree, (cut_short, not_text, flipped_bytes))


@pytest.mark.parametrize("new", [False, True], ids=["version 5", "version 7.3"])
def test_prepared(tmp_path: Path, new: bool) -> None:
    done = check_prepared("keypoint-5", write_tree(tmp_path / "original", new=new), tmp_path)
    assert {split: counts.images for split, counts in done.counts.items()} == {"train": 10, "val": 10, "test": 10}
    records = records_of(done.folder)
    assert {record.instances[0].category.name for record in records.values()} == {*CLASSES, "swivel chair"} - {
        "swivelchair"
    }
    (table,) = records["table/images/0002.jpg"].instances
    assert table.box == pytest.approx((12 - 5.6, 14 - 1.4, 56 * 1.2, 14 * 1.2)), "the extent and a tenth"


def test_points_are_medians_of_those_who_clicked(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")

    def edit(coords: np.ndarray) -> np.ndarray:
        coords[:, 0, :, 5] = [[10, 13, 70], [20, 60, 22]]  # one of three is far off
        coords[:, 2, :, 5] = [[30, np.nan, 34], [20, 90, 30]]  # one has no x
        coords[:, 4, :, 5] = [[0, 0, 44], [0, 0, 33]]  # only one clicked at all
        coords[:, 5, :, 5] = 0
        return coords

    change(tree, "table", edit)
    done = prepare("keypoint-5", tree.root, tmp_path)
    (table,) = records_of(done.folder)["table/images/0006.jpg"].instances
    assert table.point("table top corner 1") == (13, 22, 2)
    assert table.point("table top corner 3") == (32, 25, 2)
    assert table.point("table leg 1") == (44, 33, 2)
    assert table.point("table leg 2") == (0, 0, 0)


def test_pictures_and_clicks_without_their_partner_are_reported(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    (tree.root / "bed/images/0005.jpg").rename(tree.root / "bed/images/0007.jpg")
    (tree.root / "bed/images/0006.jpg").rename(tree.root / "bed/images/six.jpg")
    (tree.root / "sofa/images/6.png").write_bytes(b"")

    def nobody(coords: np.ndarray) -> np.ndarray:
        coords[:, :, :, 1] = np.nan
        return coords

    change(tree, "chair", nobody)
    done = prepare("keypoint-5", tree.root, tmp_path)
    reasons = {entry["file"]: entry["reason"] for entry in read_report(done.folder / "report.json")}
    assert reasons == {
        "bed/images/5.jpg": "the picture of that number is missing",
        "bed/images/6.jpg": "the picture of that number is missing",
        "bed/images/0007.jpg": "coords.mat has clicks for the pictures 1 to 6 only",
        "bed/images/six.jpg": "coords.mat has clicks for the pictures 1 to 6 only",
        "sofa/images/6.png": "the picture of that number is already sofa/images/0006.jpg",
        "chair/images/0002.jpg": "nobody clicked any of its points",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"other": np.zeros((2, 8, 3, 4))}, "there is none of that name"),
        ({"coords": np.zeros((2, 8, 3))}, "is 2 x 8 x 3, but must have 4 axes"),
        ({"coords": np.zeros((3, 8, 3, 4))}, "must have 2 x 8"),
        ({"coords": np.zeros((2, 7, 3, 4))}, "must have 2 x 8"),
        ({"coords": np.full((2, 8, 3, 4), {}, object)}, "it is a cell"),
        ({"coords": np.full((2, 8, 3, 4), "x")}, "it is text"),
        ({"coords": {"x": 1}}, "it is a structure"),
        ({"coords": np.zeros((2, 8, 3, 0))}, "has 0 numbers"),
        ({"coords": np.ones((2, 8, 3, 4)) * 1j}, "not an array of real numbers"),
    ],
)
def test_files_with_something_else_in_them(tmp_path: Path, content: dict, message: str) -> None:
    tree = write_tree(tmp_path / "original")
    savemat(tree.root / "table/coords.mat", content)
    with pytest.raises(DataError, match=message):
        prepare("keypoint-5", tree.root, tmp_path)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_arrays_of_every_kind_are_read_as_scipy_reads_them(tmp_path: Path, kind: str, packed: bool) -> None:
    array = np.arange(2 * 5 * 3 * 4).reshape(2, 5, 3, 4).astype(kind)
    content = {"a": np.eye(3), "text": "words", "coords": array, "x": [1.5], "empty": np.zeros((0, 0))}
    savemat(tmp_path / "a.mat", content, do_compression=packed)
    for name, axes in (("coords", 4), ("a", 2), ("x", 2)):
        found = mat_array(SourceFolder(tmp_path), "a.mat", name, axes)
        theirs = loadmat(tmp_path / "a.mat")[name]
        assert found.dtype == theirs.dtype
        np.testing.assert_array_equal(found, theirs)


def test_files_from_machines_of_the_other_byte_order(tmp_path: Path) -> None:
    name, numbers = b"coords\0\0", struct.pack(">4d", 1, 2, 3, 4)
    parts = [(6, struct.pack(">II", 6, 0)), (5, struct.pack(">ii", 2, 2)), (1, name[:6]), (9, numbers)]
    matrix = b"".join(
        struct.pack(">II", kind, len(data)) + data.ljust(-(-len(data) // 8) * 8, b"\0") for kind, data in parts
    )
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\1\0MI"
    (tmp_path / "a.mat").write_bytes(header + struct.pack(">II", 14, len(matrix)) + matrix)
    assert mat_array(SourceFolder(tmp_path), "a.mat", "coords", 2).tolist() == [[1, 3], [2, 4]]


def test_one_damaged_byte_that_ends_scipys_process_is_only_an_error(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"coords": np.ones((2, 8, 3, 50))})
    content = bytearray((tmp_path / "a.mat").read_bytes())
    assert content[192] == 9, "the type of the numbers"
    content[192] = 162
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(DataError, match="of the unknown type 162"):
        mat_array(SourceFolder(tmp_path), "a.mat", "coords", 4)


@given(st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=20), st.booleans())
def test_no_damage_ends_in_anything_but_an_error(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], packed: bool
) -> None:
    folder = tmp_path_factory.mktemp("mat")
    savemat(folder / "a.mat", {"coords": np.ones((2, 8, 3, 2))}, do_compression=packed)
    content = bytearray((folder / "a.mat").read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    (folder / "a.mat").write_bytes(content)
    try:
        found = mat_array(SourceFolder(folder), "a.mat", "coords", 4)
    except DataError:
        return
    assert found.size == 2 * 8 * 3 * 2


def test_promised_sizes_are_checked_before_reading(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file.create_dataset("coords", (1 << 10, 3, 14, 2), "f8", chunks=(1000, 3, 14, 2))
        file.create_dataset("more", (1 << 22, 3, 14, 2), "f8", chunks=(1000, 3, 14, 2))
    assert mat_array(SourceFolder(tmp_path), "a.mat", "coords", 4).shape == (2, 14, 3, 1 << 10)
    with pytest.raises(DataError, match="but may have 1 to"):
        mat_array(SourceFolder(tmp_path), "a.mat", "more", 4)
    savemat(tmp_path / "b.mat", {"coords": np.zeros((2, 8, 3, 50))}, do_compression=False)
    content = (tmp_path / "b.mat").read_bytes()
    (tmp_path / "b.mat").write_bytes(content[:160] + struct.pack("<4i", 2, 1 << 20, 1 << 20, 1 << 10) + content[176:])
    with pytest.raises(DataError, match="but may have 1 to"):
        mat_array(SourceFolder(tmp_path), "b.mat", "coords", 4)
    write_text(tmp_path / "c.mat", "clicks\n")
    with pytest.raises(DataError, match="does not begin like a file"):
        mat_array(SourceFolder(tmp_path), "c.mat", "coords", 4)


# The order of the source, in the words of two public name tables.
ORDER = {
    "bed": "r back leg, r front leg, r back base, r front base, r headboard, "
    "l back leg, l front leg, l back base, l front base, l headboard",
    "chair": "r front leg, l front leg, l back leg, r back leg, "
    "r front seat, l front seat, l back seat, r back seat, r backrest, l backrest",
    "sofa": "r back leg, r front leg, r back base, r front base, r armrest back, r armrest front, r backrest, "
    "l back leg, l front leg, l back base, l front base, l armrest back, l armrest front, l backrest",
    "swivelchair": "wheel 1, wheel 2, wheel 3, wheel 4, wheel 5, column bottom, column top, "
    "r front seat, l front seat, l back seat, r back seat, r backrest, l backrest",
    "table": "table top corner 1, table top corner 2, table top corner 3, table top corner 4, "
    "table leg 1, table leg 2, table leg 3, table leg 4",
}


@pytest.mark.parametrize("kind", CLASSES)
def test_the_order_is_the_sources(kind: str) -> None:
    sides = {"r": "right", "l": "left"}
    for told, unified in zip(ORDER[kind].split(", "), TABLES[kind].unified, strict=True):
        first, *rest = told.split()
        assert unified.split()[: 1 + len(rest)] == [sides.get(first, first), *rest]
