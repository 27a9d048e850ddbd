"""Build the training collection of the default weights: sets completed by predicted labels, and the pool.

    python benchmarks/nano_data.py --data DATA --pool POOL --teachers TEACHERS --out OUT

DATA holds COCO keypoint sets (`NAME/train.json`, `NAME/images`, `index.json`). OUT gets the same sets, but training
photographs have additional annotations: boxes of COCO's 80 classes by NanoDet-Plus and the people of
`POOL/extra_people`. Confident detections become objects, others become ignored regions (`iscrowd` and `ignore` 1).
Pictures of a `val.json` get no new labels; the file is copied. `OUT/labelling.toml` states how complete the labels are.
An interrupted run can be continued; raw detections are cached in `OUT/.cache`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nano_guesses import (
    CONFUSABLE_SURE,
    SURE,
    Box,
    Detector,
    Guess,
    boxes_of,
    corners,
    covered,
    kind,
    load,
    people_of,
    settled,
    store,
    teacher,
    word,
)

from xpose.data.loading.labelling import Labelling, labelling_of


@dataclass(frozen=True)
class Photos:
    """A set of photographs with train pictures to complete.

    Attributes:
        people: "own": in the set's own category, boxes only; "pose": category `person` with COCO's points, from the
            pool's file; "boxes": category `person`, boxes only.
        exhaustive: with these additions every object of the categories has a label or a region.
        parts: the own objects are people or parts of people; each must be inside a `person` or a region.
        person: least score of a sure person from the box teacher, whose boxes around single hands are loose.
    """

    people: str = "boxes"
    exhaustive: bool = True
    parts: bool = False
    person: float = SURE


PHOTOS = {
    "afw_faces": Photos("pose", exhaustive=False, parts=True),  # small background faces are unlabelled
    "animal_pose": Photos("pose"),
    "animal_pose2": Photos("pose"),
    "animal_pose3": Photos(),
    "badminton": Photos("pose", parts=True),  # both players are labelled; judges and spectators are not players
    "butterfly": Photos(),
    "carfusion_sample": Photos(),
    "coco_faces": Photos(parts=True),
    "coco_hands": Photos(exhaustive=False, parts=True, person=CONFUSABLE_SURE),  # small hands are unlabelled
    "coco_people": Photos("own"),
    "coco_person": Photos("own"),
    "cub_birds": Photos(),
    "disguised_faces": Photos(exhaustive=False, parts=True),
    "dog_leash": Photos(),
    "faces68_multi": Photos(exhaustive=False, parts=True),
    "fashion_person": Photos("own"),
    "hands": Photos("pose", exhaustive=False, parts=True),
    "helen_faces": Photos("pose", exhaustive=False, parts=True),  # a second face at the edge may be unlabelled
    "helen_faces2": Photos(exhaustive=False, parts=True),
    "infant_faces": Photos("pose", exhaustive=False, parts=True),
    "license_plate": Photos(exhaustive=False),  # other cars' plates
    "livestock": Photos(),
    "lspet": Photos("own"),
    "lspet2": Photos("own"),
    "pelota_players": Photos("own"),
    "robot_arm": Photos(),
    "tiger": Photos(),
}
# Sets that are not completed, and why. Sets without a labelling in the package are closed, except those marked "!": a
# wider or narrower word of another set would be taken to be absent (a rodent is a mouse, lips are in a face).
NO_PHOTOS = {
    "laboratory or microscope": "bee_head cage_mice fish_head! fly_pair_predicted fly_wing honeybee mouse_eye "
    "mouse_mirror mouse_openfield mouse_reaching nematode rodent_treadmill! tethered_fly vinegar_fly "
    "wing_vein_junction! zebrafish_larva",
    "x-ray, ultrasound or grey camera": "coronary_fork dental_xray lips! tongue_ultrasound",
    "cut out, drawn or computed": "machined_plate salmon salmon_side toy_house",
    "code, board or page from near": "aztec_code barcode! checkerboard! chessboard! document_page! go_board! pdf417 "
    "qr_code! sudoku_grid!",
    "nothing but its own objects": "alpine_birds bare_back! faces68 glue_tubes goldfish! sitting_person "
    "steel_profiles strawberry! wagon_hatch!",
}
PARTIAL = {"goldfish", "wing_vein_junction"}  # not all objects of the category are labelled


class Completed:
    """One set's train.json with the teachers' additions."""

    def __init__(self, name: str, content: dict[str, Any], photos: Photos) -> None:
        self.name, self.content, self.photos = name, content, photos
        self.labels: dict[int, list[dict[str, Any]]] = {}
        for label in content["annotations"]:
            self.labels.setdefault(label["image_id"], []).append(label)
        self.names = {category["id"]: category["name"] for category in content["categories"]}
        self.own = {word(name): number for number, name in self.names.items()}
        self.next = max((label["id"] for label in content["annotations"]), default=0) + 1

    def add(self, image: Mapping[str, Any], guesses: Sequence[Guess], template: Mapping[str, Any]) -> None:
        """Annotate one picture; `template` is the category `person` with COCO's points."""
        mine = self.labels.get(image["id"], [])
        own = [
            (word(self.names[label["category_id"]]), corners(label["bbox"]), bool(label.get("iscrowd")))
            for label in mine
        ]
        kept = settled(guesses, own)
        if self.photos.parts:
            kept += self.whole(image, [box for _, box, _ in own], kept)
        for guess in kept:
            self.write(image, guess, self.category(guess.name, template))

    def whole(self, image: Mapping[str, Any], boxes: Sequence[Box], kept: Sequence[Guess]) -> list[Guess]:
        """Person regions for own objects (players, faces, hands) without a matching person."""
        people = [guess.box for guess in kept if guess.name == "person"]
        bare = [box for box in boxes if not any(covered(box, person) for person in people)]
        if self.name != "badminton" and bare:
            bare = [(0.0, 0.0, float(image["width"]), float(image["height"]))]
        return [Guess("person", 0.0, box) for box in bare]

    def category(self, name: str, template: Mapping[str, Any]) -> dict[str, Any]:
        """The category of that name, created if missing."""
        if word(name) not in self.own:
            number = max(self.names) + 1
            made: dict[str, Any] = {"id": number, "name": name, "keypoints": [], "skeleton": []}
            if name == "person" and self.photos.people == "pose":
                made |= {key: template[key] for key in ("keypoints", "skeleton")}
            self.content["categories"].append(made)
            self.names[number] = name
            self.own[word(name)] = number
        number = self.own[word(name)]
        return next(category for category in self.content["categories"] if category["id"] == number)

    def write(self, image: Mapping[str, Any], guess: Guess, category: Mapping[str, Any]) -> None:
        """Annotate one object or region, clipped to the picture."""
        left, top = max(guess.box[0], 0.0), max(guess.box[1], 0.0)
        width, height = min(guess.box[2], image["width"]) - left, min(guess.box[3], image["height"]) - top
        if width < 2 or height < 2:
            return
        points = guess.points or [0] * (3 * len(category["keypoints"]))
        label = {
            "id": self.next,
            "image_id": image["id"],
            "category_id": category["id"],
            "bbox": [round(value, 1) for value in (left, top, width, height)],
            "area": round(width * height, 1),
            "iscrowd": int(not guess.sure),
            "num_keypoints": sum(value > 0 for value in points[2::3]),
            "keypoints": points,
            "score": guess.score,
            "predicted": 1,
        }
        if not guess.sure:
            label["ignore"] = 1
        self.content["annotations"].append(label)
        self.next += 1


