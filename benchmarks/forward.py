"""Time of one forward pass, by stage, and the effect of each optimisation.

    python benchmarks/forward.py                 # Swin-T, 800×1066, one class, 17 keypoints, two threads
    python benchmarks/forward.py --repeats 9 --json out/forward.json

All times are medians in one process, alternating the variants (A B C A B C ...), so that drifts of the machine's speed
favour none. The reference is transformers' SwinBackbone of the same sizes: `ratio` is a time divided by its time.
Weights are the seeded ones of the parity fixtures; the time does not depend on them.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from xpose.model import PromptEmbeddings, XPose, deformable, layers, load_official
from xpose.model.decoder import DecoderLayer
from xpose.model.device import multiplies_bf16, set_precision
from xpose.model.encoder import Fusion
from xpose.model.types import EncodedScene

Forward = Callable[[], object]


def seeded_model() -> XPose:
    """The network with the parity fixtures' weights: random, but large enough that rounding shows."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "parity"))
    from seeded_weights import seeded_state_dict

    state = {name: torch.from_numpy(value) for name, value in seeded_state_dict().items()}
    return load_official({k: v for k, v in state.items() if not k.startswith("clip_model.")})


def prompt(classes: int, points: int) -> PromptEmbeddings:
    generator = torch.Generator().manual_seed(0)
    objects, keypoints = (torch.randn(n, 512, generator=generator) for n in (classes, points))
    return PromptEmbeddings.from_lists([objects], [keypoints])


def padded_prompt() -> PromptEmbeddings:
    """One class in 350 slots, 17 keypoints in 68: the padding of the released network."""
    bare = prompt(1, 17)
    objects = torch.cat((bare.objects, bare.objects.new_zeros(1, 349, 512)), dim=1)
    keypoints = torch.cat((bare.keypoints, bare.keypoints.new_zeros(1, 1, 51, 512)), dim=2)
    keep, real = torch.arange(350)[None] < 1, (torch.arange(68) < 17)[None, None]
    return PromptEmbeddings(objects, keep, keypoints, real, torch.zeros(1, 350, dtype=torch.long))


@contextmanager
def plain_forms() -> Iterator[None]:
    """Turn all optimisations off: grid_sample, wide fusion, stock linear maps, no pieces, one masked attention."""
    saved = (deformable.kernel_for, layers.PIECE_ROWS, layers._CONVOLUTION_PRODUCTS, Fusion.folded)
    forward = DecoderLayer.forward
    masks: dict[tuple[int, int], Tensor] = {}

    def masked(
        self: DecoderLayer,
        content: Tensor,
        position: Tensor,
        boxes: Tensor,
        scene: EncodedScene,
        group: int | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        if group is not None:
            size = content.shape[1]
            if (size, group) not in masks:
                number = torch.arange(size, device=content.device) // group
                masks[size, group] = number[:, None] == number[None]
            keep = masks[size, group][None, None]
            mask = keep if mask is None else keep & mask.reshape(content.shape[0], 1, 1, -1)
        return forward(self, content, position, boxes, scene, None, mask)

    deformable.kernel_for = lambda values: "grid"
    layers.PIECE_ROWS = layers._CONVOLUTION_PRODUCTS = 2**40
    Fusion.folded = Fusion.plain  # type: ignore[method-assign]
    DecoderLayer.forward = masked  # type: ignore[method-assign]
    try:
        yield
    finally:
        deformable.kernel_for, layers.PIECE_ROWS, layers._CONVOLUTION_PRODUCTS, Fusion.folded = saved  # type: ignore[method-assign]
        DecoderLayer.forward = forward  # type: ignore[method-assign]


@contextmanager
def stock_linear() -> Iterator[None]:
    """Use PyTorch's own float32 linear maps (MKL) instead of oneDNN."""
    saved, layers._CONVOLUTION_PRODUCTS = layers._CONVOLUTION_PRODUCTS, 2**40
    try:
        yield
    finally:
        layers._CONVOLUTION_PRODUCTS = saved


def yardstick() -> Callable[[Tensor], object]:
    from transformers import SwinBackbone, SwinConfig

    return SwinBackbone(SwinConfig(out_features=["stage2", "stage3", "stage4"])).eval()


def medians(variants: dict[str, Forward], repeats: int) -> dict[str, float]:
    """Seconds per variant, alternating after one warm-up round."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(repeats + 1):
        for name, forward in variants.items():
            start = time.perf_counter()
            forward()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def stages(model: XPose, images: Tensor) -> dict[str, Forward]:
    """Every stage by itself, on the output of the previous stage."""
    ask = prompt(1, 17)
    maps = model.backbone(images)
    features = model.neck(maps, None)
    prompts = model.project(ask)
    scene = model.encoder(features, prompts)
    queries = model.selection(scene)
    kept = model.object_decoder(queries, scene, model.heads)
    return {
        "backbone": lambda: model.backbone(images),
        "neck": lambda: model.neck(maps, None),
        "prompt projection": lambda: model.project(ask),
        "encoder": lambda: model.encoder(features, prompts),
        "query selection": lambda: model.selection(scene),
        "object decoder": lambda: model.object_decoder(queries, scene, model.heads),
        "keypoint decoder": lambda: model.keypoint_decoder(kept, scene, model.heads),
    }


def inside(context: Callable[[], object], forward: Forward) -> Forward:
    def run() -> None:
        with context():  # type: ignore[attr-defined]
            forward()

    return run


def peak_memory(height: int, width: int, threads: int) -> float:
    """MiB that one forward needs above the loaded model, in a fresh process."""
    script = f"""
import torch
torch.set_num_threads({threads})
from xpose.model import PromptEmbeddings, presets
model = presets.xpose_swin_t().eval()
images = torch.randn(1, 3, {height}, {width})
ask = PromptEmbeddings.from_lists([torch.randn(1, 512)], [torch.randn(17, 512)])
def status(key):
    return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith(key))
