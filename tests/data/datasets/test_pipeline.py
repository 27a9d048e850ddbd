"""The pipeline: missing files, interruptions, verification, nothing written to the source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest
from tests.data.trees import Tree, Truth, draw, records_of, snapshot, write_text

from xpose.data.collection.manifest import pictures_root, read_manifest, verify
from xpose.data.datasets import pipeline
from xpose.data.datasets.converters.base import Converter, NameTable, Need, PictureEntry
from xpose.data.datasets.pipeline import prepare
from xpose.data.datasets.report import read_report
from xpose.data.datasets.sources import SourceFolder
from xpose.errors import DataError
from xpose.records import Instance, Record


class Dots(Converter):
    """A set as small as can be: `SPLIT.txt` lists pictures with one nose each."""

    name = "dots"
    title = "Dots"
    licence = "CC0"
    status = "seen"
    left_right = "none"
    splits: ClassVar = {"train": "train.txt", "val": "val.txt"}
    needs = (Need("train.txt", "draw it", ("train",)), Need("val.txt", "draw it too", ("val",)))
    tables: ClassVar = {"": NameTable("person", {"dot": "nose"})}

    def __init__(self) -> None:
        self.converted: list[str] = []
        self.stop_at: str | None = None

    def entries(self, source: SourceFolder, split: str):
        return [PictureEntry(line.split(",")[0], line) for line in source.lines(f"{split}.txt")]

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        if entry.name == self.stop_at:
            raise KeyboardInterrupt
        self.converted.append(entry.name)
        table = self.tables[""]
        points = table.unify({"dot": (float(entry.data.split(",")[1]), 5.0, 2)})
        return self.make(source.picture(entry.name), [Instance(table.category("dot"), (0, 0, 9, 9), points)], split)


def write_tree(root: Path, count: int = 10) -> Tree:
    truth = {}
    for number in range(count):
        points = {"nose": (4.0 + number % 3, 5.0)}
        draw(root / f"{number}.png", (20, 20), [points])
        truth[f"{number}.png"] = Truth([points], "train")
    write_text(root / "train.txt", "".join(f"{name},{t.objects[0]['nose'][0]}\n" for name, t in truth.items()))
    return Tree(root, truth, ["train.txt"])


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "CHUNK", 3)


def test_missing_files_are_named_with_where_to_get_them(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with pytest.raises(DataError, match=r"(?s)train.txt   \(get it: draw it\).*val.txt   \(get it: draw it too\)"):
        prepare(Dots(), tmp_path / "root", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_splits_that_are_there_are_made_and_the_others_listed(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "root")
    done = prepare(Dots(), tree.root, tmp_path / "out")
    assert [need.path for need in done.missing["val"]] == ["val.txt"]
    assert read_manifest(done.folder)["missing_splits"] == {"val": ["val.txt"]}
    with pytest.raises(DataError, match=r"val.txt"):
        prepare(Dots(), tree.root, tmp_path / "out", splits=["val"])
    with pytest.raises(DataError, match=r'no split "test".*train'):
        prepare(Dots(), tree.root, tmp_path / "out", splits=["test"])


def test_a_later_split_joins_the_earlier_one(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "root")
    write_text(tree.root / "train.txt", (tree.root / "train.txt").read_text() + "gone.png,3\n")
    prepare(Dots(), tree.root, tmp_path / "out")
    write_text(tree.root / "val.txt", "0.png,4\n")
    done = prepare(Dots(), tree.root, tmp_path / "out", splits=["val"])
    manifest = read_manifest(done.folder)
    assert set(manifest["splits"]) == {"train", "val"}
    assert manifest["missing_splits"] == {}
    assert set(manifest["originals"]) == {"train.txt", "val.txt"}
    assert [entry["file"] for entry in read_report(done.folder / "report.json")] == ["gone.png"]
    both = prepare(Dots(), tree.root, tmp_path / "both")
    for name in ("manifest.json", "report.json", "train.json", "val.json"):
        assert (both.folder / name).read_bytes() == (done.folder / name).read_bytes()


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "root")
    whole = prepare(Dots(), tree.root, tmp_path / "whole")
    first = Dots()
    first.stop_at = "7.png"
    with pytest.raises(KeyboardInterrupt):
        prepare(first, tree.root, tmp_path / "out")
    assert not (tmp_path / "out/dots/manifest.json").exists()
    second = Dots()
    steps: list[tuple[str, int, int]] = []
    done = prepare(second, tree.root, tmp_path / "out", progress=lambda *step: steps.append(step))
    assert second.converted == ["6.png", "7.png", "8.png", "9.png"], "the chunk that was cut, and those behind it"
    assert steps == [("train", 3, 10), ("train", 6, 10), ("train", 9, 10), ("train", 10, 10)]
    assert (done.folder / "train.json").read_bytes() == (whole.folder / "train.json").read_bytes()
    assert sorted(path.name for path in done.folder.iterdir()) == [
        "location.json",
        "manifest.json",
        "report.json",
        "train.json",
    ]


@pytest.mark.parametrize("change", ["entry", "version", "picture was missing", "fresh", "shorter", "journal damaged"])
def test_what_changed_since_the_interruption_is_converted_again(tmp_path: Path, change: str) -> None:
    tree = write_tree(tmp_path / "root")
    text = (tree.root / "train.txt").read_text()
    picture = (tree.root / "1.png").read_bytes()
    if change == "picture was missing":
        (tree.root / "1.png").unlink()
    first, second = Dots(), Dots()
    first.stop_at = "7.png"
    with pytest.raises(KeyboardInterrupt):
        prepare(first, tree.root, tmp_path / "out")
    if change == "entry":
        write_text(tree.root / "train.txt", text.replace("4.png,5.0", "4.png,6.5"))
    if change == "version":
        second.version = 2  # type: ignore[misc]
    if change == "picture was missing":
        (tree.root / "1.png").write_bytes(picture)
    if change == "shorter":
        write_text(tree.root / "train.txt", "\n".join(text.splitlines()[:2]))
    if change == "journal damaged":
        (tmp_path / "out/dots/.work/train/journal.json").write_text("{")
    done = prepare(second, tree.root, tmp_path / "out", fresh=change == "fresh")
    again = {
        "entry": range(3, 10),
        "version": range(10),
        "picture was missing": [0, 1, 2, 6, 7, 8, 9],
        "fresh": range(10),
        "shorter": range(2),
        "journal damaged": range(10),
    }[change]
    if change == "entry":
        again = [3, 4, 5, 6, 7, 8, 9]
        assert records_of(done.folder)["4.png"].instances[0].point("nose") == (6.5, 5, 2)
    assert second.converted == [f"{number}.png" for number in again]
    assert done.counts["train"].images == (2 if change == "shorter" else 10)


def test_nothing_is_written_into_the_source(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "root")
    before = snapshot(tree.root)
    for out in (tree.root, tree.root / "sub", tree.root.parent / "root" / ".." / "root"):
        with pytest.raises(DataError, match=r"nothing is ever written"):
            prepare(Dots(), tree.root, out)
    link = tmp_path / "link"
    link.symlink_to(tree.root)
    with pytest.raises(DataError, match=r"nothing is ever written"):
        prepare(Dots(), tree.root, link)
    assert snapshot(tree.root) == before


def test_a_picture_listed_twice_counts_once_and_is_reported(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "root")
    write_text(tree.root / "train.txt", (tree.root / "train.txt").read_text() + "2.png,8\n")
    done = prepare(Dots(), tree.root, tmp_path / "out")
    assert done.counts["train"].images == 10
    (entry,) = read_report(done.folder / "report.json")
    assert entry["file"] == "2.png"
    assert "twice" in entry["reason"]


def test_an_original_without_entries_makes_an_empty_set(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_text(tmp_path / "original" / f"{split}.txt", "")
    done = prepare(Dots(), tmp_path / "original", tmp_path / "out")
    assert [counts.images for counts in done.counts.values()] == [0, 0]
    assert records_of(done.folder) == {}


def test_the_manifest_holds_what_it_takes_to_check_and_to_cite(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "root")
    done = prepare(Dots(), tree.root, tmp_path / "out")
    manifest = read_manifest(done.folder)
    assert manifest["licence"] == "CC0"
    assert manifest["splits"]["train"]["counts"]["images"] == 10
    assert manifest["originals"]["train.txt"]["bytes"] == len((tree.root / "train.txt").read_bytes())
    assert str(tmp_path) not in json.dumps(manifest), "no folder of this machine"
    assert pictures_root(done.folder) == tree.root.resolve()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "train.json").unlink(), "train.json is missing"),
        (lambda folder: _edit(folder / "train.json", '"width":20', '"width":21'), "checksum"),
        (lambda folder: _edit(folder / "manifest.json", '"images": 10', '"images": 11'), "holds 10 images, .* says 11"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "is damaged"),
        (lambda folder: (folder / "manifest.json").unlink(), "holds no manifest.json"),
    ],
)
def test_verification_notices(tmp_path: Path, damage, message: str) -> None:
    done = prepare(Dots(), write_tree(tmp_path / "root").root, tmp_path / "out")
    assert verify(done.folder)["train"].images == 10
    damage(done.folder)
    with pytest.raises(DataError, match=message):
        verify(done.folder)


def _edit(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))
