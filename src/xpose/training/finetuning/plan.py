"""The recipe of a fine-tuning run, chosen by how much there is to learn from. docs/finetuning.md gives the reasons.

start = starting_point("xpose-nano")
plan = choose(material, start)
plan.recipe, plan.size, plan.tested_on
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from xpose.data.collection.held_out import is_held_out
from xpose.errors import CheckpointError, ConfigError, DataError, counted, quote
from xpose.model.checkpoints.pretrained import CONFIG_FILE, from_pretrained
from xpose.model.checkpoints.weights import bundled_weights, default_weights
from xpose.model.config import XPoseConfig
from xpose.model.presets import CONFIGS
from xpose.training.finetuning.finetune_data import Material
from xpose.training.recipes import settings_reader
from xpose.training.recipes.recipe import Recipe, recipe_of

FEWEST = 5  # pictures; with less, example pictures as prompts do better without any training
LEAST_TESTED = 4  # pictures kept back, or none is
_SHARES = (0.1, 0.2, 0.3, 0.4)  # to keep back, the first that gives enough
FULL_RATE = {"mobilenetv2": 4e-4}  # at 16 pictures a step, for a network that starts from nothing
OTHER_RATE = 1e-4
TestedOn = Literal["held-out pictures", "a split of its own", "the training pictures"]


@dataclass(frozen=True)
class Size:
    """What is done with so many pictures."""

    name: str
    most: float  # pictures
    steps: int
    batch: int
    rate: float  # share of the full one
    backbone: float  # share of that rate for the backbone; 0 freezes it
    average: float
    scale: tuple[float, float]
    visual: float  # shares of steps
    combined: float


SIZES = (
    Size("few-shot", 50, 300, 8, 0.5, 0.0, 0.98, (0.7, 1.4), 0.3, 0.2),
    Size("small", 500, 1500, 8, 0.5, 0.1, 0.995, (0.7, 1.4), 0.3, 0.1),
    Size("medium", 5000, 6000, 16, 0.5, 0.1, 0.999, (0.6, 1.5), 0.3, 0.1),
    Size("large", float("inf"), 20000, 16, 1.0, 0.25, 0.9995, (0.6, 1.5), 0.3, 0.1),
)
LONGER = 4  # times as many steps for a network that starts from nothing


@dataclass(frozen=True)
class Start:
    """What the run starts from."""

    network: dict[str, Any]  # the recipe's table
    config: XPoseConfig
    weights: str | None  # None: from nothing


@dataclass(frozen=True)
class Plan:
    """A recipe, and what was decided for it."""

    recipe: Recipe
    size: str
    tested_on: TestedOn
    tested: int  # pictures


def starting_point(
    weights: str | None,
    *,
    from_scratch: bool = False,
    backbone: Path | None = None,
    clip: Path | None = None,
    changes: Iterable[str] = (),
) -> Start:
    """What to start from: named weights, those that come with the package, or nothing where that is wanted.

    `changes` are those of `choose`: they too may name the weights (network.start) or the network (network.preset).

    Raises:
        CheckpointError: there are no such weights, or none were named and none come with the package.
        ConfigError: choices that exclude each other.
    """
    wanted: dict[str, Any] = {}
    for text in changes:
        with suppress(ConfigError):  # `choose` reports it, with all other faults
            wanted = settings_reader.merged(wanted, settings_reader.assigned(Recipe, text).get("network", {}))
    weights = weights if weights is not None else wanted.get("start")
    if from_scratch and weights is not None:
        raise ConfigError(
            f"--weights {quote(weights)} and --from-scratch exclude each other. Weights are what to start from. Give "
            "one of them."
        )
    if backbone is not None and not from_scratch:
        raise ConfigError(
            f"--backbone {quote(str(backbone))} is for --from-scratch: trained weights have a backbone of their own. "
            "Leave one of them out, or add --from-scratch."
        )
    more = {} if clip is None else {"clip": str(clip)}
    if from_scratch:
        table = more if backbone is None else {**more, "backbone": str(backbone)}
        preset = wanted.get("preset")
        return Start(table, CONFIGS[preset if preset in CONFIGS else "xpose-nano"](), None)
    if weights is None:
        try:
            weights = default_weights()
        except CheckpointError:
            raise CheckpointError(
                "This installation of xpose is without its trained weights, and fine-tuning starts from some. Name "
                "them with --weights: a weight folder, a file in the released layout, or owner/name on the Hugging "
                "Face hub (known ones: xpose models). Or train a small network from nothing: --from-scratch, with "
                "--backbone FILE of an ImageNet backbone if you have one."
            ) from None
    config = _config_of(str(weights))
    table = {**more, "start": str(weights)}
    return Start({**table, "preset": config.name} if config.name in CONFIGS else table, config, str(weights))


def _config_of(weights: str) -> XPoseConfig:
    path = Path(bundled_weights().get(weights, Path(weights).expanduser()))
    folder = path if path.is_dir() else path.parent
    if (path.is_dir() or path.suffix == ".safetensors") and (folder / CONFIG_FILE).is_file():
        file = folder / CONFIG_FILE
        return XPoseConfig.from_json(file.read_text(encoding="utf-8"), quote(file))
    return from_pretrained(weights).model.config


def refuse_too_few(material: Material) -> None:
    """Send those with a handful of pictures where they are served better.

    Raises:
        DataError: there are fewer than `FEWEST` pictures.
    """
    if material.pictures < FEWEST:
        count = counted(material.pictures, "picture")
        raise DataError(
            f"There {'are' if material.pictures > 1 else 'is'} only {count} with labelled keypoints, and fine-tuning "
            f"needs at least {FEWEST}. Show them as examples instead, which needs no training: xpose detect photo.jpg "
            "--like PICTURE --points FILE.json (docs/prompts.md). Or fine-tune anyway with --force."
        )


def choose(material: Material, start: Start, changes: Iterable[str] = ()) -> Plan:
    """The recipe for what there is to learn from.

    Args:
        material: what to learn from.
        start: what to start from.
        changes: `a.b=value` each, over what is chosen here.

    Raises:
        ConfigError: a change does not fit.
    """
    size = next(size for size in SIZES if material.pictures <= size.most)
    held_out = 0.0 if material.validation else share_to_hold_out(material)
    table = {
        "about": f"fine-tuning on {counted(material.pictures, 'picture')} of {material.place.name} ({size.name})",
        "network": start.network,
        "data": {"places": [str(material.place)], "split": material.split, "held_out": held_out},
        "loading": {"batch": min(size.batch, material.pictures), "threads": 1, "keep_megabytes": 500.0},
        "augmentation": _augmentation(size, start.config, material),
        "prompting": _prompting(size, start.config, material),
        "run": _run(size, start),
        "validation": _validation(size, start, material, held_out),
    }
    recipe = _from_anywhere(recipe_of("fine-tuning", table, changes))
    return Plan(recipe, size.name, *_tested(recipe, material))


def _from_anywhere(recipe: Recipe) -> Recipe:
    """The recipe with whole paths, so that it means the same wherever it is kept and used."""
    network, data, validation = recipe.network, recipe.data, recipe.validation
    start = network.start if network.start in bundled_weights() else _whole(network.start)
    return recipe.replace(
        network=replace(network, start=start, backbone=_whole(network.backbone), clip=_whole(network.clip)),
        data=replace(data, places=tuple(map(_absolute, data.places))),
        validation=replace(validation, places=tuple(map(_absolute, validation.places))),
    )


def _absolute(path: str) -> str:
    return os.path.abspath(Path(path).expanduser())


def _whole(path: str | None) -> str | None:
    """An absolute path; what does not exist here may be a name on the hub, and stays as it is."""
    if path is None or not Path(path).expanduser().exists():
        return path
    return _absolute(path)


def share_to_hold_out(material: Material) -> float:
    """The share of the pictures that is kept back: the least that gives a few, or none where that would cost too much.

    Which pictures it takes is decided by their names (`xpose.data.collection.held_out`), so a share of few pictures is
    counted.
    """
    for share in _SHARES:
        if _held_out(material, share) >= LEAST_TESTED and material.pictures >= 4 * LEAST_TESTED:
            return share
    return 0.0


def _held_out(material: Material, share: float) -> int:
    return sum(is_held_out(record.source, record.picture.file, share) for record, _ in material.usable)


def _reads_examples(config: XPoseConfig) -> bool:
    return config.prompt_encoder == "nano"


def _augmentation(size: Size, config: XPoseConfig, material: Material) -> dict[str, Any]:
    small = config.backbone == "mobilenetv2"
    table: dict[str, Any] = {"size": config.image_short if small else settings_reader.NONE, "scale": list(size.scale)}
    return {**table, "flip": 0.0} if material.numbered else table


def _prompting(size: Size, config: XPoseConfig, material: Material) -> dict[str, Any]:
    examples: dict[str, Any] = {"shots": [1, max(1, min(3, material.pictures - 1))]}
    if material.numbered:
        examples["flip"] = 0.0
    if not _reads_examples(config) or material.pictures < 2:
        return {"visual": 0.0, "combined": 0.0, "absent": [0, 4], "examples": examples}
    return {"visual": size.visual, "combined": size.combined, "absent": [0, 4], "examples": examples}


def _run(size: Size, start: Start) -> dict[str, Any]:
    full = FULL_RATE.get(start.config.backbone, OTHER_RATE)
    scratch = start.weights is None
    steps = size.steps * (LONGER if scratch else 1)
    return {
        "steps": steps,
        "average": size.average,
        "clip": 0.5 if start.config.backbone == "mobilenetv2" else 0.1,
        "log_steps": 10 if steps < 1000 else 20,
        "schedule": {
            "rate": full if scratch else full * size.rate,
            "backbone": 0.25 if scratch else size.backbone,
            "warm_up": min(500, steps // 10),
        },
    }


def _validation(size: Size, start: Start, material: Material, held_out: float) -> dict[str, Any]:
    prompts = ["text", "visual"] if _reads_examples(start.config) else ["text"]
    table: dict[str, Any] = {"every": size.steps // 5, "limit": 200, "prompts": prompts}
    if material.validation:
        return {**table, "split": material.validation}
    return table if held_out else {**table, "split": material.split}


def _tested(recipe: Recipe, material: Material) -> tuple[TestedOn, int]:
    """What the numbers of the recipe speak of, also after the user's changes."""
    split, limit = recipe.validation.split, recipe.validation.limit
    if split is None:
        return "held-out pictures", min(limit, _held_out(material, recipe.data.held_out))
    if split == recipe.data.split:
        return "the training pictures", min(limit, material.pictures)
    return "a split of its own", min(limit, material.tested)
