"""Build the parts of a run from a recipe: network, prompt encoders, batches, validation."""

from __future__ import annotations

import copy
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from xpose.data.collection.held_out import is_held_out
from xpose.data.collection.manifest import LOCATION, write_json
from xpose.data.loading.loader import Loader
from xpose.data.loading.pool import Pool, open_pool, read_places
from xpose.data.synthetic.scenes import write_synthetic
from xpose.errors import ConfigError, DataError, quote
from xpose.evaluation.data import Placed
from xpose.evaluation.questions import key_of
from xpose.inference.encoding import PromptEncoder
from xpose.inference.engines.torch import TorchEngine
from xpose.inference.engines.torch_loading import encoder_for, pick_device
from xpose.model import XPose
from xpose.model.checkpoints.calibration import Calibration
from xpose.model.checkpoints.categories import LearnedCategory
from xpose.model.checkpoints.known import bundled_weights
from xpose.model.checkpoints.pretrained import Pretrained, from_pretrained
from xpose.model.checkpoints.pretrained import build as with_weights
from xpose.model.presets import CALIBRATIONS
from xpose.model.prompting import ClipVisualPromptEncoder, TextEncoder
from xpose.records import Record, Skipped
from xpose.training.objective.closed_set import ClosedLoader, close
from xpose.training.recipes.learned import learned_categories
from xpose.training.recipes.left_out import LeftOut, look_alikes
from xpose.training.recipes.recipe import Drawn, Network, Recipe, TrainingData
from xpose.training.recipes.starting import load_backbone, settle_norms
from xpose.training.recipes.validation import PoseValidator
from xpose.training.run.prompt_batches import tensors_to_keep

_NORM_BATCHES = 4  # batches to set a new backbone's norms


@dataclass(frozen=True)
class Setup:
    """The parts of a run."""

    recipe: Recipe
    folder: Path
    model: XPose  # on its device
    prompts: PromptEncoder  # its `text` and its engine's `visual` also serve an averaged network
    loader: Loader
    validator: PoseValidator | None
    left_out: LeftOut
    encoders: dict[str, Tensor]  # non-CLIP tensors of the starting weights, saved with the trained weights
    calibration: Calibration  # likewise
    categories: tuple[LearnedCategory, ...]  # what the trained weights will have learned

    @property
    def text(self) -> TextEncoder:
        """The text encoder."""
        return self.prompts.text

    @property
    def visual(self) -> ClipVisualPromptEncoder | None:
        """CLIP's example encoder, if the run shows examples to a network that has no example encoder."""
        shown = self.recipe.prompting.visual + self.recipe.prompting.combined > 0
        engine = self.prompts.engine
        assert isinstance(engine, TorchEngine), type(engine)
        return engine.visual if shown and self.model.visual_prompts is None else None

    def kept(self) -> dict[str, Tensor]:
        """The prompt encoders' tensors that are saved with the network's weights."""
        whole = self.recipe.run.schedule.towers > 0
        if self.model.config.prompt_encoder != "clip" or not (whole or self.visual is not None):
            return self.encoders
        return self.encoders | tensors_to_keep(self.text, self.visual, whole=whole)


def build(
    recipe: Recipe, folder: Path, *, device: str | torch.device | None = None, rank: int = 0, ranks: int = 1
) -> Setup:
    """Make all parts of a run in a folder, for process number `rank` of `ranks`."""
    place = pick_device(device)
    data = placed(recipe.data, folder)
    left_out = LeftOut()
    loader = build_loader(recipe, data, left_out, folder, rank=rank, ranks=ranks)
    model, encoders, calibration, before = build_network(recipe.network, seed=recipe.run.seed)
    model = model.to(place)  # before its encoders, which follow it
    prompts = encoder_for(model, encoders, recipe.network.clip, fresh=True)
    if isinstance(loader, ClosedLoader):
        model = close(model, len(loader.classes))
    fresh = recipe.network.start is None and recipe.network.backbone is None
    if fresh and recipe.run.frozen_norms:
        whole = copy.copy(loader)  # over all processes, so that the start does not depend on their number
        whole.rank, whole.ranks, whole.batch_size = 0, 1, loader.batch_size * ranks
        settle_norms(model, (whole.batch(step) for step in range(_NORM_BATCHES)))
    validator = build_validator(recipe, data, left_out, loader, prompts, calibration) if rank == 0 else None
    small = {name: value for name, value in encoders.items() if not name.startswith("clip_model.")}
    categories = learned_categories(loader.pool, before)
    return Setup(recipe, folder, model, prompts, loader, validator, left_out, small, calibration, categories)


def build_network(network: Network, *, seed: int = 0) -> Pretrained:
    """The network with its starting weights, and what came with them."""
    torch.manual_seed(seed)
    if network.start is None:
        model = XPose(network.config)
        if network.backbone is not None:
            load_backbone(model, network.backbone)
        return Pretrained(model, {}, CALIBRATIONS.get(network.preset, Calibration()))
    path = bundled_weights().get(network.start, network.start)
    pretrained = from_pretrained(path)
    if not network.overrides:
        return pretrained
    config = network.overriding(pretrained.model.config)
    return pretrained._replace(model=with_weights(config, pretrained.model.state_dict(), Path(path)))


def placed(data: TrainingData, folder: Path) -> TrainingData:
    """The data with existing folders; pictures that the recipe draws are drawn now."""
    if data.drawn is not None:
        return replace(data, places=(str(_drawn(data.drawn, folder)),))
    remedy = "Name it: --data FOLDER." + (f" It needs: {data.needs}" if data.needs else "")
    if not data.places:
        raise ConfigError(f"No folder with pictures to train on was named. {remedy}")
    places = [Path(place).expanduser() for place in data.places]
    for place in places:
        if not place.is_dir():
            raise DataError(f"There is no folder {quote(place)} with pictures to train on. {remedy}")
    return replace(data, places=tuple(map(str, places)))


