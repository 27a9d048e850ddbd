"""YOLO-pose sets: two and three numbers per point, names and mirror partners by number, paths of other machines."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from PIL import Image
from tests.data.imports import check_imported, fuzz_import
from tests.data.trees import Tree, Truth, draw, link, records_of, shared, spread, write_text

from xpose.data.datasets.importers import import_set, imported_skeletons
from xpose.data.datasets.report import read_report
from xpose.errors import DataError

pytest.importorskip("yaml", reason="needs pyyaml, which the extra `data` brings")

NAMES = ("tip", "left fin", "right fin", "tail")
SIZE = (120, 80)
YAML = """
path: /home/somebody/datasets/fish
train: images/train
val: images/val
kpt_shape: [4, 3]
flip_idx: [0, 2, 1, 3]
names:
  0: fish
  3: eel
kpt_names:
  0: [tip, left_fin, right_fin, tail]
  3: [tip, left_fin, right_fin, tail]
"""


def line_of(points: dict, number: int = 0, dims: int = 3, visible: str = "2") -> str:
    xs, ys = [x for x, _ in points.values()], [y for _, y in points.values()]
    box = [(min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs) + 8, max(ys) - min(ys) + 8]
    cells = [str(number), *(f"{value / side:.9f}" for value, side in zip(box, SIZE * 2, strict=True))]
    for name in NAMES:
        x, y = points.get(name, (0, 0))
        cells += [
            f"{x / SIZE[0]:.9f}",
            f"{y / SIZE[1]:.9f}",
            *([visible if name in points else "0"] if dims == 3 else []),
        ]
    return " ".join(cells)


def write_tree(root: Path, dims: int = 3) -> Tree:
    truth, labels = {}, []
    for split, first in (("train", 1), ("val", 4)):
        for number in range(first, first + 2):
            objects = [spread(NAMES, 15, 15, row=2), spread(NAMES[:3], 70, 40, row=2)][: number - first + 1]
            truth[f"images/{split}/{number}.png"] = Truth(objects, split)
            draw(root / f"images/{split}/{number}.png", SIZE, objects)
            labels.append(f"labels/{split}/{number}.txt")
            write_text(root / labels[-1], "\n".join(line_of(points, 0, dims) for points in objects) + "\n")
    write_text(root / "data.yaml", YAML if dims == 3 else YAML.replace("[4, 3]", "[4, 2]"))
    return Tree(root, truth, ["data.yaml", *labels])


test_fuzz = fuzz_import("yolo-pose", write_tree, "")


@pytest.mark.parametrize("dims", [2, 3])
def test_imported(dims: int, tmp_path: Path) -> None:
    done = check_imported("yolo-pose", write_tree(tmp_path / "original", dims), "data.yaml", tmp_path)
    fish = records_of(done.prepared.folder)["images/train/2.png"].instances[1]
    assert fish.category.name == "fish"
    assert fish.point("tail") == (0, 0, 0), "0 0 is no point"
    skeletons = imported_skeletons(done.prepared.folder)
    assert set(skeletons) == {"fish of mine", "eel of mine"}
    assert skeletons["fish of mine"].flips["left fin"] == "right fin"
    assert skeletons["fish of mine"].flips["tip"] == "tip"


def test_mirror_partners_come_by_number(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    write_text(tree.root / "data.yaml", YAML[: YAML.index("kpt_names")])
    done = import_set("yolo-pose", tree.root, tmp_path / "out", name="mine")
    skeleton = imported_skeletons(done.prepared.folder)["fish of mine"]
    assert skeleton.keypoints == ("point 1", "point 2", "point 3", "point 4")
    assert dict(skeleton.flips) == {
        "point 1": "point 1",
        "point 2": "point 3",
        "point 3": "point 2",
        "point 4": "point 4",
    }


def test_hidden_points_stay_hidden(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    write_text(tree.root / "labels/train/1.txt", line_of(spread(NAMES, 15, 15, row=2), visible="1.000"))
    done = import_set("yolo-pose", tree.root, tmp_path / "out", name="mine")
    (fish,) = records_of(done.prepared.folder)["images/train/1.png"].instances
    assert {v for *_, v in fish.keypoints.values()} == {1}


def test_roboflows_paths_and_lists_are_found(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    text = YAML.replace("path: /home/somebody/datasets/fish\n", "").replace(
        "train: images/train", "train: ../images/train"
    )
    write_text(tree.root / "data.yaml", text.replace("val: images/val", "val: val.txt"))
    write_text(tree.root / "val.txt", "./images/val/4.png\n/elsewhere/images/val/5.png\n")
    done = import_set("yolo-pose", tree.root, tmp_path / "out", name="mine")
    assert set(records_of(done.prepared.folder)) == set(tree.truth)


def test_what_has_no_counterpart_is_reported(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    (tree.root / "labels/train/1.txt").unlink()
    (tree.root / "labels/val/4.txt").write_text("")
    (tree.root / "images/val/5.png").unlink()
    done = import_set("yolo-pose", tree.root, tmp_path / "out", name="mine")
    reasons = {entry["file"]: entry["reason"] for entry in read_report(done.prepared.folder / "report.json")}
    assert reasons.keys() == {"images/train/1.png", "labels/val/4.txt", "labels/val/5.txt"}
    assert "no label file" in reasons["images/train/1.png"]
    assert records_of(done.prepared.folder)["images/val/4.png"].instances == ()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 0.5 0.5 0.2", "must have 17"),
        ("9 0.5 0.5 0.2 0.2" + " 0.5 0.5 2" * 4, "9 is not a class"),
        ("0 0.5 0.5 0.2 0.2" + " 0.5 0.5 0.9" * 4, "the visibility is 0.9"),
        ("0 0.5 0.5 0.2 0.2" + " 0.5 nan 2" * 4, "not a finite number"),
    ],
)
def test_a_bad_line_is_reported_and_the_others_stay(tmp_path: Path, line: str, reason: str) -> None:
    tree = write_tree(tmp_path / "original")
    path = tree.root / "labels/train/2.txt"
    path.write_text(line + "\n" + path.read_text())
    done = import_set("yolo-pose", tree.root, tmp_path / "out", name="mine")
    (entry,) = read_report(done.prepared.folder / "report.json")
    assert reason in entry["reason"]
    assert "line 1" in entry["reason"]
    assert len(records_of(done.prepared.folder)["images/train/2.png"].instances) == 2


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("[4, 3]", "[4, 5]", "kpt_shape"),
        ("[4, 3]", "4", "kpt_shape"),
        ("[0, 2, 1, 3]", "[0, 2, 3, 1]", "partners go both ways"),
        ("  3: eel", "  3: fish", "holds a class twice"),
        ("train: images/train", "train: images/trains", "is not there under"),
        ("val: images/val", "val: {}", "is not a folder of pictures|holds"),
        ("path: /home", "path: !!python/object/apply:os.system [ls] #", "is not plain yaml"),
        ("path: /home", "path: [" + "*a, " * 30 + "1] # &a", "no plain yaml|references"),
        ("[tip, left_fin, right_fin, tail]", "[tip, tip, tip, tip]", "holds a name twice"),
        ("[tip, left_fin, right_fin, tail]", "[tip]", "list of 4 texts"),
    ],
)
def test_a_wrong_yaml_is_refused(tmp_path: Path, old: str, new: str, reason: str) -> None:
    tree = write_tree(tmp_path / "original")
    write_text(tree.root / "data.yaml", YAML.replace(old, new))
    if new == "val: {}":
        done = import_set("yolo-pose", tree.root, tmp_path / "out", name="mine")
        assert set(done.prepared.counts) == {"train"}, "an empty entry is no split"
        return
    with pytest.raises(DataError, match=reason):
        import_set("yolo-pose", tree.root, tmp_path / "out", name="mine")


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_refused_at_once(tmp_path: Path, opening: str) -> None:
    write_text(tmp_path / "data.yaml", opening * 100_000)
    begin = time.process_time()
    with pytest.raises(DataError, match="nested more than 100 levels deep"):
        import_set("yolo-pose", tmp_path, tmp_path / "out", name="mine")
    assert time.process_time() - begin < 10, "the time must not grow with the square of the depth"


def test_yaml_references_do_not_unfold(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    levels = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 30))
    write_text(tree.root / "data.yaml", f"l0: &l0 [x]\n{levels}\nnames: *l29\n")
    with pytest.raises(DataError, match="references"):
        import_set("yolo-pose", tree.root, tmp_path / "out", name="mine")


def test_pictures_that_viewers_turn_are_refused(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    path = tree.root / "images/train/1.png"
    image = Image.open(path)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    done = import_set("yolo-pose", tree.root, tmp_path / "out", name="mine")
    (entry,) = read_report(done.prepared.folder / "report.json")
    assert entry["file"] == "images/train/1.png"
    assert "EXIF orientation 6" in entry["reason"]


def test_the_real_labels_of_coco_persons(tmp_path: Path) -> None:
    sample, people = shared("format_samples/coco_yolo_pose"), shared("coco_person")
    root = tmp_path / "original"
    labels = sorted(sample.glob("labels/train2017/*.txt"))
    pictures = {path.stem: path for path in people.glob("images/*") if path.stem in {label.stem for label in labels}}
    if not pictures:
        pytest.skip("the sample's pictures are not in ../shared/data/coco_person")
    for label in labels:
        if label.stem in pictures:
            link(label, root / "labels/train2017" / label.name)
            link(pictures[label.stem], root / "images/train2017" / pictures[label.stem].name)
    write_text(root / "data.yaml", "train: images/train2017\nkpt_shape: [17, 3]\nnames: [person]\n")
    done = import_set("yolo-pose", root, tmp_path / "out", name="mine", skeleton="person")
    records = records_of(done.prepared.folder)
    assert len(records) == len(pictures)
    for name, record in records.items():
        lines = (root / "labels/train2017" / f"{Path(name).stem}.txt").read_text().splitlines()
        assert len(record.instances) == len(lines)
        for instance, line in zip(record.instances, lines, strict=True):
            assert instance.category.skeleton == "person"
            cells = [float(cell) for cell in line.split()]
            x, y, v = cells[5:8]
            if v:
                assert instance.point("nose") == pytest.approx(
                    (x * record.picture.width, y * record.picture.height, v), abs=0.001
                )


def test_the_real_labels_of_cars(tmp_path: Path) -> None:
    sample = shared("format_samples/carfusion")
    root = tmp_path / "original"
    for label in sample.glob("labels/*.txt"):
        link(label, root / "labels" / label.name)
        link(sample / "images" / f"{label.stem}.jpg", root / "images" / f"{label.stem}.jpg")
    write_text(root / "data.yaml", "train: images\nkpt_shape: [14, 3]\nnames: [car]\n")
    done = import_set("yolo-pose", root, tmp_path / "out", name="mine", skeleton="car")
    counts = done.prepared.counts["train"]
    lines = sum(len(label.read_text().splitlines()) for label in sample.glob("labels/*.txt"))
    assert counts.images == len(list(sample.glob("labels/*.txt")))
    assert counts.instances == lines
