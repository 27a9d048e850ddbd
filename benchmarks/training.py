"""Cost of a training step by stage, compared with the same step with padded prompts and full attention.

    python benchmarks/training.py                                 # nano and Swin-T, a minute or more each
    python benchmarks/training.py nano --side 128 --batch 2 --repeats 2
    python benchmarks/training.py swin-t --device cuda --amp bf16 --json out/training.json

Pictures are synthetic, with objects and keypoints; they have the sizes of training, and prompts with kinds that they
show and some that they do not. The other form is that of the released network: 350 class slots, 68 keypoint slots, all
keypoint groups in one attention under a mask (of 3450 × 3450 entries for 50 groups), grid_sample, the wide fusion.
Both forms get the same pictures and compute the same loss, which is printed. Their steps alternate, so that drifts of
the machine's speed favour neither; memory is measured in a process per form. Loading is measured separately, since
in training it runs in parallel to the steps.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from forward import plain_forms
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

from xpose.data.loading.batches import Batch
from xpose.data.loading.loader import Loader, Prompting
from xpose.data.loading.pool import open_pool
from xpose.data.loading.transforms import Augmentation
from xpose.data.synthetic.scenes import write_synthetic
from xpose.model import PromptEmbeddings, XPose
from xpose.model.presets import CONFIGS
from xpose.training.run import hardware
from xpose.training.run.prompt_batches import PromptBatch, PromptMaker
from xpose.training.run.settings import AMP, MovingAverage, RunSettings, optimizer_for
from xpose.training.run.step import TrainStep, change

CLASSES, SLOTS = 350, 68  # of the released network
DEFAULTS = {"nano": ("xpose-nano", 320, 8), "swin-t": ("xpose-swin-t", 800, 1)}  # preset, side, batch
STAGES = ("data", "prompts", "backbone", "encoder", "decoder", "losses", "backward", "step")
FORMS = ("ours", "padded")


class RandomWords:
    """Random embeddings seeded by the text; real encoders cache texts, so their time is not part of the step."""

    runs = 0

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def encode(self, texts: list[str]) -> np.ndarray:
        """A row for each text."""
        rows = [np.random.default_rng(list(text.encode())).standard_normal(self.dim) for text in texts]
        return np.array(rows, np.float32).reshape(-1, self.dim)


class PaddedPromptMaker(PromptMaker):
    """The same prompts, padded to the slots of the released network."""

    def __call__(self, batch: Batch, *, seed: int = 0) -> PromptBatch:
        """The padded prompts."""
        question = super().__call__(batch, seed=seed)
        return replace(question, prompts=padded_prompts(question.prompts), targets=padded_targets(question.targets))


def padded_prompts(prompts: PromptEmbeddings) -> PromptEmbeddings:
    classes, points = CLASSES - prompts.objects.shape[1], SLOTS - prompts.keypoints.shape[2]
    return PromptEmbeddings(
        F.pad(prompts.objects, (0, 0, 0, classes)),
        F.pad(prompts.object_mask, (0, classes)),
        F.pad(prompts.keypoints, (0, 0, 0, points)),
        F.pad(prompts.keypoint_mask, (0, points)),
        F.pad(prompts.keypoint_set, (0, classes)),
    )


def padded_targets(targets: Any) -> Any:
    points = SLOTS - targets.real.shape[2]
    changed = {
        "keypoints": F.pad(targets.keypoints, (0, 0, 0, points)),
        "sigmas": F.pad(targets.sigmas, (0, points), value=1),
    }
    changed |= {name: F.pad(getattr(targets, name), (0, points)) for name in ("visibility", "real", "absent")}
    per_class = [f.name for f in fields(targets) if f.name == "incomplete" and targets.incomplete is not None]
    changed |= {
        name: F.pad(getattr(targets, name), (0, CLASSES - getattr(targets, name).shape[1])) for name in per_class
    }
    return replace(targets, **changed)


@dataclass
class Watch:
    """Seconds by stage; only the outermost of nested stages counts."""

    device: torch.device
    seconds: dict[str, float]
    inside: str | None = None

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Measure the time of a block."""
        if self.inside is not None:
            yield
            return
        self.inside = stage
        start = self._now()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + self._now() - start
            self.inside = None

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def around(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function to time it."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self(stage):
                return function(*args, **kwargs)

        return timed


class Bench:
    """One network with its batches, for steps in either form."""

    def __init__(self, preset: str, side: int, batch: int, options: argparse.Namespace, folder: Path) -> None:
        torch.manual_seed(0)
        self.device = torch.device(options.device)
        self.run = RunSettings(steps=10**6, amp=options.amp, checkpointing=options.checkpointing)
        self.loader = loader_of(folder, side, batch, options.objects, options.absent)
        self.model = XPose(CONFIGS[preset]).to(self.device).train()
        for module in self.model.backbone.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        if options.checkpointing:
            hardware.recompute(self.model)
        self.optimizer = optimizer_for(self.run.schedule.groups(self.model), self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=options.amp == "fp16")
        self.average = MovingAverage(self.model, self.run.average).to(self.device)
        self.words = RandomWords(self.model.config.prompt_width)

    def train_step(self, form: str) -> TrainStep:
        """The loop's step, with the prompt slots of the form."""
        step = TrainStep(self.model, self.words, self.run)
        if form == "padded":
            step.prompts = PaddedPromptMaker(self.model, self.words)
        return step

    def loss(self, form: str, number: int) -> float:
        """The loss of a batch, without a weight update."""
        with plain_forms() if form == "padded" else nullcontext(), torch.no_grad(), self.autocast():
            return float(self.train_step(form)(self.loader.batch(number))["total"])

    def autocast(self) -> torch.autocast:
        """The requested precision."""
        dtype = hardware.precision(self.run.amp, self.device)
        return torch.autocast(self.device.type, dtype, enabled=dtype is not None)

    def step(self, form: str, number: int) -> dict[str, float]:
        """Take a whole step; return the seconds of every stage."""
        watch = Watch(self.device, {})
        with plain_forms() if form == "padded" else nullcontext():
            with watch("data"):
                batch = self.loader.batch(number)
            module = self.train_step(form)
            with staged(module, watch), self.autocast():
                total = module(batch)["total"]
            with watch("backward"):
                self.scaler.scale(total).backward()
            with watch("step"):
                change(self.optimizer, self.scaler, self.run.clip)
                self.average.update_parameters(self.model)
                self.optimizer.zero_grad(set_to_none=True)
        return watch.seconds


@contextmanager
def staged(module: TrainStep, watch: Watch) -> Iterator[None]:
    """Time the parts of the real step by wrapping them."""
    model: XPose = module.model
    parts = {
        "backbone": (model, "encode_image"),
        "encoder": (model.encoder, "forward"),
        "decoder": (model.selection, "forward"),
        "decoder ": (model.object_decoder, "forward"),
        "decoder  ": (model.keypoint_decoder, "forward"),
        "prompts": (module.prompts, "project"),
    }
    for stage, (part, name) in parts.items():
        setattr(part, name, watch.around(stage.strip(), getattr(part, name)))
    maker, criterion = module.prompts, module.criterion
    module.prompts = WatchedPromptMaker(maker, watch)
    module.criterion = watch.around("losses", criterion)  # type: ignore[assignment]
    try:
        yield
    finally:
        for part, name in parts.values():
            delattr(part, name)
        module.prompts, module.criterion = maker, criterion


class WatchedPromptMaker:
    """A timed prompt maker."""

    def __init__(self, maker: PromptMaker, watch: Watch) -> None:
        self.maker, self.watch = maker, watch

    def __call__(self, batch: Batch, **settings: Any) -> PromptBatch:
        """The prompts of a batch."""
        with self.watch("prompts"):
            return self.maker(batch, **settings)

    def project(self, question: PromptBatch) -> Any:
        """The prompts in the network's width."""
        return self.maker.project(question)


def loader_of(folder: Path, side: int, batch: int, objects: int, absent: int) -> Loader:
    if not folder.exists():
        write_synthetic(
            folder, 4 * batch, seed=0, size=(side * 4 // 3, side), objects=(objects, objects), validation=0.0
        )
    return Loader(
        open_pool([folder], "train"),
        batch=batch,
        augmentation=Augmentation(size=side),
        prompting=Prompting(visual=0.0, absent=(absent, absent)),
    )


def measured(bench: Bench, repeats: int) -> dict[str, dict[str, float]]:
    """Median seconds per form and stage; a first round warms up."""
    found: dict[str, list[dict[str, float]]] = {form: [] for form in FORMS}
    for turn in range(repeats + 1):
        for form in FORMS:
            seconds = bench.step(form, turn)
            if turn:
                found[form].append(seconds)
    return {
        form: {stage: statistics.median(row.get(stage, 0.0) for row in rows) for stage in STAGES}
        for form, rows in found.items()
    }


def whole(seconds: dict[str, float]) -> float:
    """Seconds of a step, without loading."""
    return sum(value for stage, value in seconds.items() if stage != "data")


def peak_of(form: str, preset: str, side: int, batch: int, options: argparse.Namespace, folder: Path) -> float:
    """Peak MiB of a step above the loaded network, in this process; see `peak_memory`."""
    bench = Bench(preset, side, batch, options, folder)
    if bench.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(bench.device)
        before = torch.cuda.memory_allocated(bench.device)
        bench.step(form, 0)
        return (torch.cuda.max_memory_allocated(bench.device) - before) / 2**20
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    bench.step(form, 0)
    return (status("VmHWM") - before) / 1024


def status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


def peak_memory(form: str, name: str, folder: Path) -> float | None:
    """`peak_of` in a fresh process; None if the system does not report it."""
    if not torch.cuda.is_available() and not Path("/proc/self/clear_refs").exists():
        return None
    command = [sys.executable, __file__, *sys.argv[1:], "--peak", name, form, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"The memory of {name} ({form}) was not measured:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(DEFAULTS)}; all where none is named")
    parser.add_argument("--side", type=int, help="of the pictures; the network's usual one where left out")
    parser.add_argument("--batch", type=int, help="pictures per step")
    parser.add_argument("--objects", type=int, default=3, help="per picture")
    parser.add_argument("--absent", type=int, default=4, help="kinds per picture that are asked for and not there")
    parser.add_argument("--amp", choices=tuple(AMP), default="none")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peak", nargs=3, metavar=("NETWORK", "FORM", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    strange = [name for name in options.networks if name not in DEFAULTS]
    if strange:
        parser.error(f"unknown network {strange[0]}; there are {', '.join(DEFAULTS)}")
    return options


def sizes(name: str, options: argparse.Namespace) -> tuple[str, int, int]:
    preset, side, batch = DEFAULTS[name]
    return preset, options.side or side, options.batch or batch


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    if options.peak:
        name, form, folder = options.peak
        print(peak_of(form, *sizes(name, options), options, Path(folder)))
        return
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.networks or DEFAULTS:
            preset, side, batch = sizes(name, options)
            folder = Path(temporary) / name
            bench = Bench(preset, side, batch, options, folder)
            losses = {form: bench.loss(form, 0) for form in FORMS}
            seconds = measured(bench, options.repeats)
            del bench
            peaks = {form: peak_memory(form, name, folder) for form in FORMS}
            results[name] = {"side": side, "batch": batch, "loss": losses, "seconds": seconds, "MiB": peaks}
            show(name, results[name], options)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"options": str(vars(options)), "results": results}, indent=2) + "\n")