@dataclass(frozen=True)
class Places:
    """The input folders and the output folder."""

    data: Path
    pool: Path
    teachers: Path
    out: Path

    def check(self) -> list[str]:
        """The names of the sets.

        Raises:
            SystemExit: a folder is of the wrong kind, or a set is not listed above.
        """
        load(self.data / "index.json"), load(self.pool / "train.json")
        if self.out.resolve() in (self.data.resolve(), self.pool.resolve()):
            raise SystemExit("--out is the folder of the originals. Give another one: the originals stay as they are.")
        names = sorted(path.parent.name for path in self.data.glob("*/train.json"))
        strange = [name for name in names if name not in PHOTOS and name not in reasons()]
        if strange:
            raise SystemExit(f"Nobody has decided about {', '.join(strange)}. List them in PHOTOS or NO_PHOTOS.")
        return names


def reasons() -> dict[str, tuple[str, bool]]:
    """Why a set is not completed, and whether its pictures show only its own objects."""
    listed = ((why, entry) for why, entries in NO_PHOTOS.items() for entry in entries.split())
    return {entry.rstrip("!"): (why, not entry.endswith("!")) for why, entry in listed}


def held_out(data: Path) -> set[object]:
    """COCO's ids of all val.json pictures; other crops of these are not labelled either."""
    files = sorted(data.glob("*/val.json"))
    return {image["coco_id"] for file in files for image in load(file)["images"] if "coco_id" in image}


