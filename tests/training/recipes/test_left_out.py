"""Training pictures that are test pictures, or look like one, are found and not learned from."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir

import pytest
from PIL import Image, ImageOps
from tests.evaluation.drawn_sets import TUBE, thing, write_set

from xpose.data.collection.leaks import PrintStore, print_picture
from xpose.data.loading import pool as pool_module
from xpose.data.loading.pool import read_places
from xpose.data.synthetic.scenes import generate
from xpose.errors import ConfigError, SplitError
from xpose.records import Record
from xpose.training.recipes import left_out as left_out_module
from xpose.training.recipes.assembly import training_pool
from xpose.training.recipes.left_out import APART_FILE, LEFT_OUT_FILE, LeftOut, look_alikes
from xpose.training.recipes.recipe import TrainingData, load_recipe

SHARED = (Path(__file__).parents[4] / "shared" / "data").resolve()
TUBES = [thing((10, 10, 40, 30), (15, 15), (40, 35))]


DRAWN = [Image.fromarray(pixels) for pixels, _ in generate(11, 10, (240, 180))]


def photograph(seed: int) -> Image.Image:
    return DRAWN[seed]


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Five training pictures: two of their own, and three made of the two test pictures."""
    root = tmp_path / "sets"
    write_set(root / "tubes", [("glue tube", TUBE)], {"train": [TUBES] * 5, "val": [TUBES] * 2}, (240, 180))
    images = root / "tubes" / "images"
    for number in range(2):
        photograph(number).save(images / f"val-{number}.png")
    (images / "train-0.png").write_bytes((images / "val-0.png").read_bytes())
    photograph(1).save(images / "train-1.png", format="JPEG", quality=60)
    ImageOps.mirror(photograph(0)).save(images / "train-2.png")
    for number in (3, 4):
        photograph(number).save(images / f"train-{number}.png")
    return root


EXPECTED = {
    "tubes/images/train-0.png": "tubes/images/val-0.png",
    "tubes/images/train-1.png": "tubes/images/val-1.png",
    "tubes/images/train-2.png": "tubes/images/val-0.png",
}


def test_the_same_file_another_quality_and_a_mirror_image_are_found(sets: Path) -> None:
    assert look_alikes([str(sets)], "train", "val") == EXPECTED


