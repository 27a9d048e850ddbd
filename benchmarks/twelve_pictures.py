"""Divide a set for docs/twelve-pictures.md: some pictures to learn from, the others to measure on.

    python benchmarks/twelve_pictures.py --set DIR/dog_leash --out dog

OUT/labelled holds pictures of `train`, at equal distances in the order of their names, and labels.json, as `xpose
label` leaves them. OUT/sets is a folder of sets for `xpose eval`, with the same pictures as `train`: the `val` of
`same_videos` are the other pictures of `train`, that of `new_video` are the pictures of `val`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any


def main() -> None:
    """Divide, and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", required=True, type=Path, help="folder with train.json, val.json and images/")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--pictures", type=int, default=12, help="pictures to learn from")
    given = parser.parse_args()
    train, val = (json.loads((given.set / f"{split}.json").read_text("utf-8")) for split in ("train", "val"))
    files = sorted(image["file_name"] for image in train["images"])
    chosen = {files[number * len(files) // given.pictures] for number in range(given.pictures)}
    labelled, rest, sets = part_of(train, chosen), part_of(train, {*files} - chosen), given.out / "sets"
    write(labelled, given.set, given.out / "labelled", "labels.json")
    for name, content in {"same_videos": rest, "new_video": part_of(val)}.items():
        write(labelled, given.set, sets / name / "images", "../train.json")
        write(content, given.set, sets / name / "images", "../val.json")


def part_of(content: dict[str, Any], files: set[str] | None = None) -> dict[str, Any]:
    """The labels of some pictures (or all), with blanks in the names of the keypoints."""
    images = [image for image in content["images"] if files is None or image["file_name"] in files]
    ids = {image["id"] for image in images}
    labels = [label for label in content["annotations"] if label["image_id"] in ids]
    kinds = [dict(kind) for kind in content["categories"]]
    for kind in kinds:
        kind["keypoints"] = [name.replace("_", " ") for name in kind["keypoints"]]
    return {"images": images, "annotations": labels, "categories": kinds}


def write(content: dict[str, Any], source: Path, pictures: Path, labels: str) -> None:
    """Copy the pictures, and write their labels."""
    pictures.mkdir(parents=True, exist_ok=True)
    for image in content["images"]:
        shutil.copy(source / "images" / image["file_name"], pictures)
    path = (pictures / labels).resolve()
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    print(f"{path}: {len(content['images'])} pictures, {len(content['annotations'])} objects")


if __name__ == "__main__":
    main()
