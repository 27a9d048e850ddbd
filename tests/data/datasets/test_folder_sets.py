"""Folders of COCO sets as they are: a miniature of our own, and the real collection where it is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.trees import SHARED, draw, spread, write_json

from xpose.data.datasets.folder_sets import folder_sets, read_folder_sets, skeleton_for
from xpose.data.datasets.pipeline import prepare
from xpose.data.loading.loader import Absences
from xpose.data.loading.pool import open_pool
from xpose.errors import DataError
from xpose.records import Record, Skipped
from xpose.vocabulary import load_skeleton

# Field names of the files -> unified names.
TUBE = {"head": "cap", "tail": "crimped end"}
BIRD = {"head": "head", "tail": "tail", "leftwing": "left wing tip", "rightwing": "right wing tip"}
PERSON = {name.replace(" ", "_"): name for name in load_skeleton("person").keypoints}


def write_set(folder: Path, category: str, fields: list[str], pictures: dict[str, list[str]], **image: str) -> dict:
    """One set; every picture has one object whose points are dots. Picture -> points by field name."""
    truth = {}
    (folder / "images").mkdir(parents=True)
    for split, names in pictures.items():
        images, annotations = [], []
        for number, name in enumerate(names, start=1):
            points = spread(fields, 12, 14)
            truth[name] = points
            draw(folder / "images" / name, (80, 70), [points])
            images.append({"id": number, "file_name": name, "width": 80, "height": 70, **image})
            flat = [value for x, y in points.values() for value in (x, y, 2)]
            annotations.append(
                {"id": number, "image_id": number, "category_id": 1, "bbox": [5, 5, 60, 60], "area": 3600, "iscrowd": 0}
                | {"keypoints": flat, "num_keypoints": len(fields)}
            )
        content = {"images": images, "annotations": annotations, "info": {"licence": "as told inside"}}
        write_json(
            folder / f"{split}.json", content | {"categories": [{"id": 1, "name": category, "keypoints": fields}]}
        )
    return truth


def write_tree(root: Path) -> None:
    write_set(root / "tubes", "glue tube", list(TUBE), {"train": ["a.png", "b.png"], "val": ["c.png"]})
    write_set(root / "people", "person", list(PERSON), {"train": ["p.png"]}, clip="walk 1")
    (root / "format_samples").mkdir()
    write_json(
        root / "index.json", [{"name": "tubes", "licence": "MIT", "redistributable": "yes", "full_name": "Tubes"}]
    )


def test_a_small_tree(tmp_path: Path) -> None:
    write_tree(tmp_path)
    sets = {one.name: one for one in folder_sets(tmp_path)}
    assert list(sets) == ["people", "tubes"]
    assert (sets["tubes"].title, sets["tubes"].licence) == ("Tubes", "MIT")
    assert sets["people"].licence == "as told inside", "what the index lacks the file tells"
    records = list(read_folder_sets(tmp_path, "train"))
    assert [(record.source, record.picture.file) for record in records] == [
        ("people", "images/p.png"),
        ("tubes", "images/a.png"),
        ("tubes", "images/b.png"),
    ]
    assert records[0].group == "walk 1"
    assert records[0].left_right == "anatomical"
    (tube,) = records[1].instances
    assert tube.category.skeleton == "glue_tube"
    places = spread(list(TUBE), 12, 14)
    assert tube.keypoints == {TUBE[field]: (*map(float, place), 2) for field, place in places.items()}
    assert len(list(read_folder_sets(tmp_path, "val"))) == 1


def test_a_set_can_be_prepared_like_any_other(tmp_path: Path) -> None:
    write_tree(tmp_path / "root")
    (tmp_path / "root/tubes/images/b.png").unlink()
    (_, tubes) = folder_sets(tmp_path / "root")
    done = prepare(tubes, tubes.root, tmp_path / "out")
    assert done.counts["train"].images == 1
    assert done.skipped["train"] == {"picture": 1}


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    write_tree(tmp_path)
    (tmp_path / "tubes/images/b.png").write_bytes(b"no picture")
    told: list[tuple[str, Skipped]] = []
    records = list(read_folder_sets(tmp_path, "train", skipped=lambda name, item: told.append((name, item))))
    assert len(records) == 2
    assert [(name, item.file) for name, item in told] == [("tubes", "images/b.png")]


def categories_of(root: Path, categories: list[dict], annotations: list[dict] = [], split: str = "train") -> None:  # noqa: B006
    """One set with one picture."""
    draw(root / "images" / f"{split}.png", (80, 70), [spread(["a", "b"], 12, 14)])
    rows = [{"id": i, "image_id": 1, "bbox": [5, 5, 60, 50], **one} for i, one in enumerate(annotations, start=1)]
    image = {"id": 1, "file_name": f"{split}.png", "width": 80, "height": 70}
    write_json(root / f"{split}.json", {"images": [image], "annotations": rows, "categories": categories})


def test_points_that_no_skeleton_knows_have_one_of_the_sets_own(tmp_path: Path) -> None:
    fields = ["left_wing_lamp", "right_wing_lamp", "rotor", "left_door"]
    pairs = [[1, 3], [2, 3], [3, 3], [0, 1], [1, 5], "x", [1, 3]]
    row = {"category_id": 1, "keypoints": [10, 10, 2, 20, 10, 1, 0, 0, 0, 30, 30, 2]}
    own = {"id": 1, "name": "helicopter", "keypoints": fields, "skeleton": pairs}
    categories_of(tmp_path / "air", [own], [row])
    categories_of(tmp_path / "sky", [own], [row])
    pool = open_pool([tmp_path])
    (kind, other) = pool.kinds
    assert kind.names == ("left wing lamp", "right wing lamp", "rotor", "left door")
    assert kind.mirrored[:3] == ("right wing lamp", "left wing lamp", "rotor")
    assert kind.edges == (("left wing lamp", "rotor"), ("right wing lamp", "rotor")), "what is no pair is left out"
    assert (kind.skeleton, other.skeleton) == ("helicopter of air", "helicopter of sky")
    assert pool.labels(0).keypoints(0) == {
        "left wing lamp": (10.5, 10.5, 2),
        "right wing lamp": (20.5, 10.5, 1),
        "left door": (30.5, 30.5, 2),
    }


def test_what_the_categorys_skeleton_calls_otherwise_takes_its_name(tmp_path: Path) -> None:
    fields = ["leftback_paw", "left_back_paw", "belly button"]
    (tmp_path / "dogs").mkdir()
    categories_of(tmp_path / "dogs", [{"id": 1, "name": "dog", "keypoints": ["tailbase", "nose", "belly_button"]}])
    (dogs,) = folder_sets(tmp_path)
    animal = load_skeleton("animal")
    (table,) = dogs.tables.values()
    assert table.unified[:2] == tuple(animal.point(name).name for name in ("tail base", "nose"))
    assert table.unified[2] == "belly button"
    categories_of(tmp_path / "dogs", [{"id": 1, "name": "dog", "keypoints": fields}])
    assert set(folder_sets(tmp_path)[0].tables["dog"].unified) == {"leftback paw", "left back paw", "belly button"}, (
        "two that are one point there keep their names"
    )


@pytest.mark.parametrize("known", [True, False])
def test_a_category_without_keypoints_is_only_boxed(tmp_path: Path, known: bool) -> None:
    name = "person" if known else "traffic light"
    for keypoints in ({}, {"keypoints": []}, {"keypoints": None}):
        for row in ({}, {"keypoints": []}, {"num_keypoints": 0, "keypoints": None}):
            categories_of(tmp_path / "street", [{"id": 7, "name": name, **keypoints}], [{"category_id": 7, **row}])
            pool = open_pool([tmp_path])
            (kind,) = pool.kinds
            assert (kind.category, kind.names, kind.mirrored, kind.edges) == (name, (), (), ())
            assert kind.skeleton == name
            labels = pool.labels(0)
            assert labels.boxes.tolist() == [[5, 5, 65, 55]]
            assert labels.points.shape == (1, 0, 3)
            assert not labels.crowd.any()
            assert kind.mirror == (kind, ())


def test_an_object_without_labelled_points_is_an_object(tmp_path: Path) -> None:
    zeros = {"category_id": 1, "keypoints": [0, 0, 0] * len(TUBE), "num_keypoints": 0}
    empty = {"category_id": 1, "keypoints": [], "num_keypoints": 0}
    categories_of(tmp_path / "tubes", [{"id": 1, "name": "glue tube", "keypoints": list(TUBE)}], [zeros, empty])
    labels = open_pool([tmp_path]).labels(0)
    assert len(labels.real()) == 2
    assert not labels.points.any()


@pytest.mark.parametrize("key", ["iscrowd", "ignore"])
def test_regions_count_neither_for_nor_against(tmp_path: Path, key: str) -> None:
    listed = [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "cat"}]
    rows = [{"category_id": 1, key: 1}, {"category_id": 2, key: 0}]
    categories_of(tmp_path / "street", listed, [*rows, {"category_id": 3}])
    (tmp_path / "labelling.toml").write_text("[street]\nclosed = true\n")
    pool = open_pool([tmp_path])
    assert pool.labels(0).crowd.tolist() == [True, False, False]
    absences = Absences(pool)
    assert absences.absent(0, ["person", "glue tube"]) == ["glue tube"], "a region of persons may show one"
    assert absences.absent(0, ["person"], present=()) == []


def test_sets_without_one_of_the_splits_are_fine(tmp_path: Path) -> None:
    categories_of(tmp_path / "one", [{"id": 1, "name": "a lamp"}], [{"category_id": 1}], "train")
    categories_of(tmp_path / "two", [{"id": 1, "name": "a lamp"}], [{"category_id": 1}], "val")
    assert open_pool([tmp_path], "train").sets == ("one",)
    assert open_pool([tmp_path], "val").sets == ("two",)


def test_a_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    categories_of(tmp_path / "odd", [{"id": 1, "name": "lamp", "keypoints": ["foot", "foot"]}])
    with pytest.raises(DataError, match=r'"foot" more than once.*correct the file'):
        folder_sets(tmp_path)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    for names in (["foot"], ["foot", "shade"]):
        categories_of(tmp_path / "odd", [{"id": 1, "name": "lamp", "keypoints": names}])
        assert folder_sets(tmp_path)[0].tables["lamp"].unified == tuple(names)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "index.json").write_text('{"a": 1}'), "not a list of sets"),
        (lambda root: (root / "index.json").write_text("{"), "not JSON"),
        (lambda root: (root / "tubes/train.json").write_text("[]"), "not an object"),
        (lambda root: (root / "tubes/train.json").write_text('{"categories": [1]}'), "category number 1"),
        (lambda root: [path.unlink() for path in root.glob("*/*.json")], "holds no labelled pictures"),
        (lambda root: (root / "tubes/val.json").write_text("{"), r"tubes.val\.json\" is not JSON"),
    ],
)
def test_damaged_folders_get_a_message(tmp_path: Path, damage, message: str) -> None:
    write_tree(tmp_path)
    damage(tmp_path)
    with pytest.raises(DataError, match=message):
        folder_sets(tmp_path)


def test_a_sets_own_folder_and_one_without_pictures_get_a_way_out(tmp_path: Path) -> None:
    write_tree(tmp_path)
    for read in (folder_sets, lambda root: open_pool([root])):
        with pytest.raises(DataError, match="is a set itself") as told:
            read(tmp_path / "tubes")
        assert str(told.value).endswith(f'Give the folder above it: "{tmp_path}"')
    for name in ("tubes", "people"):
        (tmp_path / name / "images").rename(tmp_path / name / "pictures")
    for root in (tmp_path, tmp_path / "people"):
        with pytest.raises(DataError, match=r"has train\.json but no folder images/") as told:
            open_pool([root])
        assert f'"{tmp_path / "people/images"}"' in str(told.value)


def test_an_unknown_split(tmp_path: Path) -> None:
    write_tree(tmp_path)
    with pytest.raises(DataError, match=r'"trian".*Did you mean "train"'):
        next(read_folder_sets(tmp_path, "trian"))


@pytest.mark.parametrize(
    ("category", "fields", "skeleton"),
    [
        ("person", list(PERSON), "person"),
        ("glue tube", list(TUBE), "glue_tube"),
        ("dog", ["left_eye", "right_eye", "nose"], "animal"),
        ("unheard of", list(PERSON), "person"),
    ],
)
def test_the_skeleton_that_knows_all_points_is_found(category: str, fields: list[str], skeleton: str) -> None:
    assert skeleton_for(category, fields).name == skeleton


def shared_index() -> list[dict]:
    file = SHARED / "index.json"
    if not file.is_file():
        pytest.skip("needs the data collection in ../shared/data beside the project, which is not there")
    return json.loads(file.read_text(encoding="utf-8"))


def test_the_real_collection_loads_as_it_is() -> None:
    index = {entry["name"]: entry for entry in shared_index()}
    skipped: list[Skipped] = []
    own = {name: one for each in folder_sets(SHARED) for name, one in each.skeletons.items()}
    found: dict[str, dict[str, int]] = {name: {"train": 0, "val": 0, "instances": 0} for name in index}
    for split in ("train", "val"):
        for record in read_folder_sets(SHARED, split, skipped=lambda _, item: skipped.append(item)):
            assert isinstance(record, Record)
            assert record.licence == index[record.source]["licence"]
            found[record.source][split] += 1
            found[record.source]["instances"] += len(record.instances)
            for instance in record.instances:
                skeleton = instance.category.skeleton
                assert set(instance.keypoints) <= set((own.get(skeleton) or load_skeleton(skeleton)).keypoints)
    assert found == {name: {key: entry[key] for key in ("train", "val", "instances")} for name, entry in index.items()}
    assert {item.what for item in skipped} <= {"point"}, "no picture and no object may get lost"


def test_the_skeletons_of_the_real_collection() -> None:
    expected = {
        "alpine_birds": {"alpine_bird"},
        "animal_pose": {"animal_pose"},
        "coco_people": {"person"},
        "cub_birds": {"cub_bird"},
        "dog_leash": {"dog of dog_leash"},
        "faces68": {"face"},
        "livestock": {"livestock"},
        "lspet": {"lspet_person"},
        "salmon": {"salmon"},
        "salmon_side": {"salmon_side"},
        "vinegar_fly": {"fly"},
    }
    shared_index()
    sets = {one.name: {table.skeleton for table in one.tables.values()} for one in folder_sets(SHARED)}
    assert {name: sets[name] for name in expected} == expected
