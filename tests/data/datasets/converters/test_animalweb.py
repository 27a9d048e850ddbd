"""AnimalWeb: a drawn original, photos of two faces, species, and damage. No original was ever seen."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.data.fuzz import fuzz_test
from tests.data.trees import Tree, Truth, check_prepared, draw, records_of, spread, write_text

from xpose.data.datasets.converters.faces_and_hands import ANIMAL_FACE as FACE
from xpose.data.datasets.converters.faces_and_hands import ANIMALWEB as FOLDER
from xpose.data.datasets.pipeline import prepare
from xpose.data.datasets.report import read_report

SPECIES = {
    "arcticwolf": "arctic wolf face",
    "geoffroyscat": "Geoffroy's cat face",
    "ayeaye": "aye-aye face",
    "uc": "uc face",
}


def pts_text(points: dict[str, tuple[float, float]]) -> str:
    lines = [f"{x:.6f} {y:.6f}" for x, y in points.values()]
    return "\n".join(["version: 1", f"n_points: {len(points)}", "{", *lines, "}"]) + "\n"


def write_tree(root: Path) -> Tree:
    truth, files = {}, []
    for number, species in enumerate(SPECIES):
        points = spread(FACE.unified, 20 + number, 20, step=15)
        name = f"{FOLDER}/{species}_{number}.jpg"
        draw(root / name, (120, 90), [points])
        files.append(f"{FOLDER}/{species}_{number}.pts")
        write_text(root / files[-1], pts_text(points))
        truth[name] = Truth([points], "train")
    return Tree(root, truth, files[:2])


test_fuzz = fuzz_test("animalweb", write_tree)


def test_prepared(tmp_path: Path) -> None:
    done = check_prepared("animalweb", write_tree(tmp_path / "original"), tmp_path)
    records = records_of(done.folder)
    assert {name.split("/")[1].split("_")[0]: r.instances[0].category.name for name, r in records.items()} == SPECIES
    face = records[f"{FOLDER}/arcticwolf_0.jpg"].instances[0]
    assert face.box == pytest.approx((20 - 6, 20 - 1.5, 60 * 1.2, 15 * 1.2)), "the points' extent and a tenth"
    assert face.source_id == "arcticwolf_0"
    assert face.category.skeleton == "animal_face"


def two_faces(root: Path) -> tuple[Path, list[dict]]:
    """The same photo under two numbers, each with one face."""
    faces = [spread(FACE.unified, 12, 12), spread(FACE.unified, 65, 50)]
    first = root / FOLDER / "zebra_1.jpg"
    draw(first, (120, 90), faces)
    for number, points in enumerate(faces, start=1):
        write_text(root / FOLDER / f"zebra_{number}.pts", pts_text(points))
    shutil.copy(first, first.with_name("zebra_2.jpg"))
    return first, faces


def test_a_photo_that_lies_there_twice_is_one_record_of_two_faces(tmp_path: Path) -> None:
    root = tmp_path / "original"
    _, faces = two_faces(root)
    done = prepare("animalweb", root, tmp_path)
    records = records_of(done.folder)
    assert list(records) == [f"{FOLDER}/zebra_1.jpg"]
    found = [
        {name: (x, y) for name, (x, y, _) in instance.keypoints.items()}
        for instance in records[f"{FOLDER}/zebra_1.jpg"].instances
    ]
    assert found == faces
    (entry,) = read_report(done.folder / "report.json")
    assert entry["file"] == f"{FOLDER}/zebra_2.jpg"
    assert entry["reason"] == f"the same picture as {FOLDER}/zebra_1.jpg, whose record has this face too"


def test_of_two_faces_one_may_be_damaged(tmp_path: Path) -> None:
    root = tmp_path / "original"
    two_faces(root)
    write_text(root / FOLDER / "zebra_2.pts", "version: 1\nn_points: 9\n{\n1 2\n")
    done = prepare("animalweb", root, tmp_path)
    (record,) = records_of(done.folder).values()
    assert [instance.source_id for instance in record.instances] == ["zebra_1"]
    reasons = {entry["what"]: entry["reason"] for entry in read_report(done.folder / "report.json")}
    assert "zebra_2.pts" in reasons["object"]


def test_a_changed_file_of_a_second_face_is_read_again(tmp_path: Path) -> None:
    root = tmp_path / "original"
    two_faces(root)
    prepare("animalweb", root, tmp_path)
    moved = spread(FACE.unified, 60, 40)
    write_text(root / FOLDER / "zebra_2.pts", pts_text(moved))
    (record,) = records_of(prepare("animalweb", root, tmp_path).folder).values()
    assert record.instances[1].point("nose tip")[:2] == moved["nose tip"]


def test_pictures_and_points_without_their_partner_are_reported(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    (tree.root / FOLDER / "arcticwolf_0.pts").unlink()
    (tree.root / FOLDER / "uc_3.jpg").unlink()
    reasons = {
        e["file"]: e["reason"] for e in read_report(prepare("animalweb", tree.root, tmp_path).folder / "report.json")
    }
    assert reasons == {
        f"{FOLDER}/arcticwolf_0.jpg": "no annotation file belongs to it",
        f"{FOLDER}/uc_3.pts": "no picture belongs to it",
    }