def _drawn(drawn: Drawn, folder: Path) -> Path:
    """The folder of the drawn pictures; they are drawn once, completely or not at all."""
    digest = hashlib.sha256(json.dumps(asdict(drawn), sort_keys=True).encode()).hexdigest()[:12]
    done = folder / f"drawn-{digest}"
    if done.is_dir():
        return done
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".drawing-") as temporary:
        half = Path(temporary) / done.name
        write_synthetic(
            half, drawn.count, drawn.seed, size=drawn.size, kinds=drawn.kinds, objects=drawn.objects, validation=0.0
        )
        write_json(half / LOCATION, {"root": str(done.resolve())})
        try:
            half.rename(done)
        except OSError:
            if not done.is_dir():  # otherwise another process drew the same pictures meanwhile
                raise
    return done


def build_loader(
    recipe: Recipe, data: TrainingData, left_out: LeftOut, folder: Path, *, rank: int = 0, ranks: int = 1
) -> Loader:
    """The batches of one process; `left_out` collects excluded data, `folder` caches what is computed once."""
    loading, examples = recipe.loading, recipe.prompting.examples
    if loading.batch % ranks:
        raise ConfigError(
            f"A batch of {loading.batch} pictures cannot be divided among {ranks} processes. Its size must be a "
            "multiple of their number: --set loading.batch=..."
        )
    # By default, examples are cut out at the size used for inference.
    side = examples.side or recipe.network.config.example_side
    kind = ClosedLoader if recipe.closed_set else Loader
    loader = kind(
        training_pool(data, left_out, folder),
        batch=loading.batch // ranks,
        seed=recipe.run.seed,
        augmentation=recipe.augmentation,
        sampling=recipe.sampling,
        prompting=replace(recipe.prompting, examples=replace(examples, side=side)),
        workers=loading.workers,
        threads=loading.threads,
        rank=rank,
        ranks=ranks,
    )
    if loading.keep_megabytes:
        loader.keep_pictures(loading.keep_megabytes, form=loading.keep_as)
    return loader


def training_pool(data: TrainingData, left_out: LeftOut | None = None, folder: Path | None = None) -> Pool:
    """The labels of the training pictures; `left_out` collects excluded data, `folder` caches look-alikes."""
    choose, missing = chooser(data.categories, data.families), left_out or LeftOut()
    alike: dict[str, str] = {}
    if data.apart is not None:
        try:
            alike = look_alikes(data.places, data.split, data.apart, folder)
        except DataError as error:  # a folder without such a split can still be used
            missing.nothing_apart = f"No pictures are kept apart (data.apart = {quote(data.apart)}): {error}"

    def keep(record: Record) -> Record | None:
        chosen, name = choose(record), f"{record.source}/{record.picture.file}"
        if chosen is not None and data.held_out and is_held_out(record.source, record.picture.file, data.held_out):
            missing.held_out += 1
            return None
        if chosen is not None and name in alike:
            missing.apart[name] = alike[name]
            return None
        return chosen

    return open_pool(data.places, data.split, only=data.only, without=data.without, keep=keep, skipped=missing.take)


def chooser(categories: Iterable[str], families: Iterable[str]) -> Callable[[Record], Record | None]:
    """A function that keeps a record's objects of these categories and families; None if none is left.

    Without a choice, everything is kept, including pictures without objects.
    """
    names, of = {name.casefold() for name in categories}, {name.casefold() for name in families}
    if not names and not of:
        return lambda record: record

    def choose(record: Record) -> Record | None:
        chosen = tuple(
            instance
            for instance in record.instances
            if (not names or instance.category.name.casefold() in names)
            and (not of or (instance.category.taxonomy.family or "").casefold() in of)
        )
        return replace(record, instances=chosen) if chosen else None

    return choose


def build_validator(
    recipe: Recipe, data: TrainingData, left_out: LeftOut, loader: Loader, prompts: PromptEncoder, start: Calibration
) -> PoseValidator | None:
    """The validator for use during training, always on the same pictures; None if the recipe keeps none for it."""
    validation = recipe.validation
    if validation.split is None and not data.held_out:
        return None
    split = validation.split or data.split
    choose = chooser(validation.categories or data.categories, validation.families or data.families)

    def chosen(skipped: Callable[[str, Skipped], None] | None = None) -> Iterator[Placed]:
        for place in validation.places or data.places:
            for record, where in read_places(Path(place).expanduser(), split, skipped=skipped):
                if (part := choose(record)) is not None:
                    yield part, where

    def tested(record: Record) -> bool:
        held_out = data.held_out and is_held_out(record.source, record.picture.file, data.held_out)
        in_sets = (not data.only or record.source in data.only) and record.source not in data.without
        with_points = any(instance.keypoints and not instance.iscrowd for instance in record.instances)
        return bool(validation.split is not None or held_out) and in_sets and with_points

    records = [pair for pair in chosen(left_out.take) if tested(pair[0])]
    if not records:
        raise DataError(
            f"There is no picture to test on (split {quote(split)}). Choose another: --set validation.split=... Or "
            "keep some back: --set data.held_out=0.1 --set validation.split=none"
        )
    records.sort(key=lambda pair: hashlib.sha256(key_of(pair[0]).encode()).digest())
    return PoseValidator(
        records[: validation.limit],
        prompts,
        asking=validation.prompts,
        # Examples come from the whole split; for a held-out part, this includes the training pictures.
        examples=list(chosen()) if set(validation.prompts) - {"text"} else [],
        classes=loader.classes if isinstance(loader, ClosedLoader) else (),
        calibration=start,
    )
