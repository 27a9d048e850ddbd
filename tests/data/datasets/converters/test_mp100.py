"""MP-100: a drawn original whose pictures lie gathered and in other originals, the real samples, and damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.coco_trees import coco_annotation
from tests.data.datasets.converters.test_carfusion import gt_text, write_sample
from tests.data.fuzz import fuzz_test
from tests.data.trees import Tree, Truth, check_prepared, draw, link, records_of, shared, spread, write_json, write_text

from xpose.data.datasets.converters.base import category_of
from xpose.data.datasets.converters.mp100 import BIRDS, FILES, MP100, TABLES, key_of
from xpose.data.datasets.pipeline import prepare
from xpose.data.datasets.report import read_report
from xpose.errors import DataError
from xpose.vocabulary import load_skeleton

TABLE = MP100.tables
SIZE = (160, 170)
CAR_GT = "originals/carfusion/train/car_fifth2/gt/6_00361.txt"

# split -> (category in the file, file_name there, where the picture lies, how many objects)
CONTENT = {
    "split1-train": [
        ("person", "human_body/train2017/000000000009.jpg", "images/human_body/train2017/000000000009.jpg", 2),
        ("antelope_body", "antelope_body/000000000001.jpg", "antelope_body/000000000001.jpg", 1),
        (
            "alpaca_face",
            "alpaca_face/alpaca_7.jpg",
            "originals/animalweb/animal_dataset_v1_clean_check/alpaca_7.jpg",
            1,
        ),
        ("Grebe", "grebe_body/Eared_Grebe_1.jpg", "originals/cub-200-2011/images/050.Eared_Grebe/Eared_Grebe_1.jpg", 1),
        ("shorts", "shorts/train/image/000001.jpg", "originals/deepfashion2/train/image/000001.jpg", 1),
        ("skirt", "skirt/train/image/000001.jpg", "originals/deepfashion2/train/image/000001.jpg", 1),
    ],
    "split1-val": [
        ("amur_tiger_body", "amur_tiger_body/flickr/0/image1.jpg", "images/amur_tiger_body/flickr/0/image1.jpg", 1),
        ("bed", "bed/1.jpg", "originals/keypoint-5/bed/images/1.jpg", 1),
        ("hand", "human_hand/Train/source/1.jpg", "originals/onehand10k/Train/source/1.jpg", 1),
    ],
    "split1-test": [
        # 3 * 10^8 + camera 6 * 10^5 + frame 361: the third sequence of a listing that nobody knows
        ("suv", "suv/300600361.jpg", CAR_GT.replace("gt", "images_jpg").replace("txt", "jpg"), 2),
        ("macaque", "macaque_body/a.jpg", "originals/macaquepose/v1/images/a.jpg", 1),
    ],
}


def points_of(category: str, number: int) -> dict:
    """Places for one object, those of the second picture of clothes and of second objects further down."""
    names = TABLE[key_of(category)].unified
    top = 90 if number or category == "skirt" else 12
    return spread(names[number:], 12, top, 8, 17)


def write_tree(root: Path) -> Tree:
    truth: dict[str, Truth] = {}
    for split, content in CONTENT.items():
        categories = {name: number for number, (name, *_) in enumerate(content, start=18)}
        images, annotations = [], []
        for number, (category, name, place, count) in enumerate(content, start=1):
            objects = [points_of(category, position) for position in range(count)]
            truth.setdefault(place, Truth([], split)).objects.extend(objects)
            images.append({"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
            annotations += [
                coco_annotation(100 * number + position, number, categories[category], TABLE[key_of(category)], points)
                for position, points in enumerate(objects)
            ]
        listed = [{"id": number, "name": name, "supercategory": "?"} for name, number in categories.items()]
        write_json(root / FILES[split], {"images": images, "annotations": annotations, "categories": listed})
    for place, told in truth.items():
        draw(root / place, SIZE, told.objects)
    cars = truth[CONTENT["split1-test"][0][2]].objects
    write_text(root / CAR_GT, gt_text({5: points_of("suv", 0) | {"centre": (3, 3)}, **dict(enumerate(cars))}))
    other = CAR_GT.replace("car_fifth2", "car_fifth1")  # a frame of the same name, with other cars
    write_text(root / other, gt_text({0: points_of("suv", 1)}))
    draw(root / other.replace("gt", "images_jpg").replace("txt", "jpg"), SIZE, [])
    return Tree(root, truth, [*(FILES[split] for split in CONTENT)])


test_fuzz = fuzz_test("mp100", write_tree)


def test_prepared(tmp_path: Path) -> None:
    done = check_prepared("mp100", write_tree(tmp_path / "original"), tmp_path)
    assert set(done.counts) == set(CONTENT)
    assert sorted(done.missing) == sorted(split for split in FILES if not split.startswith("split1"))
    records = records_of(done.folder)
    kinds = {instance.category.name for record in records.values() for instance in record.instances}
    expected = {
        "person",
        "antelope",
        "alpaca face",
        "grebe",
        "shorts",
        "skirt",
        "face",
        "bed",
        "hand",
        "SUV",
        "macaque",
    }
    assert kinds == expected
    tiger = records["images/amur_tiger_body/flickr/0/image1.jpg"].instances[0].category
    assert (tiger.name, tiger.skeleton, len(tiger.keypoints)) == ("face", "aflw_face", 19)
    rules = {record.instances[0].category.name: record.left_right for record in records.values()}
    assert (rules["SUV"], rules["bed"], rules["hand"], rules["antelope"]) == (
        "disputed",
        "disputed",
        "none",
        "anatomical",
    )
    clothes = records["originals/deepfashion2/train/image/000001.jpg"]
    assert [instance.category.name for instance in clothes.instances] == ["shorts", "skirt"]
    assert clothes.licence == "non-commercial (MP-100); deepfashion2: on request from the authors, non-commercial"


def test_visibility_1_means_hidden_only_where_the_source_says_so(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    for split in CONTENT:
        file = tree.root / FILES[split]
        content = json.loads(file.read_text())
        for annotation in content["annotations"]:
            annotation["keypoints"][2::3] = [min(1, v) for v in annotation["keypoints"][2::3]]
        write_json(file, content)
    records = records_of(prepare("mp100", tree.root, tmp_path).folder)
    found = {
        instance.category.name: {v for _, _, v in instance.keypoints.values()}
        for record in records.values()
        for instance in record.instances
    }
    hidden = {"person", "antelope", "shorts", "skirt", "SUV"}
    assert found == {name: {1 if name in hidden else 2} for name in found}


def test_a_carfusion_frame_is_told_by_its_cars(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    wrong = tree.root / "images/suv/300600361.jpg"  # what another machine's numbers would have gathered
    draw(wrong, SIZE, [])
    done = prepare("mp100", tree.root, tmp_path, splits=["split1-test"])
    (name,) = [record.picture.file for record in records_of(done.folder).values() if record.left_right == "disputed"]
    assert name == CONTENT["split1-test"][0][2]
    other = CAR_GT.replace("car_fifth2", "car_fifth1")
    write_text(tree.root / other, (tree.root / CAR_GT).read_text())
    done = prepare("mp100", tree.root, tmp_path / "two", splits=["split1-test"])
    (entry,) = read_report(done.folder / "report.json")
    assert (entry["file"], entry["reason"]) == (
        "images/suv/300600361.jpg",
        "2 of the 2 frames 6_00361 of CarFusion have its cars",
    )
    write_text(tree.root / CAR_GT, "1,2,3\n")
    write_text(tree.root / other, gt_text({0: points_of("suv", 1)}))
    done = prepare("mp100", tree.root, tmp_path / "damaged", splits=["split1-test"])
    (entry,) = read_report(done.folder / "report.json")
    assert entry["file"] == "images/suv/300600361.jpg"
    assert 'line 1: "1,2,3" is not 5 numbers' in entry["reason"]


def test_gathered_carfusion_pictures_do_where_the_original_is_not_there(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    (tree.root / "originals/carfusion").rename(tmp_path / "elsewhere")
    draw(tree.root / "images/suv/300600361.jpg", SIZE, [])
    done = prepare("mp100", tree.root, tmp_path, splits=["split1-test"])
    assert "images/suv/300600361.jpg" in records_of(done.folder)


def test_pictures_that_are_nowhere_or_in_two_places_are_reported(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    (tree.root / "antelope_body/000000000001.jpg").unlink()
    place = "originals/cub-200-2011/images/051.Horned_Grebe/Eared_Grebe_1.jpg"
    draw(tree.root / place, SIZE, [])
    done = prepare("mp100", tree.root, tmp_path, splits=["split1-train"])
    reasons = {entry["file"]: entry["reason"] for entry in read_report(done.folder / "report.json")}
    assert set(reasons) == {"images/antelope_body/000000000001.jpg", "images/grebe_body/Eared_Grebe_1.jpg"}
    assert reasons["images/antelope_body/000000000001.jpg"] == "the picture is neither in images nor in originals/ap10k"
    assert reasons["images/grebe_body/Eared_Grebe_1.jpg"].startswith("the original has 2 pictures of that name")


def test_a_category_that_mp100_does_not_have_stops_the_build(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "original")
    file = tree.root / FILES["split1-train"]
    write_text(file, file.read_text().replace('"antelope_body", "super', '"antelope", "super'))
    with pytest.raises(DataError, match='"antelope" is not a category of MP-100'):
        prepare("mp100", tree.root, tmp_path, splits=["split1-train"])


def test_pictures_are_asked_for_unless_they_can_lie_elsewhere(tmp_path: Path) -> None:
    write_json(tmp_path / "original" / FILES["split1-val"], {"images": [], "annotations": [], "categories": []})
    with pytest.raises(DataError, match="images   "):
        prepare("mp100", tmp_path / "original", tmp_path, splits=["split1-val"])
    (tmp_path / "original/human_body").mkdir()
    assert prepare("mp100", tmp_path / "original", tmp_path, splits=["split1-val"]).counts["split1-val"].images == 0


# The folders, as far as they are not pairs of an animal and "_body" or "_face", and the names in the json files.
KEYS = {
    "human_body": ["human_body", "person"],
    "human_face": ["human_face", "face"],
    "human_hand": ["human_hand", "hand"],
    "amur_tiger_body": ["amur_tiger_body"],
    "macaque_body": ["macaque_body", "macaque"],
    "fly_body": ["fly_body", "fly"],
    "locust_body": ["locust_body", "locust"],
    "*_bird": [*BIRDS, *(f"{bird}_body" for bird in BIRDS), "Grebe", "Woodpecker"],
    "*_body": ["antelope_body", "polar_bear_body", "Arctic wolf_body"],
    "*_face": ["alpaca_face", "californiansealion_face"],
    "car": ["car"],
    "bus": ["bus"],
    "suv": ["suv"],
    "swivelchair": ["swivelchair"],
    "long_sleeved_outwear": ["long_sleeved_outwear", "long sleeve outwear"],
}


@pytest.mark.parametrize("key", KEYS)
def test_categories_and_folders_lead_to_the_same_points(key: str) -> None:
    assert {key_of(name) for name in KEYS[key]} == {key}


def test_other_names_lead_to_none() -> None:
    assert {key_of(name) for name in ("", "_body", "*_body", "antelope", "face_of_cat", "*_bird")} == {None}


@pytest.mark.parametrize(
    ("key", "count", "first", "last"),
    [
        ("human_body", 17, "nose", "right ankle"),
        ("human_face", 68, "right cheekbone 1", "lower lip inner right"),
        ("human_hand", 21, "wrist", "pinky finger tip"),
        ("amur_tiger_body", 19, "right eyebrow outer end", "chin centre"),
        ("macaque_body", 17, "nose", "right ankle"),
        ("fly_body", 32, "head", "right wing tip"),
        ("locust_body", 35, "head", "right hindleg tip"),
        ("*_bird", 15, "back", "throat"),
        ("*_body", 17, "left eye", "right back paw"),
        ("*_face", 9, "right eye outer corner", "lower lip"),
        ("car", 14, "right front wheel", "centre"),
        ("sofa", 14, "right back leg bottom", "left backrest top"),
        ("shorts", 10, "right waist", "left outer side"),
    ],
)
def test_points_by_position(key: str, count: int, first: str, last: str) -> None:
    names = list(TABLE[key].names.values())
    assert (len(names), names[0], names[-1]) == (count, first, last)


def test_there_are_100_categories() -> None:
    fixed = [key for key in TABLES if "*" not in key]
    assert len(fixed) + len(BIRDS) + 34 + 30 == 100, "34 animals of AP-10K and 30 faces of AnimalWeb beside the others"
    assert {category_of(bird) for bird in BIRDS} == set(BIRDS)


def test_the_real_faces_of_aflw_stand_right(tmp_path: Path) -> None:
    sample = shared("format_samples/aflw")
    root = tmp_path / "original"
    content = json.loads((sample / "test_aflw.json").read_text())
    for image in content["images"]:
        link(sample / image["file_name"], root / "originals/aflw/flickr/0" / image["file_name"])
        image["file_name"] = f"amur_tiger_body/flickr/0/{image['file_name']}"
    content["categories"] = [{"id": 1, "name": "amur_tiger_body", "supercategory": "animal"}]
    write_json(root / FILES["split1-val"], content)
    done = prepare("mp100", root, tmp_path, splits=["split1-val"])
    assert done.skipped == {}
    records = {record.source_id: record for record in records_of(done.folder).values()}
    for annotation in content["annotations"]:
        (face,) = records[str(annotation["image_id"])].instances
        flat = annotation["keypoints"]
        told = list(zip(flat[0::3], flat[1::3], strict=True))
        assert [face.point(name)[:2] for name in load_skeleton("aflw_face").keypoints] == [
            pytest.approx(place, abs=1e-3) for place in told
        ]
        x = {name: place[0] for name, place in face.keypoints.items()}
        y = {name: place[1] for name, place in face.keypoints.items()}
        assert x["right eye outer corner"] < x["right eye"] < x["right eye inner corner"] < x["left eye inner corner"]
        assert x["right mouth corner"] < x["mouth centre"] < x["left mouth corner"], (
            "frontal: the person's right is left"
        )
        assert y["right eyebrow middle"] < y["right eye"] < y["nose tip"] < y["mouth centre"] < y["chin centre"]


def test_the_real_cars_find_their_frames(tmp_path: Path) -> None:
    sample = shared("format_samples/carfusion")
    root = tmp_path / "original"
    content = json.loads((sample / "annotations.json").read_text())
    write_sample(sample, root / "originals/carfusion/train")
    told = {}
    for image in content["images"]:
        told[image["id"]] = image["file_name"].replace("\\", "/")
        # the sequence's number is another one on this machine
        image["file_name"] = f"car/{image['id'] + 5 * 10**8}.jpg"
    write_json(root / FILES["split1-test"], content)
    done = prepare("mp100", root, tmp_path, splits=["split1-test"])
    assert done.skipped == {}
    records = records_of(done.folder)
    assert {int(record.source_id or 0): record.picture.file for record in records.values()} == {
        number: f"originals/carfusion/train/{name}" for number, name in told.items()
    }
    assert sum(len(record.instances) for record in records.values()) == len(content["annotations"]) == 11