def complete(
    places: Places, name: str, detector: Detector, held: set[object], template: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """A set's train.json with its additions, and the pictures not shown to the teachers."""
    photos, folder = PHOTOS[name], places.data / name
    done = Completed(name, load(folder / "train.json"), photos)
    val = load(folder / "val.json")["images"] if (folder / "val.json").is_file() else []
    unseen = {image["file_name"] for image in val}
    images = [
        image
        for image in done.content["images"]
        if image["file_name"] not in unseen and image.get("coco_id") not in held
    ]
    raw = detector.raw(name, folder / "images", [image["file_name"] for image in images])
    path = places.pool / "extra_people" / f"{name}.json"
    extra: dict[int, list[dict[str, Any]]] = {}
    for label in load(path)["annotations"] if path.is_file() else []:
        extra.setdefault(label["image_id"], []).append(label)
    pose = photos.people == "pose"
    for image in images:
        guesses = boxes_of(raw[image["file_name"]], photos.person)
        if path.is_file():
            doubtless = labelling_of(name).points
            people = people_of(extra.get(image["id"], ()), guesses, with_points=pose, doubtless=doubtless)
            guesses = [guess for guess in guesses if guess.name != "person"] + people
        done.add(image, guesses, template)
    done.content.setdefault("info", {})["completed"] = "annotations with `predicted` 1 are predicted labels"
    looked = {image["id"] for image in images}
    return done.content, [image["file_name"] for image in done.content["images"] if image["id"] not in looked]


def labelling(name: str, classes: Sequence[str], unseen: Sequence[str] = ()) -> Labelling:
    """The label completeness of a set; absence is unknown in `unseen` pictures."""
    known = labelling_of(name)
    stated = known != Labelling()
    if name == "pool" or name in PHOTOS:
        photos = PHOTOS.get(name, Photos())
        why = "predicted labels only" if name == "pool" else "completed by predicted labels"
        why += f"; {known.why}" if stated else ""
        absent = tuple(dict.fromkeys([*known.absent, *classes]))
        return replace(known, exhaustive=photos.exhaustive, absent=absent, unsure=known.unsure | {*unseen}, why=why)
    if stated:
        return known
    why, closed = reasons()[name]
    return Labelling(exhaustive=name not in PARTIAL, closed=closed, why=why)


def write_labelling(path: Path, sets: Mapping[str, Labelling]) -> None:
    def text(value: object) -> str:
        return json.dumps(value, ensure_ascii=False)

    lines = ["# Written by benchmarks/nano_data.py; the keys are those of src/xpose/data/loading/labelling.toml."]
    for name, entry in sets.items():
        lines += ["", f"[{name}]", f"exhaustive = {text(entry.exhaustive)}"]
        lines += [f"{key} = true" for key in ("closed", "points") if getattr(entry, key)]
        lists = {"absent": list(entry.absent), "unsure": sorted(entry.unsure)}
        lines += [f"{key} = {text(value)}" for key, value in lists.items() if value]
        lines += [f"why = {text(entry.why)}"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def link(target: Path, place: Path) -> None:
    """Link to the original folder of pictures."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink():
        place.unlink()
    elif place.exists():
        raise SystemExit(f"{place} is in the way: it should be a link to the pictures. Move it away.")
    place.symlink_to(target.resolve(), target_is_directory=True)


def pool_entry(content: Mapping[str, Any]) -> dict[str, Any]:
    """The pool's line of index.json."""
    info = content["info"]
    return {
        "name": "pool",
        "full_name": info["name"],
        "images": len(content["images"]),
        "train": len(content["images"]),
        "val": 0,
        "instances": sum(not label.get("iscrowd") for label in content["annotations"]),
        "categories": [category["name"] for category in content["categories"]],
        "keypoints": [len(category["keypoints"]) for category in content["categories"]],
        "source": ", ".join(source["repository"] for source in info["sources"]),
        "licence": info["licence"],
        "redistributable": info["redistributable"],
        "notes": info["note"],
    }


def row(name: str, content: Mapping[str, Any]) -> list[Any]:
    """The table row; all labels of the pool are predicted."""
    names = {category["id"]: category["name"] for category in content["categories"]}
    counts: Counter[str] = Counter()
    for label in content["annotations"]:
        predicted = name == "pool" or "predicted" in label
        if label.get("iscrowd"):
            counts["region"] += predicted
        else:
            counts[kind(names[label["category_id"]]) if predicted else "labelled"] += 1
    return [name, len(content["images"]), *(counts[key] for key in ("labelled", "person", "animal", "thing", "region"))]


def show(rows: Sequence[Sequence[Any]]) -> None:
    titles = ("set", "pictures", "labelled", "+person", "+animal", "+other", "regions")
    print(f"{titles[0]:20}" + "".join(f"{title:>14}" for title in titles[1:]))
    total = ["total", *(sum(column) for column in list(zip(*rows, strict=True))[1:])]
    for line in [*rows, total]:
        print(f"{line[0]:20}" + "".join(f"{value:14,}" for value in line[1:]))


def adjusted(content: Mapping[str, Any], without: Sequence[str]) -> dict[str, Any]:
    """Rename box-only `mouse` labels, which mean a computer mouse in COCO, and drop boxes of some classes."""
    boxed = {category["id"]: category["name"] for category in content["categories"] if not category.get("keypoints")}
    left_out = {number for number, name in boxed.items() if name in without}
    renamed = {number for number, name in boxed.items() if name == "mouse"}
    categories = [
        {**category, "name": "computer mouse"} if category["id"] in renamed else category
        for category in content["categories"]
        if category["id"] not in left_out
    ]
    annotations = [entry for entry in content["annotations"] if entry["category_id"] not in left_out]
    return {**content, "categories": categories, "annotations": annotations}


def build(places: Places, without: Sequence[str] = ()) -> None:
    names, pool = places.check(), adjusted(load(places.pool / "train.json"), without)
    template = next(category for category in pool["categories"] if category["name"] == "person")
    classes = [name.replace("_", " ") for name in teacher(places.teachers).COCO80]
    classes = list(dict.fromkeys(form for name in classes for form in (name, word(name))))
    classes = ["computer mouse" if name == "mouse" else name for name in classes]
    held = held_out(places.data)
    rows: list[list[Any]] = []
    rules: dict[str, Labelling] = {}
    detector = Detector(places.teachers, places.out / ".cache")
    for name in names:
        source, target = places.data / name, places.out / name
        link(source / "images", target / "images")
        if (source / "val.json").is_file():
            shutil.copyfile(source / "val.json", target / "val.json")
        unseen: list[str] = []
        if name in PHOTOS:
            content, unseen = complete(places, name, detector, held, template)
            content = adjusted(content, without)
            store(target / "train.json", content)
        else:
            content = load(source / "train.json")
            shutil.copyfile(source / "train.json", target / "train.json")
        rules[name] = labelling(name, classes, unseen)
        rows.append(row(name, content))
    link(places.pool / "images", places.out / "pool" / "images")
    store(places.out / "pool" / "train.json", pool)
    rows.append(row("pool", pool))
    store(places.out / "index.json", [*load(places.data / "index.json"), pool_entry(pool)])
    write_labelling(places.out / "labelling.toml", {**rules, "pool": labelling("pool", classes)})
    show(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the labelled sets")
    parser.add_argument("--pool", type=Path, required=True, help="the pool: train.json, images/, extra_people/")
    parser.add_argument("--teachers", type=Path, required=True, help="the trained networks and their scripts")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument(
        "--without", action="append", default=[], help="leave out boxes of this class, to test it as a kind never seen"
    )
    options = vars(parser.parse_args())
    without = options.pop("without")
    build(Places(**options), without)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
