"""The recipe that is chosen for some data, what is found in the data, and what a run is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.small_sets import category, record, write_prepared
from tests.data.trees import draw, write_json

from xpose.data.collection.held_out import is_held_out
from xpose.errors import CheckpointError, ConfigError, DataError
from xpose.model.presets import CONFIGS
from xpose.records import Category, Record
from xpose.training.finetuning.finetune_data import Material, Request, gather, survey
from xpose.training.finetuning.plan import (
    LEAST_TESTED,
    Start,
    choose,
    compare,
    refuse_too_few,
    share_to_hold_out,
    starting_point,
)
from xpose.training.recipes.recipe import load_recipe
from xpose.training.run.log import write_validation
from xpose.vocabulary import load_skeleton

NEWT = Category("newt", "newt of mine", ("left eye", "right eye", "tail"))
PERSON = category("person")
NANO = Start({"start": "weights"}, CONFIGS["xpose-nano"], "weights")
SWIN = Start({"start": "unipose.pth"}, CONFIGS["xpose-swin-t"], "unipose.pth")
SCRATCH = Start({}, CONFIGS["xpose-nano"], None)


def prepared(root: Path, name: str, records: list[Record]) -> Path:
    (root / f"{name}-original").mkdir(parents=True)
    return write_prepared(root, name, records, {})


def material(tmp_path: Path, count: int, tested: int = 0, kind: Category = NEWT) -> Material:
    """A set of so many pictures, which nobody opens here."""
    records = [record("mine", "train", f"{number}.png", [kind]) for number in range(count)]
    records += [record("mine", "val", f"v{number}.png", [kind]) for number in range(tested)]
    return survey(prepared(tmp_path, "mine", records), "prepared")


@pytest.mark.parametrize(
    ("count", "size", "steps", "batch", "backbone"),
    [
        (5, "few-shot", 300, 5, 0.0),
        (50, "few-shot", 300, 8, 0.0),
        (51, "small", 1500, 8, 0.1),
        (501, "medium", 6000, 16, 0.1),
    ],
)
def test_the_recipe_goes_by_the_number_of_pictures(
    count: int, size: str, steps: int, batch: int, backbone: float, tmp_path: Path
) -> None:
    plan = choose(material(tmp_path, count), NANO)
    recipe = plan.recipe
    assert (plan.size, recipe.run.steps, recipe.loading.batch) == (size, steps, batch)
    assert recipe.run.schedule.backbone == backbone
    assert recipe.network.start == "weights"
    path = tmp_path / "shown.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")
    assert load_recipe(path) == recipe, "what is shown can be trained with"


def test_few_pictures_are_all_learned_from_and_that_is_said(tmp_path: Path) -> None:
    plan = choose(material(tmp_path, 12), NANO)
    assert (plan.tested_on, plan.tested) == ("the training pictures", 12)
    assert (plan.recipe.data.held_out, plan.recipe.validation.split) == (0.0, "train")


@pytest.mark.parametrize("count", [20, 40, 120])
def test_where_some_are_kept_back_they_are_enough_and_counted(count: int, tmp_path: Path) -> None:
    found = material(tmp_path, count)
    share = share_to_hold_out(found)
    plan = choose(found, NANO)
    held = sum(is_held_out("mine", f"{number}.png", share) for number in range(count))
    assert (plan.tested_on, plan.tested) == ("held-out pictures", held)
    assert LEAST_TESTED <= held <= count / 2
    assert plan.recipe.validation.split is None


def test_a_split_of_its_own_is_tested_on(tmp_path: Path) -> None:
    plan = choose(material(tmp_path, 30, tested=3), NANO)
    assert (plan.tested_on, plan.tested) == ("a split of its own", 3)
    assert (plan.recipe.data.held_out, plan.recipe.validation.split) == (0.0, "val")


def test_settings_of_the_user_come_last_and_all_faults_are_named(tmp_path: Path) -> None:
    found = material(tmp_path, 30)
    plan = choose(found, NANO, ["run.steps=7", "validation.split=train", "data.held_out=0"])
    assert (plan.recipe.run.steps, plan.tested_on) == (7, "the training pictures")
    with pytest.raises(ConfigError) as caught:
        choose(found, NANO, ["run.steps=0", "loading.batch=x", "nothing"])
    assert "has 3 faults" in str(caught.value)


def test_the_network_decides_the_sizes_of_pictures_and_who_is_asked_by_example(tmp_path: Path) -> None:
    found = material(tmp_path, 60)
    nano, swin = choose(found, NANO).recipe, choose(found, SWIN).recipe
    assert (nano.augmentation.size, swin.augmentation.size) == (320, None)
    assert nano.prompting.visual > 0
    assert nano.validation.prompts == ("text", "visual")
    assert (swin.prompting.visual, swin.prompting.combined, swin.validation.prompts) == (0, 0, ("text",))
    assert swin.run.schedule.rate < nano.run.schedule.rate


def test_from_nothing_takes_longer_and_trains_the_backbone(tmp_path: Path) -> None:
    found = material(tmp_path, 30)
    tuned, fresh = choose(found, NANO).recipe.run, choose(found, SCRATCH).recipe.run
    assert fresh.steps > tuned.steps
    assert fresh.schedule.rate > tuned.schedule.rate
    assert fresh.schedule.backbone > tuned.schedule.backbone == 0


def test_numbered_points_are_not_mirrored(tmp_path: Path) -> None:
    """Nothing says which of them are left and right, so a mirrored picture would teach wrong names."""
    numbered = material(tmp_path / "a", 30, kind=Category("newt", "newt of mine", ("point 1", "point 2")))
    named = material(tmp_path / "b", 30)
    assert (numbered.numbered, named.numbered) == (True, False)
    for found, flips in ((numbered, False), (named, True)):
        recipe = choose(found, NANO).recipe
        assert bool(recipe.augmentation.flip) is flips
        assert bool(recipe.prompting.examples.flip) is flips


def test_too_few_pictures_are_sent_to_visual_prompts(tmp_path: Path) -> None:
    refuse_too_few(material(tmp_path / "a", 5))
    with pytest.raises(DataError, match=r"only 4 pictures.*--like PICTURE.*--force"):
        refuse_too_few(material(tmp_path / "b", 4))
    plan = choose(material(tmp_path / "c", 1), NANO)  # with --force
    assert (plan.recipe.loading.batch, plan.recipe.prompting.visual) == (1, 0), "no other picture to take examples of"


def test_mirror_partners_are_told_once(tmp_path: Path) -> None:
    assert material(tmp_path / "a", 1).pairs(NEWT) == [("left eye", "right eye")]
    assert ("left wrist", "right wrist") in material(tmp_path / "b", 1, kind=PERSON).pairs(PERSON)


def test_splits(tmp_path: Path) -> None:
    days = [record("mine", split, f"{split}.png", [PERSON]) for split in ("monday", "sunday")]
    place = prepared(tmp_path, "mine", days)
    with pytest.raises(DataError, match=r"monday, sunday.*--split"):
        survey(place, "prepared")
    assert survey(place, "prepared", "sunday").split == "sunday"
    with pytest.raises(DataError, match='Did you mean "sunday"'):
        survey(place, "prepared", "sundy")
    empty = prepared(tmp_path, "empty", [record("empty", "train", "a.png")])
    with pytest.raises(DataError, match="shows an object with keypoints"):
        survey(empty, "prepared")


def test_a_validation_split_that_shares_pictures_is_no_test(tmp_path: Path) -> None:
    both = [record("mine", split, "a.png", [PERSON]) for split in ("train", "val")]
    found = survey(prepared(tmp_path, "mine", both), "prepared")
    assert (found.validation, found.tested) == (None, 0)
    assert "1 pictures are in train and in val" in found.notes[0]


@pytest.mark.parametrize("choice", [None, "none", "68 face points"])
def test_names_that_the_vocabulary_knows_take_its_mirror_partners(choice: str | None, tmp_path: Path) -> None:
    """ "jaw 0" and "jaw 16" are partners, which no word in them says."""
    face = load_skeleton("68_face_points")
    names = [point.source_names[0] if point.source_names else point.name for point in face.points]
    flat = [value for number in range(len(names)) for value in (10 + number, 20 + number, 2)]
    row = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 100, 80], "keypoints": flat}
    images = [{"id": 1, "file_name": "1.png", "width": 120, "height": 100}]
    root = tmp_path / "faces"
    draw(root / "1.png", (120, 100), [])
    kinds = [{"id": 1, "name": "mask", "keypoints": names}]
    write_json(root / "faces.json", {"images": images, "annotations": [row], "categories": kinds})
    found = gather(Request.of(root / "faces.json", skeleton=choice), tmp_path / "run")
    (kind,) = found.kinds
    if choice == "none":
        assert kind.skeleton == found.place.name == "mask", "the user's name"
        return
    assert kind.keypoints == face.keypoints
    assert dict(found.pairs(kind)) == {a: b for a, b in face.flips.items() if a != b and face.index(a) < face.index(b)}
    assert bool(found.notes) is (choice is None)


def test_a_prepared_set_is_used_where_it_is(tmp_path: Path) -> None:
    place = material(tmp_path, 3).place
    found = gather(Request.of(place), tmp_path / "run")
    assert (found.place, found.pictures, sum(found.kinds.values())) == (place, 3, 3)
    with pytest.raises(ConfigError, match=r"--name .* is a prepared set"):
        gather(Request.of(place, name="newt"), tmp_path / "other")


def test_a_run_keeps_its_data(tmp_path: Path) -> None:
    one, other = material(tmp_path / "a", 3).place, material(tmp_path / "b", 3).place
    gather(Request.of(one), tmp_path / "run")
    write_validation(tmp_path / "run", 0, {"text PCK@0.1": 0.1})  # the run begins with this
    with pytest.raises(ConfigError, match=r"holds a run on other data.*data was"):
        gather(Request.of(other), tmp_path / "run")


def test_what_to_start_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpose.model.checkpoints.known.bundled_weights", dict)
    with pytest.raises(CheckpointError, match=r"--weights: .*--from-scratch"):
        starting_point(None)
    with pytest.raises(ConfigError, match="exclude each other"):
        starting_point("a", from_scratch=True)
    with pytest.raises(ConfigError, match=r"--backbone .* needs --from-scratch"):
        starting_point("a", backbone=tmp_path)
    with pytest.raises(CheckpointError, match=r"nothing\.pth"):
        starting_point(None, changes=["network.start=nothing.pth"])
    scratch = starting_point(None, from_scratch=True, backbone=tmp_path, changes=["network.preset=xpose-r50"])
    assert (scratch.weights, scratch.network, scratch.config.backbone) == (
        None,
        {"backbone": str(tmp_path)},
        "resnet50",
    )


@pytest.mark.parametrize(
    ("values", "best", "improved"),
    [
        ({0: 0.2, 50: 0.5, 100: 0.4}, 50, True),
        ({0: 0.2, 50: 0.4, 100: 0.5}, 100, True),
        ({0: 0.6, 50: 0.5, 100: 0.6}, 0, False),
        ({50: 0.5, 100: 0.4}, 50, True),  # from nothing: there is no before
    ],
)
def test_the_best_step_is_named(values: dict[int, float], best: int, improved: bool, tmp_path: Path) -> None:
    recipe = choose(material(tmp_path, 30), SWIN).recipe  # asks in words alone
    assert compare(recipe, tmp_path) is None, "not tested yet"
    for step, value in values.items():
        write_validation(tmp_path, step, {"text PCK@0.1": value})
    found = compare(recipe, tmp_path)
    assert found is not None
    assert (found.best_step, found.improved) == (best, improved)
    assert found.after == {"text PCK@0.1": values[100]}
    assert dict(found.before) == ({"text PCK@0.1": values[0]} if 0 in values else {})
