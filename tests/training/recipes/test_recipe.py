"""Recipes: the shipped ones are sound, faults are told all at once, bases go one level deep, and --show can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from xpose.errors import ConfigError
from xpose.training.recipes import recipe as recipe_module
from xpose.training.recipes.recipe import Recipe, changed, load_recipe, shipped_recipes

NAMES = sorted(shipped_recipes())
WANTED = {
    *("tiny-overfit", "nano-real", "clamp-bovidae-canidae", "clamp-canidae-felidae", "unikpt-swin-t", "unikpt-swin-l"),
    *(f"mp100-split{n}" for n in range(1, 6)),
    *(f"ablation-{what}" for what in ("no-object-alignment", "no-keypoint-alignment", "visual-only", "text-only")),
    *(f"ablation-sets-{n}" for n in (4, 9, 13)),
}


def test_all_of_them_are_there() -> None:
    assert set(NAMES) >= WANTED


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_is_sound_and_can_be_written_and_read(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.about
    assert recipe.data.drawn or recipe.data.needs, "it says what to fetch"
    path = tmp_path / "copy.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")
    assert load_recipe(path) == recipe
    head = shipped_recipes()[name].read_text("utf-8").partition("\n\n")[0]
    assert head.startswith("# "), "it begins by saying what it is for"


SWITCHES = [
    ("ablation-no-object-alignment", lambda r: (r.run.weights.object_alignment, r.closed_set), (0.0, True)),
    ("ablation-no-keypoint-alignment", lambda r: r.run.weights.keypoint_alignment, 0.0),
    ("ablation-visual-only", lambda r: (r.prompting.visual, r.validation.prompts), (1.0, ("visual",))),
    ("ablation-text-only", lambda r: (r.prompting.visual, r.prompting.combined), (0.0, 0.0)),
    ("ablation-sets-4", lambda r: len(r.data.only), 4),
    ("ablation-sets-9", lambda r: len(r.data.only), 9),
    ("ablation-sets-13", lambda r: len(r.data.only), 0),
]


@pytest.mark.parametrize(("name", "part", "expected"), SWITCHES, ids=[name for name, *_ in SWITCHES])
def test_an_ablation_changes_its_switch_and_leaves_the_network_alone(name, part, expected) -> None:
    recipe, base = load_recipe(name), load_recipe("unikpt-swin-t")
    assert part(recipe) == expected
    assert part(base) != expected or name == "ablation-sets-13"
    same = ("network", "loading", "augmentation", "sampling")
    assert all(getattr(recipe, part) == getattr(base, part) for part in same)


def test_all_faults_of_file_and_changes_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "nano-real"\n[run]\nsteps = "many"\n[netwrok]\npreset = "x"\n[data]\nheld_out = 2\n')
    changes = ["network.overrides.dmi=64", "prompting.visual=0.95", "augmentation.flip=2", "validation.best=AP", "oops"]
    with pytest.raises(ConfigError) as caught:
        load_recipe(path, changes)
    message = str(caught.value)
    for part in (
        '"oops" is not of the form NAME=VALUE',
        'run.steps is "many", not a whole number',
        'netwrok is unknown. Did you mean "network"?',
        "data.held_out is 2",
        'network.overrides.dmi is unknown. Did you mean "network.overrides.dim"?',
        "visual 0.95 and combined 0.07",
        "augmentation.flip is 2",
        'validation.best is "AP", not one of PCK@0.1, PCK@0.2',
        "8 faults",
    ):
        assert part in message, message


def test_calibration_is_not_part_of_a_recipe() -> None:
    with pytest.raises(ConfigError, match=r"network\.overrides\.nms.*xpose calibrate"):
        load_recipe("tiny-overfit", ["network.overrides.nms=0.5"])


def test_an_unknown_preset_hides_no_other_fault() -> None:
    changes = ["network.preset=bogus", "network.overrides.bogus=1", "network.overrides.swin.windw=7"]
    with pytest.raises(ConfigError) as caught:
        load_recipe("tiny-overfit", [*changes, "validation.best=bogus"])
    message = str(caught.value)
    assert 'The recipe "tiny-overfit" has 4 faults:' in message
    for part in ("network.preset is", "network.overrides.bogus is unknown", "validation.best is"):
        assert f"\n  {part}" in message
    assert 'network.overrides.swin.windw is unknown. Did you mean "network.overrides.swin.window"?' in message
    assert message.endswith("xpose train tiny-overfit --show")


def test_changes_go_over_the_file_and_data_over_both(tmp_path: Path) -> None:
    recipe = load_recipe("tiny-overfit", ["run.steps=7", "run.steps=8", "run.schedule.rate=1e-2"], data=[tmp_path])
    assert (recipe.run.steps, recipe.run.schedule.rate) == (8, 0.01)
    assert recipe.data.places == (str(tmp_path),)
    assert recipe.data.drawn is None


def test_a_base_is_shipped_and_may_have_a_base_itself(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "unikpt-swin-t"\nabout = "mine"\n[run]\nsteps = 5\n')
    mine, base = load_recipe(path), load_recipe("unikpt-swin-t")
    assert (mine.about, mine.run.steps) == ("mine", 5)
    assert mine.run.schedule == base.run.schedule
    path.write_text('base = "ablation-sets-4"\n')
    assert load_recipe(path) == load_recipe("ablation-sets-4")
    path.write_text('base = "unikpt-swin"\n')
    with pytest.raises(ConfigError, match=r'Did you mean "unikpt-swin-[tl]"'):
        load_recipe(path)


@pytest.mark.parametrize("content", [b"[run\nsteps = 1", b"\xff\xfe", b"run.steps = 1\nrun.steps = 2"])
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not a readable TOML file"):
        load_recipe(path)


def test_unknown_recipes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'no recipe "nano-rael"\. Did you mean "nano-real"'):
        load_recipe("nano-rael")
    with pytest.raises(ConfigError, match="There is no file"):
        load_recipe(tmp_path / "nothing.toml")


def test_what_may_change_between_two_pieces_of_a_run() -> None:
    old = load_recipe("tiny-overfit")
    free = ["loading.threads=4", "validation.every=7", "output.tensorboard=true", "run.log_steps=1", "about=x"]
    assert changed(old, load_recipe("tiny-overfit", free)) == []
    assert changed(old, load_recipe("tiny-overfit", ["run.amp=auto"])) == []  # on another processor
    assert changed(load_recipe("tiny-overfit", ["run.amp=fp16"]), load_recipe("tiny-overfit", ["run.amp=auto"]))
    bound = changed(old, load_recipe("tiny-overfit", ["loading.batch=2", "run.schedule.rate=1.0", "run.seed=3"]))
    assert sorted(line.split()[0] for line in bound) == ["loading.batch", "run.schedule.rate", "run.seed"]


def test_every_name_that_may_change_is_a_setting() -> None:
    known = {path for path, _ in recipe_module.settings_reader.names_in(Recipe)}
    assert set(recipe_module.FREE) <= known
