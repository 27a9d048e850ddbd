"""DeepLabCut projects: csv of both kinds, h5 in the layout that can be read, damage, the real samples."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from tests.data.imports import check_imported, fuzz_import
from tests.data.trees import Tree, Truth, draw, link, records_of, shared, spread, write_text

from xpose.data.datasets.importers import import_set, imported_skeletons
from xpose.data.datasets.importers.deeplabcut import read_labels
from xpose.data.datasets.report import read_report
from xpose.data.datasets.sources import SourceFolder
from xpose.errors import DataError
from xpose.vocabulary import load_skeleton

h5py = pytest.importorskip("h5py", reason="needs h5py, which the extra `data` brings")
pytest.importorskip("yaml", reason="needs pyyaml, which the extra `data` brings")

PARTS = ("snout", "leftear", "rightear", "tail_base")
FREE = ("snout", "leftear", "rightear", "tail base")
CONFIG = """
Task: maze
numframes2pick: 20
scorer: Ann
multianimalproject: false
skeleton:
- [snout, leftear]
- [snout, rightear]
- [leftear, tail_base]
- [snout, whisker]
"""
CSV = "labeled-data/night_1/CollectedData_Ann.csv"


def rows_of(pictures: dict[str, list[dict]], individuals: list[str], lead: int = 1) -> list[list[str]]:
    """The lines of a label file; `lead` is how many cells a picture's path takes."""
    who = individuals or [""]
    columns = [(name, part, axis) for name in who for part in PARTS for axis in "xy"]
    blank = [""] * (lead - 1)
    lines = [["scorer", *blank, *["Ann"] * len(columns)]]
    lines += [["individuals", *blank, *(name for name, *_ in columns)]] if individuals else []
    lines += [
        ["bodyparts", *blank, *(part for _, part, _ in columns)],
        ["coords", *blank, *(axis for *_, axis in columns)],
    ]
    for picture, objects in pictures.items():
        cells = [picture] if lead == 1 else picture.split("/")
        for index in range(len(who)):
            points = objects[index] if index < len(objects) else {}
            for name in FREE:
                cells += [str(value) for value in points[name]] if name in points else ["", ""]
        lines.append(cells)
    return lines


def write_csv(path: Path, lines: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)


def write_project(root: Path, individuals: list[str], lead: int = 1) -> Tree:
    truth, files = {}, []
    for video in ("night_1", "night_2"):
        pictures = {}
        for number in range(3):
            objects = [spread(FREE[: 4 - number], 12, 12), spread(FREE, 70, 40)][: 2 if individuals else 1]
            name = f"labeled-data/{video}/img{number:04}.png"
            pictures[name] = objects
            truth[name] = Truth(objects, "all")
            draw(root / name, (120, 90), objects)
        files.append(f"labeled-data/{video}/CollectedData_Ann.csv")
        write_csv(root / files[-1], rows_of(pictures, individuals, lead))
    write_text(root / "config.yaml", CONFIG)
    return Tree(root, truth, ["config.yaml", *files])


def write_tree(root: Path) -> Tree:
    return write_project(root, [])


def write_herd(root: Path) -> Tree:
    return write_project(root, ["mouse1", "mouse2"], lead=3)


def write_csv_only(root: Path) -> Tree:
    tree = write_herd(root)
    return Tree(tree.root, tree.truth, tree.annotations[1:])


test_fuzz = fuzz_import("deeplabcut", write_tree, "")
test_fuzz_herd = fuzz_import("deeplabcut", write_csv_only, "")


@pytest.mark.parametrize("write", [write_tree, write_herd])
def test_imported(write, tmp_path: Path) -> None:
    done = check_imported("deeplabcut", write(tmp_path / "original"), "", tmp_path, category="mouse")
    record = records_of(done.prepared.folder)["labeled-data/night_1/img0000.png"]
    assert record.group == "night_1"
    mouse = record.instances[0]
    assert mouse.category.name == "mouse"
    assert mouse.category.keypoints == FREE
    assert mouse.source_id == ("mouse1" if write is write_herd else None)
    (skeleton,) = imported_skeletons(done.prepared.folder).values()
    assert skeleton.edges == (("snout", "leftear"), ("snout", "rightear"), ("leftear", "tail base"))
    assert skeleton.flips["leftear"] == "rightear", "glued words are a pair if both are there"
    assert skeleton.flips["snout"] == "snout"


