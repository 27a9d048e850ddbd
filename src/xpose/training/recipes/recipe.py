"""Recipes: everything a training run depends on, as typed settings that are checked together.

    recipe = load_recipe("nano-real", ["run.steps=500", "loading.batch=8"], data=["../shared/data"])

A recipe is a TOML file and can begin with `base = "nano-real"`. Its tables match the dataclasses below and the nested
ones, field by field, so that files and code use the same names.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from xpose.data.loading.loader import Prompting
from xpose.data.loading.pictures import Form
from xpose.data.loading.sampling import Sampling
from xpose.data.loading.transforms import Augmentation
from xpose.data.synthetic.toys import KINDS
from xpose.errors import ConfigError, counted, did_you_mean, out_of_range, quote, refuse
from xpose.model.config import CALIBRATION_KEYS, XPoseConfig
from xpose.training.recipes import settings_reader
from xpose.training.recipes.settings_reader import Table
from xpose.training.run.settings import RunSettings


@dataclass(frozen=True)
class Network:
    """The network to train and its initial weights."""

    preset: str = "xpose-nano"
    overrides: Mapping[str, Any] = field(default_factory=dict)  # settings of the network (XPoseConfig) by name
    backbone: str | None = None  # file or folder of a backbone trained elsewhere to start from
    # Weights to start from: a folder, a file in the released layout, or a hub id; they determine the preset.
    start: str | None = None
    clip: str | None = None  # folder or hub id of CLIP ViT-B/32, for networks that read words through it

    def __post_init__(self) -> None:
        from xpose.model.presets import CONFIGS

        if calibrated := [f"network.overrides.{name}" for name in self.overrides if name in CALIBRATION_KEYS]:
            fault = f"{', '.join(calibrated)}: this is calibration, which `xpose calibrate` fits to trained weights"
            refuse("The network does", [fault])
        faults = self._overridden(CONFIGS.get(self.preset, CONFIGS["xpose-nano"]))[1]
        if self.preset not in CONFIGS:  # without the preset only names can be checked
            near = did_you_mean(self.preset, CONFIGS)
            faults = [fault for fault in faults if " is unknown." in fault]
            faults.insert(0, f"preset is {quote(self.preset)}, not one of {', '.join(CONFIGS)}.{near}")
        elif self.backbone and self.start:
            faults.append("backbone and start are both given; weights to start from have a backbone of their own")
        refuse("The network does", faults)

    def _overridden(self, config: XPoseConfig) -> tuple[XPoseConfig | None, list[str]]:
        table = settings_reader.merged(settings_reader.to_table(config), self.overrides)
        return settings_reader.read(XPoseConfig, table, "network.overrides")

    @cached_property
    def config(self) -> XPoseConfig:
        """The preset with the overrides applied."""
        from xpose.model.presets import CONFIGS

        return self.overriding(CONFIGS[self.preset])

    def overriding(self, config: XPoseConfig) -> XPoseConfig:
        """Apply the overrides to `config`."""
        result, faults = self._overridden(config)
        refuse("The network does", faults)
        assert result is not None
        return result


@dataclass(frozen=True)
class Drawn:
    """Pictures drawn for the run, as by `xpose data synthetic`."""

    count: int = 16
    kinds: tuple[str, ...] = tuple(KINDS)
    size: tuple[int, int] = (320, 240)
    objects: tuple[int, int] = (1, 1)
    seed: int = 0

    def __post_init__(self) -> None:
        faults = [f"kinds has {quote(kind)}, not one of {', '.join(KINDS)}" for kind in self.kinds if kind not in KINDS]
        if self.count < 1 or min(self.size) < 32 or not self.kinds or not 0 <= self.objects[0] <= self.objects[1]:
            faults.append("count must be at least 1, sides at least 32, kinds not empty, objects from few to many")
        refuse("The drawn pictures do", faults)


@dataclass(frozen=True)
class TrainingData:
    """The training data."""

    places: tuple[str, ...] = ()  # prepared sets, collections, folders of COCO sets
    split: str = "train"
    only: tuple[str, ...] = ()  # names of sets; all if empty
    without: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()  # only objects of these; all if empty
    families: tuple[str, ...] = ()  # only animals of these families, as stated by their set; all if empty
    held_out: float = 0.0  # share of the pictures kept for validation, chosen by name
    apart: str | None = None  # a split of the same places; its pictures and their look-alikes are excluded
    drawn: Drawn | None = None  # instead of places
    needs: str = ""  # what to fetch and prepare, for the message if it is missing

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"held_out is {self.held_out}, not a share from 0 up to 1")
        if self.apart is not None and self.apart == self.split:
            raise ConfigError(f"apart is {quote(self.apart)}, which is the split that is learned from. Name another.")


@dataclass(frozen=True)
class Loading:
    """How batches are made; only `batch` affects the training result."""

    batch: int = 16  # pictures per step, all processes together (times run.accumulate for a step of the optimiser)
    workers: int = 0  # processes that make batches, for each process that trains
    threads: int = 0  # threads that make them if there are no workers
    keep_megabytes: float = 0.0  # memory for small copies of the pictures
    keep_as: Form = "pixels"

    def __post_init__(self) -> None:
        faults = out_of_range(self, 1, "batch") + out_of_range(self, 0, "workers", "threads", "keep_megabytes")
        refuse("The loading does", faults)


@dataclass(frozen=True)
class Validation:
    """How the averaged network is tested during training, on the held-out pictures or on a split."""

    every: int = 1000  # steps; 0 = only after the last one
    limit: int = 500  # pictures at most; the same ones every time
    split: str | None = None  # None: the held-out share; if nothing is held out, nothing is tested
    places: tuple[str, ...] = ()  # the training places if empty
    categories: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    prompts: tuple[Literal["text", "visual", "combined"], ...] = ("text",)
    best: Literal["PCK@0.1", "PCK@0.2"] = "PCK@0.1"  # averaged over the prompts; the best weights are kept
    pictures: int = 8  # drawn into the report

    def __post_init__(self) -> None:
        faults = out_of_range(self, 0, "every", "pictures") + out_of_range(self, 1, "limit")
        if not self.prompts or len(set(self.prompts)) != len(self.prompts):
            faults.append(f"prompts is {list(self.prompts)}; each kind at most once, at least one")
        refuse("The validation does", faults)

    def best_step(self, tested: Mapping[int, Mapping[str, float]]) -> int | None:
        """The first step at which the mean of the measure `best` over the prompts is highest."""
        means = {
            step: fmean(measures.get(f"{way} {self.best}", math.nan) for way in self.prompts)
            for step, measures in sorted(tested.items())
        }
        return max((step for step, mean in means.items() if math.isfinite(mean)), key=means.__getitem__, default=None)


@dataclass(frozen=True)
class Output:
    """What a run writes besides its log and state."""

    weights: Literal["float16", "float32"] = "float16"
    tensorboard: bool = False
    report_minutes: float = 3.0  # between two versions of report.html; 0 = only at the end

    def __post_init__(self) -> None:
        refuse("The output does", out_of_range(self, 0, "report_minutes"))


@dataclass(frozen=True)
class Recipe:
    """A whole run."""

    run: RunSettings
    about: str = ""  # one line
    network: Network = field(default_factory=Network)
    data: TrainingData = field(default_factory=TrainingData)
    loading: Loading = field(default_factory=Loading)
    sampling: Sampling = field(default_factory=Sampling)
    augmentation: Augmentation = field(default_factory=Augmentation)
    prompting: Prompting = field(default_factory=Prompting)
    validation: Validation = field(default_factory=Validation)
    output: Output = field(default_factory=Output)

    def to_toml(self) -> str:
        """The recipe with every setting, as a file that `load_recipe` reads."""
        table = settings_reader.to_table(self)
        return settings_reader.to_toml({"about": table.pop("about"), **table})

    @property
    def closed_set(self) -> bool:
        """Whether classes are known by number, as in the ablation without object alignment."""
        return self.run.weights.closed_set > 0


# Settings that can change when a run is continued: they affect how it proceeds, not what it learns.
FREE = (
    *("about", "data.places", "data.needs", "validation", "output", "network.backbone", "network.start"),
    *("network.clip", "loading.workers", "loading.threads", "loading.keep_megabytes", "loading.keep_as"),
    *("run.save_minutes", "run.keep", "run.log_steps", "run.checkpointing", "run.compile"),
)


def changed(old: Recipe, new: Recipe) -> list[str]:
    """The settings, with both values, that prevent a run from continuing with another recipe."""
    return [
        f"{path} was {was!r}, now {now!r}"
        for path, was, now in settings_reader.differences(settings_reader.to_table(old), settings_reader.to_table(new))
        if not any(path == free or path.startswith(f"{free}.") for free in FREE)
        and not (path == "run.amp" and "auto" in (was, now) and "fp16" not in (was, now))
    ]


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.toml"))}


def load_recipe(name: str | Path, changes: Iterable[str] = (), *, data: Sequence[str | Path] = ()) -> Recipe:
    """Load a shipped recipe by name, or one from a TOML file, with changes of the form `a.b=value`.

    `data` are folders of training pictures, instead of the recipe's.

    Raises:
        ConfigError: there is no such recipe, or settings are invalid; all faults are named.
    """
    places = {"data": {"places": [str(place) for place in data], "drawn": settings_reader.NONE}} if data else {}
    return recipe_of(name, read_table(name), changes, places)


def recipe_of(name: str | Path, table: Table, changes: Iterable[str] = (), last: Table | None = None) -> Recipe:
    """Make a recipe from a table with changes (`a.b=value`); the table `last` overrides both."""
    faults: list[str] = []
    for text in changes:
        try:
            table = settings_reader.merged(table, settings_reader.assigned(text))
        except ConfigError as error:
            faults.append(str(error))
    recipe, misfits = settings_reader.read(Recipe, settings_reader.merged(table, last or {}))
    faults += misfits
    if recipe is None or faults:
        sound = name if str(name) in shipped_recipes() else "nano-real"
        raise ConfigError(
            f"The recipe {quote(name)} has {counted(len(faults), 'fault')}:\n  " + "\n  ".join(faults) + "\n"
            f"A whole recipe to compare with: xpose train {sound} --show"
        )
    return recipe


def read_table(name: str | Path) -> dict[str, Any]:
    """The tables of a recipe file, merged over those of its base, a shipped recipe."""
    shipped = shipped_recipes()
    path = shipped.get(str(name), Path(name).expanduser())
    if path.suffix != ".toml" or not path.is_file():
        what = "file" if path.suffix == ".toml" else "recipe"
        raise ConfigError(
            f"There is no {what} {quote(name)}.{did_you_mean(str(name), shipped)} Give a TOML file, or one of those "
            "that are listed with: xpose train --list"
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            f"{quote(path)} is not a readable TOML file ({error}). Correct it; for a valid example, see: "
            "xpose train nano-real --show"
        ) from None
    base = table.pop("base", None)
    if base is None:
        return table
    if base not in shipped:
        raise ConfigError(
            f"The recipe {quote(name)} has the base {base!r}, which is not a shipped recipe."
            f"{did_you_mean(str(base), shipped)} List them with: xpose train --list"
        )
    return settings_reader.merged(read_table(base), table)
