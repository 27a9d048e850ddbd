"""Miniature trees that every shipped recipe can run on, and what makes a recipe small enough for the suite."""

from __future__ import annotations

from pathlib import Path

from tests.data.small_sets import category, record, write_prepared

from xpose.data.collection.unify import Choices, unify
from xpose.records import Category, Record, Taxonomy
from xpose.training.recipes.recipe import Recipe, load_recipe

PERSON = category("person")
FAMILIES = {"cow": "Bovidae", "dog": "Canidae", "cat": "Felidae"}
ANIMALS = {name: category(name, "ap10k", Taxonomy(family=family)) for name, family in FAMILIES.items()}
SETS = (
    *("coco", "300w", "onehand10k", "humanart", "apt36k", "macaquepose", "animal-kingdom", "animalweb"),
    *("vinegar-fly", "desert-locust", "keypoint-5", "mp100"),
)


def write_trees(root: Path) -> None:
    """`sets/ap10k` with three families, `sets/mp100` with the five splits, `collection` of thirteen sets."""
    prepared(root / "sets", "ap10k", {"train": list(ANIMALS.values()) * 2, "val": list(ANIMALS.values())})
    splits = {f"split{n}-{part}": [ANIMALS["cow"], ANIMALS["dog"]] for n in range(1, 6) for part in ("train", "val")}
    prepared(root / "sets", "mp100", splits)
    for name in SETS:
        prepared(root / "parts", name, {"train": [PERSON, PERSON], "val": [PERSON]})
    sources = [*(root / "parts" / name for name in SETS), root / "sets" / "ap10k"]
    unify(sources, root / "collection", Choices(leaks="off", samples={}))


def write_clip(folder: Path) -> Path:
    """A CLIP of transformers' layout with random weights, for examples of 32 pixels; made once."""
    from transformers import CLIPConfig, CLIPModel

    if not folder.is_dir():
        layers = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        layers |= {"projection_dim": _CLIP_WIDTH}
        vision = {**layers, "image_size": 32, "patch_size": 8}
        config = CLIPConfig(text_config=layers, vision_config=vision, projection_dim=_CLIP_WIDTH)
        CLIPModel(config).save_pretrained(folder)
    return folder


def prepared(root: Path, name: str, splits: dict[str, list[Category]]) -> Path:
    """A prepared set with one picture per category that is given."""
    records: list[Record] = []
    for split, kinds in splits.items():
        records += [record(name, split, f"{split}/{n}.png", [kind]) for n, kind in enumerate(kinds)]
    files = {one.picture.file: n % 6 for n, one in enumerate(records)}
    return write_prepared(root, name, records, files)


def place_of(recipe: Recipe, root: Path) -> list[Path]:
    """Where a shipped recipe finds its data in the miniature trees."""
    if recipe.data.drawn is not None:
        return []
    return [root / (recipe.data.places[0] if recipe.data.places else "sets/ap10k")]


_CLIP_WIDTH = 24
_SIZES = {"dim": 32, "heads": 4, "ffn": 32, "encoder_layers": 1, "fusion_width": 32, "prompt_ffn": 32, "queries": 12}
_SIZES |= {"object_layers": 1, "keypoint_layers": 1, "instances": 3, "image_short": 64, "image_long": 64}
_SWIN = {"dim": 8, "depths": [1, 1, 1, 1], "heads": [1, 2, 2, 4], "window": 3}


def small(name: str | Path, root: Path, *changes: str) -> Recipe:
    """A recipe with a network, pictures and numbers of steps that take a second; its switches stay as they are."""
    recipe = load_recipe(name)
    sizes = [f"network.overrides.{key}={value}" for key, value in _SIZES.items()]
    if recipe.network.config.backbone == "swin":
        sizes += [f"network.overrides.swin.{key}={value}" for key, value in _SWIN.items()]
    if recipe.network.config.prompt_encoder == "clip":  # whose weights are not in the package
        sizes += [f"network.overrides.prompt_width={_CLIP_WIDTH}", f'network.clip="{write_clip(root / "clip")}"']
    if recipe.network.preset == "xpose-r50":
        sizes += ["network.overrides.backbone=mobilenetv2"]
    settings = [
        *("run.steps=2", "run.log_steps=1", "loading.batch=2", "loading.workers=0", "loading.threads=0"),
        *("augmentation.size=64", "validation.limit=2", "validation.pictures=1", "loading.keep_megabytes=1"),
        *("network.overrides.example_side=32", "prompting.examples.least_side=8", "prompting.examples.shots=[1, 1]"),
    ]
    if recipe.data.drawn is not None:
        settings += ["data.drawn.size=[64, 64]", "data.drawn.count=8"]
    if recipe.data.apart is not None:
        settings += ["data.apart=none"]  # the miniature trees show the same pictures in all splits
    if name == "nano-real-open":
        settings += ["data.only=[]"]  # they have none of its sets either
    if recipe.data.held_out:
        settings += ["data.held_out=0.5"]
    if recipe.run.denoising is not None:
        settings += ["run.denoising.queries=4"]
    return load_recipe(name, [*sizes, *settings, *changes], data=place_of(recipe, root))