def test_a_folder_without_test_pictures_hides_those_of_no_other(sets: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    write_set(more / "rods", [("rod", TUBE)], {"train": [TUBES]}, (240, 180))
    assert look_alikes([str(more), str(sets)], "train", "val") == EXPECTED
    with pytest.raises(SplitError, match="val"):
        look_alikes([str(more)], "train", "val")


def test_they_are_not_in_the_pool_and_are_told(sets: Path, tmp_path: Path) -> None:
    left_out = LeftOut()
    pool = training_pool(TrainingData(places=(str(sets),), apart="val"), left_out, tmp_path / "run")
    assert sorted(pool.file(number) for number in range(len(pool))) == ["images/train-3.png", "images/train-4.png"]
    (line,) = left_out.lines(tmp_path)
    assert "3 pictures" in line
    left_out.write(tmp_path)
    written = (tmp_path / LEFT_OUT_FILE).read_text()
    assert all(a in written and b in written for a, b in EXPECTED.items())
    assert len(training_pool(TrainingData(places=(str(sets),)))) == 5


def test_the_answer_is_kept_until_the_pictures_change(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = look_alikes([str(sets)], "train", "val", tmp_path)
    read = []
    monkeypatch.setattr(left_out_module, "print_picture", lambda path: read.append(path) or print_picture(path))
    assert look_alikes([str(sets)], "train", "val", tmp_path) == first
    assert not read
    (tmp_path / APART_FILE).write_text("{damaged")
    assert look_alikes([str(sets)], "train", "val", tmp_path) == first
    assert len(read) == 7
    photograph(9).save(sets / "tubes" / "images" / "train-2.png", format="BMP")  # another size in bytes
    changed = look_alikes([str(sets)], "train", "val", tmp_path)
    assert changed == {k: v for k, v in EXPECTED.items() if k != "tubes/images/train-2.png"}


def test_a_webp_copy_is_found(sets: Path) -> None:
    photograph(1).save(sets / "tubes" / "images" / "train-1.png", format="WEBP", quality=60)
    assert look_alikes([str(sets)], "train", "val") == EXPECTED


def test_pieces_of_one_photograph_are_kept_apart_across_sets(sets: Path) -> None:
    """By the number of the photograph, where the sets give it, though nothing of the pieces looks alike."""
    write_set(sets / "more", [("glue tube", TUBE)], {"train": [TUBES] * 2}, (240, 180))
    for number in (0, 1):
        photograph(5 + number).save(sets / "more" / "images" / f"train-{number}.png")
    for name, split, ids in (("tubes", "val", {0: 785, 1: 139}), ("more", "train", {0: 785, 1: 872})):
        path = sets / name / f"{split}.json"
        content = json.loads(path.read_text())
        for image in content["images"]:
            image["coco_id"] = ids[image["id"]]
        path.write_text(json.dumps(content))
    assert look_alikes([str(sets)], "train", "val") == EXPECTED | {"more/images/train-0.png": "tubes/images/val-0.png"}


def test_a_damaged_picture_is_like_no_other(sets: Path) -> None:
    (sets / "tubes" / "images" / "val-0.png").write_bytes(b"no picture")
    assert look_alikes([str(sets)], "train", "val") == {"tubes/images/train-1.png": "tubes/images/val-1.png"}


def test_without_such_a_split_all_is_learned_from_and_it_is_said(sets: Path, tmp_path: Path) -> None:
    left_out = LeftOut()
    assert len(training_pool(TrainingData(places=(str(sets),), apart="quiz"), left_out)) == 5
    (line,) = left_out.lines(tmp_path)
    assert "quiz" in line


def test_a_split_cannot_be_kept_apart_from_itself() -> None:
    with pytest.raises(ConfigError, match="apart is"):
        TrainingData(split="train", apart="train")


real = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real collection is not at {SHARED}: nothing is tested")


@real
def test_the_shipped_weights_learn_from_no_validation_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a file, nor its look or mirror image, nor (hands and people out of COCO) a piece of the same original."""
    # Both take long: fingerprints of unchanged files are kept for the next run of this test, and labels are read once.
    store = PrintStore(Path(gettempdir()) / f"xpose-test-prints-{getpass.getuser()}.sqlite")
    paths = sorted(path for path in SHARED.glob("*/images/**/*") if path.is_file())
    prints = dict(zip(paths, store.prints(paths), strict=True))
    store.close()
    monkeypatch.setattr(left_out_module, "print_picture", prints.get)
    labels: dict[str, list[tuple[Record, Path]]] = {}

    def read_once(folder: Path, split: str, **options: object) -> Iterator[tuple[Record, Path]]:
        assert folder == SHARED
        if split not in labels:
            labels[split] = list(read_places(folder, split))
        return iter(labels[split])

    for module in (left_out_module, pool_module):
        monkeypatch.setattr(module, "read_places", read_once)
    recipe = load_recipe("nano-real", data=[SHARED])
    left_out = LeftOut()
    pool = training_pool(recipe.data, left_out)
    learned = [(pool.set_name(n), pool.file(n)) for n in range(len(pool))]
    splits = {one: _listed(one) for one in ("train", "val")}
    sets = json.loads((SHARED / "index.json").read_text())
    assert {source for source, _ in learned} == {one["name"] for one in sets}, "every set is learned from"
    assert len(learned) + left_out.held_out + len(left_out.apart) == sum(one["train"] for one in sets)
    assert len(left_out.apart) < 0.01 * len(learned)
    assert not set(learned) & set(splits["val"])
    train, tested = left_out_module.Side(), left_out_module.Side()
    for side, names in ((train, learned), (tested, list(splits["val"]))):
        for source, file in names:
            side.add(f"{source}/{file}", prints[SHARED / source / file])
    assert not train.unread
    assert not tested.unread
    assert left_out_module.find_leaks(train, tested) == []
    originals = {split: {found[name] for name in found if found[name]} for split, found in splits.items()}
    assert originals["val"]
    assert not {splits["train"][name] for name in learned} & originals["val"]


@real
def test_the_open_weights_learn_from_freely_usable_sets_alone() -> None:
    """And from all that there were when they were trained; sets that came later may be free, too."""
    recipe = load_recipe("nano-real-open", data=[SHARED])
    sets = {one["name"]: one for one in json.loads((SHARED / "index.json").read_text())}
    free = {name for name, one in sets.items() if one["redistributable"] == "yes"}  # not "yes (non-commercial, ...)"
    assert set(recipe.data.only) <= free
    assert {name for name in free if sets[name].get("since", 1) == 1} <= set(recipe.data.only)
    assert (recipe.data.split, recipe.data.apart) == ("train", "val")


def _listed(split: str) -> dict[tuple[str, str], int | None]:
    """Every picture of a split, and the number of the COCO picture that it was made of, where it says so."""
    found = {}
    for path in sorted(SHARED.glob(f"*/{split}.json")):
        for image in json.loads(path.read_text())["images"]:
            found[path.parent.name, f"images/{image['file_name']}"] = image.get("coco_id")
    return found
