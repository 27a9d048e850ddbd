"""Prepared sets on disk: round trip, the same bytes, pycocotools, bounded memory, damage noticed."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from xpose.data.collection.store import CocoSet, Counts, dump, tidy, write_coco
from xpose.errors import DataError
from xpose.records import Category, Instance, Picture, Record, Taxonomy

CAT = Category("cat", "animal", ("nose", "left eye", "right eye"), (("nose", "left eye"),), Taxonomy(family="Felidae"))
CAR = Category("car", "car", ("left front wheel",))


def records(count: int = 7) -> Iterator[Record]:
    for number in range(count):
        instances = [
            Instance(
                CAT, (1.5, 2, 30.25, 40), {"nose": (5.125, 6, 2), "right eye": (9, 8.5, 1)}, source_id=f"a{number}"
            ),
            Instance(CAR, (0, 0, 10, 10), {}, iscrowd=True, area=77.5),
        ][: number % 3]
        yield Record(
            Picture(f"pictures/ü \u2028 {number}.jpg", 64, 48, "prepared" if number == 3 else "source", sha256=None),
            tuple(instances),
            source="test",
            split="train",
            licence=("CC0", "not stated")[number % 2],
            left_right="anatomical",
            style="oil painting" if number == 1 else None,
            group="clip 1" if number == 2 else None,
            source_id=str(number),
        )


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    counts = write_coco(path, records, {"description": "x"})
    found = CocoSet(path)
    assert list(found) == list(records())
    assert list(found) == list(records()), "it can be read again"
    assert found.info["description"] == "x"
    assert set(found.categories.values()) == {CAT, CAR}
    expected = Counts(7, 4, 6, 4, 8, {"car": 2, "cat": 4})
    assert counts.to_json() == expected.to_json()


def test_nothing_is_a_set_too(tmp_path: Path) -> None:
    write_coco(tmp_path / "a.json", lambda: iter(()), {})
    assert list(CocoSet(tmp_path / "a.json")) == []
    assert json.loads((tmp_path / "a.json").read_text())["images"] == []


def test_same_records_same_bytes_and_nothing_else_left_behind(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_coco(tmp_path / name / "train.json", records, {"z": 1, "a": 2})
    assert (tmp_path / "a/train.json").read_bytes() == (tmp_path / "b/train.json").read_bytes()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["train.json"]


def test_it_is_coco(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    write_coco(tmp_path / "a.json", records, {})
    coco = COCO(tmp_path / "a.json")
    annotation = coco.loadAnns(coco.getAnnIds(imgIds=[2]))[0]
    category = coco.loadCats(annotation["category_id"])[0]
    assert category["name"] == "cat"
    assert category["skeleton"] == [[1, 2]], "1-based, as COCO's"
    assert annotation["keypoints"] == [5.125, 6, 2, 0, 0, 0, 9, 8.5, 1]
    assert annotation["num_keypoints"] == 2
    assert (annotation["area"], annotation["area_is_box"]) == (30.25 * 40, True)
    content = json.loads((tmp_path / "a.json").read_text())
    for kind in ("images", "annotations", "categories"):
        ids = [entry["id"] for entry in content[kind]]
        assert ids == list(range(1, len(ids) + 1)), "unique whole numbers"


def test_numbers() -> None:
    assert [tidy(value) for value in (1.00049, 2.0, -0.0001, 3.14159)] == [1, 2, 0, 3.142]
    with pytest.raises(ValueError, match=r"not JSON compliant"):
        dump(float("nan"))


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    write_coco(path, records, {})
    before = path.read_bytes()

    def breaking() -> Iterator[Record]:
        breaking.calls += 1
        yield from records(3)
        if breaking.calls == 2:
            raise KeyboardInterrupt

    breaking.calls = 0
    with pytest.raises(KeyboardInterrupt):
        write_coco(path, breaking, {})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["train.json"]


@pytest.mark.parametrize("share", [0, 0.1, 0.3, 0.5, 0.7, 0.95])
def test_damaged_files_are_noticed(tmp_path: Path, share: float) -> None:
    path = tmp_path / "train.json"
    write_coco(path, records, {})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"is damaged"):
        list(CocoSet(path))


@pytest.mark.parametrize("text", ["", "{}", '{"images": [], "annotations": [], "categories": []}', "[]\n"])
def test_foreign_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"not written by this version"):
        list(CocoSet(tmp_path / "a.json"))


def test_memory_does_not_grow_with_the_number_of_records(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        write_coco(tmp_path / f"{count}.json", lambda: records(count), {})
        for _ in CocoSet(tmp_path / f"{count}.json"):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(10)
    assert peak(3000) < 1.2 * peak(1500), "beyond the buffers of files nothing grows"