with torch.inference_mode():
    model(torch.randn(1, 3, 64, 64), ask)  # the libraries' own buffers
    open('/proc/self/clear_refs', 'w').write('5')
    before = status('VmRSS')
    model(images, ask)
    print((status('VmHWM') - before) / 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def bfloat16_error(model: XPose, low: XPose, images: Tensor) -> dict[str, float]:
    """Differences of boxes and keypoints with the selection order held fixed (random weights)."""
    ask = prompt(1, 17)

    def run(net: XPose, tokens: Tensor | None, kept: Tensor | None) -> tuple[Tensor, ...]:
        scene = net.encoder(net.encode_image(images), net.project(ask))
        queries = net.selection(scene, tokens=tokens)
        instances = net.object_decoder(queries, scene, net.heads, kept=kept)
        report = net.keypoint_decoder(instances, scene, net.heads).reports[-1]
        assert report.keypoints is not None
        return queries.tokens, instances.queries, report.boxes, report.keypoints

    tokens, kept, boxes, points = run(model, None, None)
    _, _, low_boxes, low_points = run(low, tokens, kept)
    names = {"boxes": (boxes, low_boxes), "keypoints": (points, low_points)}
    return {
        f"{name} {kind}": float(value)
        for name, (a, b) in names.items()
        for kind, value in (("median", (a - b).abs().median()), ("largest", (a - b).abs().max()))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--width", type=int, default=1066)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    images = torch.randn(1, 3, options.height, options.width)
    model = seeded_model()
    backbone = yardstick()
    low = set_precision(copy.deepcopy(model), "bfloat16") if multiplies_bf16(torch.device("cpu")) else None
    one, eighty, padded = prompt(1, 17), prompt(80, 17), padded_prompt()
    with torch.inference_mode():
        variants: dict[str, Forward] = {
            "transformers' SwinBackbone alone": lambda: backbone(images),
            "whole forward, float32": lambda: model(images, one),
            "the same, 1 instance instead of 50": lambda: model(images, one, instances=1),
            "the same, 80 classes": lambda: model(images, eighty),
            "the same, PyTorch's stock linear maps": inside(stock_linear, lambda: model(images, one)),
            "padded full-mask form": inside(plain_forms, lambda: model(images, padded)),
        }
        if low is not None:
            variants["whole forward, bfloat16"] = lambda: low(images, one)
        seconds = medians(variants, options.repeats)
        parts = medians(stages(model, images), options.repeats)
        low_parts = medians(stages(low, images), options.repeats) if low is not None else {}
        error = bfloat16_error(model, low, images) if low is not None else {}
    memory = peak_memory(options.height, options.width, options.threads)
    show(seconds, parts, low_parts, error, memory)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        result = {"seconds": seconds, "stages": parts, "stages bfloat16": low_parts, "error": error, "MiB": memory}
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def show(
    seconds: dict[str, float], parts: dict[str, float], low: dict[str, float], error: dict[str, float], memory: float
) -> None:
    console = Console()
    base = seconds["transformers' SwinBackbone alone"]
    table = Table("variant", "seconds", "ratio", title=f"torch {torch.__version__}, {os.cpu_count()} cores")
    for name, value in seconds.items():
        table.add_row(name, f"{value:.3f}", f"{value / base:.2f}")
    console.print(table)
    table = Table("stage", "float32", "bfloat16", title="seconds per stage")
    for name, value in parts.items():
        table.add_row(name, f"{value:.4f}", f"{low[name]:.4f}" if low else "-")
    console.print(table)
    whole = seconds["whole forward, float32"]
    console.print(f"peak memory of the forward above the loaded model: {memory:.0f} MiB")
    console.print(f"50 instances ÷ 1: {whole / seconds['the same, 1 instance instead of 50']:.3f}")
    console.print(f"80 classes ÷ 1: {seconds['the same, 80 classes'] / whole:.3f}")
    console.print(f"padded full-mask form ÷ ours: {seconds['padded full-mask form'] / whole:.2f}")
    if "whole forward, bfloat16" in seconds:
        quick, stock = seconds["whole forward, bfloat16"], seconds["the same, PyTorch's stock linear maps"]
        console.print(f"float32 ÷ bfloat16: {whole / quick:.2f}; with stock float32 linear maps: {stock / quick:.2f}")
        console.print("bfloat16 error, selection held fixed: " + ", ".join(f"{k} {v:.1e}" for k, v in error.items()))
    else:
        console.print("bfloat16: this processor has no hardware for it")


if __name__ == "__main__":
    main()