def test_one_file_of_a_project(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    done = import_set("deeplabcut", tree.root / CSV, tmp_path / "out")
    assert done.prepared.folder.name == "night-1"
    assert {name.split("/")[1] for name in records_of(done.prepared.folder)} == {"night_1"}
    assert any('called "object"' in note for note in done.notes)


def test_a_skeleton_finds_glued_names(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    done = import_set("deeplabcut", tree.root, tmp_path / "out", category="mouse", skeleton="mouse_openfield")
    mouse = records_of(done.prepared.folder)["labeled-data/night_1/img0000.png"].instances[0]
    assert mouse.category.skeleton == "mouse_openfield"
    assert set(mouse.category.keypoints) == set(load_skeleton("mouse_openfield").keypoints)


def test_points_that_are_there_once_are_an_object_of_their_own(tmp_path: Path) -> None:
    root = tmp_path / "original"
    pictures = {"labeled-data/v/a.png": [spread(FREE, 12, 12), spread(FREE[:2], 70, 40)]}
    draw(root / "labeled-data/v/a.png", (120, 90), pictures["labeled-data/v/a.png"])
    write_csv(root / "labeled-data/v/CollectedData_Ann.csv", rows_of(pictures, ["mouse1", "single"]))
    done = import_set("deeplabcut", root, tmp_path / "out", name="mine", category="mouse")
    (record,) = records_of(done.prepared.folder).values()
    assert [instance.category.name for instance in record.instances] == ["mouse", "single"]


def test_a_renamed_video_folder_still_finds_its_frames(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    (tree.root / "labeled-data/night_1").rename(tree.root / "labeled-data/first night")
    done = import_set("deeplabcut", tree.root, tmp_path / "out", name="mine")
    assert "labeled-data/first night/img0000.png" in records_of(done.prepared.folder)
    assert done.prepared.skipped == {}


def test_a_picture_without_a_row_and_a_row_without_its_picture_are_reported(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    (tree.root / "labeled-data/night_1/img0001.png").rename(tree.root / "labeled-data/night_1/img0009.png")
    done = import_set("deeplabcut", tree.root, tmp_path / "out", name="mine")
    reasons = {Path(entry["file"]).name: entry["reason"] for entry in read_report(done.prepared.folder / "report.json")}
    assert "is missing" in reasons["img0001.png"]
    assert "no annotation names" in reasons["img0009.png"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not begin with the rows"),
        ("scorer,A,A\nbodyparts,nose,nose\n", "does not begin with the rows"),
        ("scorer,A,A,A\nbodyparts,n,n,n\ncoords,x,y,likelihood\na.png,1,2,0.9\n", "what a model predicted"),
        ("scorer,A,A\nbodyparts,n,n\ncoords,x,x\na.png,1,2\n", "an x and a y column"),
        ("scorer,A,A,A,A\nbodyparts,n,n,n,n\ncoords,x,y,x,y\na.png,1,2,1,2\n", "an x and a y column"),
        ("scorer,A,A\nbodyparts,,\ncoords,x,y\na.png,1,2\n", "columns without a name"),
    ],
)
def test_a_file_that_is_no_label_table_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    write_text(tmp_path / "labeled-data/v/CollectedData_A.csv", text)
    with pytest.raises(DataError, match=reason):
        import_set("deeplabcut", tmp_path, tmp_path.parent / "out")


def test_several_scorers_need_a_choice(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    other = tree.root / "labeled-data/night_1/CollectedData_Bob.csv"
    other.write_bytes((tree.root / CSV).read_bytes())
    done = import_set("deeplabcut", tree.root, tmp_path / "out", name="mine")
    assert done.prepared.skipped == {}, "config.yaml names the scorer"
    write_text(tree.root / "config.yaml", CONFIG.replace("Ann", "Carl"))
    with pytest.raises(DataError, match="several scorers"):
        import_set("deeplabcut", tree.root, tmp_path / "out2")


# The layout which pandas calls "fixed", as it was read off files that pandas 2 with PyTables wrote.


def write_h5(path: Path, lines: list[list[str]], lead: int, group: str = "df_with_missing") -> None:
    heads = [line for line in lines if line[0] in ("scorer", "individuals", "bodyparts", "coords")]
    body = lines[len(heads) :]
    with h5py.File(path, "w") as file:
        place = file.create_group(group)
        for number, head in enumerate(heads):
            _write_level(place, "block0_items", number, head[lead:])
        if lead == 1:
            place["axis1"] = np.array([line[0].encode() for line in body])
        else:
            for number in range(lead):
                _write_level(place, "axis1", number, [line[number] for line in body])
        place["block0_values"] = np.array([[float(cell) if cell else np.nan for cell in line[lead:]] for line in body])


def _write_level(place, axis: str, number: int, names: list[str]) -> None:
    different = sorted(set(names))
    place[f"{axis}_level{number}"] = np.array([name.encode() for name in different])
    place[f"{axis}_label{number}"] = np.array([different.index(name) for name in names], dtype=np.int8)


@pytest.mark.parametrize(("write", "lead"), [(write_tree, 1), (write_herd, 3)])
def test_h5_says_the_same_as_csv(write, lead: int, tmp_path: Path) -> None:
    tree = write(tmp_path / "original")
    source = SourceFolder(tree.root)
    for name in [name for name in tree.annotations if name.endswith(".csv")]:
        path = tree.root / name
        write_h5(path.with_suffix(".h5"), list(csv.reader(path.read_text().splitlines())), lead)
        expected, found = read_labels(source, name), read_labels(source, name.replace(".csv", ".h5"))
        assert found.columns == expected.columns
        assert found.rows == expected.rows
        path.unlink()
    done = import_set("deeplabcut", tree.root, tmp_path / "out", name="mine")
    assert set(records_of(done.prepared.folder)) == set(tree.truth)
    assert done.prepared.skipped == {}


def damaged(path: Path, how: str) -> None:
    if how == "cut":
        path.write_bytes(path.read_bytes()[:700])
        return
    with h5py.File(path, "r+") as file:
        group = file["df_with_missing"]
        if how == "codes":
            group["block0_items_label1"][...] = 77
        elif how == "objects":
            del group["axis1"]
            group.create_dataset("axis1", data=["a", "b", "c"], dtype=h5py.string_dtype())
        elif how == "table":
            for key in list(group):
                del group[key]
            group["table"] = np.zeros(2, dtype=[("index", "S9"), ("values_block_0", "<f8", (4,))])
        elif how == "short":
            del group["axis1"]
            group["axis1"] = np.array([b"a.png"])
        elif how == "huge":
            values = group["block0_values"][...]
            values[0, 0] = 1e300
            group["block0_values"][...] = values


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("cut", "cannot be read as h5"),
        ("codes", "codes that stand for no name"),
        ("objects", "would have to be unpickled"),
        ("table", "without running code"),
        ("short", "more or fewer numbers"),
        ("huge", ""),
    ],
)
def test_h5_that_is_damaged_or_needs_pickles_is_refused(tmp_path: Path, how: str, reason: str) -> None:
    tree = write_tree(tmp_path / "original")
    path = (tree.root / CSV).with_suffix(".h5")
    write_h5(path, list(csv.reader((tree.root / CSV).read_text().splitlines())), 1)
    damaged(path, how)
    if how == "huge":
        done = import_set("deeplabcut", path, tmp_path / "out", name="mine")
        entries = read_report(done.prepared.folder / "report.json")
        assert any("no pixel can have" in entry["reason"] for entry in entries)
        return
    with pytest.raises(DataError, match=reason) as refusal:
        import_set("deeplabcut", path, tmp_path / "out", name="mine")
    assert "Use the csv of the same name" in str(refusal.value)


def test_h5_of_pandas_itself(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas and PyTables to write the file as DeepLabCut does")
    pytest.importorskip("tables", reason="needs PyTables to write the file as DeepLabCut does")
    tree = write_tree(tmp_path / "original")
    lines = list(csv.reader((tree.root / CSV).read_text().splitlines()))
    columns = pandas.MultiIndex.from_arrays([line[1:] for line in lines[:3]], names=["scorer", "bodyparts", "coords"])
    values = [[float(cell) if cell else np.nan for cell in line[1:]] for line in lines[3:]]
    frame = pandas.DataFrame(values, columns=columns, index=[line[0] for line in lines[3:]])
    path = (tree.root / CSV).with_suffix(".h5")
    frame.to_hdf(path, key="df_with_missing", mode="w")
    source = SourceFolder(tree.root)
    assert read_labels(source, CSV.replace(".csv", ".h5")) == read_labels(source, CSV)


def test_the_real_single_animal_sample(tmp_path: Path) -> None:
    sample = shared("format_samples/deeplabcut")
    done = import_set("deeplabcut", sample, tmp_path, name="mine", category="mouse", skeleton="mouse_openfield")
    records = records_of(done.prepared.folder)
    mouse = records["labeled-data/m4s1/img0000.png"].instances[0]
    assert mouse.category.skeleton == "mouse_openfield"
    assert mouse.point(load_skeleton("mouse_openfield").point("snout").name) == (21.521, 265.428, 2)
    with open(sample / "labeled-data/m4s1/CollectedData_Pranav.csv") as file:
        rows = len(file.readlines()) - 3
    pictures = list(sample.glob("labeled-data/m4s1/*.png"))
    assert len(records) == len(pictures)
    assert rows == len(pictures) + len(read_report(done.prepared.folder / "report.json"))


def test_the_real_multi_animal_sample(tmp_path: Path) -> None:
    sample = shared("format_samples/deeplabcut_multianimal")
    table = read_labels(SourceFolder(sample), "labeled-data/montblanc/CollectedData_Daniel.csv")
    assert len({column.individual for column in table.columns}) == 8
    assert len(table.columns) == 8 * 4 * 2
    assert not any(row.fault for row in table.rows)
    root = tmp_path / "original"
    link(
        sample / "labeled-data/montblanc/CollectedData_Daniel.csv",
        root / "labeled-data/montblanc/CollectedData_Daniel.csv",
    )
    for row in table.rows:
        draw(root / row.picture, (1920, 1080), [])
    done = import_set("deeplabcut", root, tmp_path / "out", name="mine", category="bird")
    counts = done.prepared.counts["all"]
    labelled = sum(
        row.cells[start : start + 8].count(None) < 8 for row in table.rows for start in range(0, len(row.cells), 8)
    )
    lost = done.prepared.skipped.get("all", {}).get("object", 0)
    assert counts.images == len(table.rows)
    assert counts.instances + lost == labelled
    single = sum(
        row.cells[start : start + 8].count(None) == 6 for row in table.rows for start in range(0, len(row.cells), 8)
    )
    assert lost == single, "only objects with a single point have no box to be made"