def show(name: str, result: dict[str, Any], options: argparse.Namespace) -> None:
    console = Console()
    seconds, batch = result["seconds"], result["batch"]
    where = torch.cuda.get_device_name() if options.device.startswith("cuda") else f"{os.cpu_count()} cores"
    title = (
        f"{name}, {batch} picture(s) of {result['side']}² a step, amp {options.amp}, torch {torch.__version__}, {where}"
    )
    table = Table("stage", "ours, seconds", "padded, full attention", "ratio", title=title)
    for stage in STAGES:
        mine, other = seconds["ours"][stage], seconds["padded"][stage]
        table.add_row(stage, f"{mine:.4f}", f"{other:.4f}", f"{other / mine:.2f}" if mine else "-")
    mine, other = whole(seconds["ours"]), whole(seconds["padded"])
    table.add_section()
    table.add_row("whole step, without data", f"{mine:.4f}", f"{other:.4f}", f"{other / mine:.2f}")
    table.add_row("images per second", f"{batch / mine:.2f}", f"{batch / other:.2f}", f"{other / mine:.2f}")
    peaks = result["MiB"]
    if None not in peaks.values():
        less = peaks["padded"] / peaks["ours"]
        table.add_row("peak memory of a step, MiB", f"{peaks['ours']:.0f}", f"{peaks['padded']:.0f}", f"{less:.2f}")
    console.print(table)
    console.print(f"loss of the first batch: ours {result['loss']['ours']:.4f}, padded {result['loss']['padded']:.4f}")
    console.print(f"padded, full attention ÷ ours: {other / mine:.2f} (to be at least 2)")


if __name__ == "__main__":
    main()
