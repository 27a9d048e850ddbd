"""Everything that needs a GPU, in one run of at most eight minutes.

    python benchmarks/gpu.py                      # writes out/gpu/gpu.json and out/gpu/gpu.md (or into $OUT)
    python benchmarks/gpu.py --minutes 4 --only kernels training
    python benchmarks/gpu.py --tiny               # every part with tiny sizes, for example on a CPU

Each part runs in a process of its own, so that a part that fails or takes too long does not affect the others; the
rows that it measured before are kept. Times are medians in one process, alternating the variants. Without a GPU, all
parts run on the CPU, and the table says so. The exit code is 1 if a part failed.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from forward import padded_prompt, plain_forms, prompt
from torch import Tensor

from xpose.errors import XPoseWarning, first_line
from xpose.inference.engines.torch import normalised
from xpose.inference.preprocess import STD, to_input
from xpose.model import PromptEmbeddings, SwinSettings, XPose, XPoseConfig, deformable
from xpose.model.checkpoints.known import bundled_weights, default_weights
from xpose.model.checkpoints.pretrained import from_pretrained
from xpose.model.device import compile_network, difference, set_precision
from xpose.model.encoder import Fusion
from xpose.model.presets import CONFIGS

HERE = Path(__file__).resolve()
MOST_SECONDS = {  # of each part, in the order of the run
    "kernels": 60,
    "waiting": 60,
    "precision": 60,
    "latency": 90,
    "throughput": 120,
    "training": 150,
    "compiled": 240,
}
RESERVE = 5  # seconds for writing the files


@dataclass(frozen=True)
class Row:
    """One measured value, or the reason why there is none."""

    part: str
    what: str
    value: float | None
    unit: str
    note: str = ""
    failed: bool = False


@dataclass(frozen=True)
class Sizes:
    """What is measured."""

    config: XPoseConfig
    height: int
    width: int
    batch: int
    repeats: int
    training: tuple[tuple[str, int, int], ...]  # preset, side, batch


FULL = Sizes(CONFIGS["xpose-swin-t"], 800, 1333, 16, 10, (("xpose-nano", 320, 16), ("xpose-swin-t", 800, 2)))
TINY = Sizes(
    XPoseConfig(
        name="tiny",
        swin=SwinSettings(dim=8, depths=(1, 1, 1, 1), heads=(1, 2, 2, 4), window=3),
        prompt_width=512,
        dim=32,
        heads=4,
        ffn=48,
        encoder_layers=1,
        object_layers=1,
        keypoint_layers=1,
        fusion_width=48,
        prompt_ffn=40,
        queries=20,
        instances=2,
    ),
    *(64, 96, 2, 1),
    (("xpose-nano", 64, 2),),
)


def kernels(sizes: Sizes, device: torch.device) -> Iterator[Row]:
    """The largest differences from the CPU in float32, without TF32."""
    torch.backends.cudnn.allow_tf32 = False
    generator = torch.Generator().manual_seed(0)
    for check in deformable.self_check(device):
        yield Row("kernels", f"attention kernel {check.kernel}", check.error, "largest difference", failed=not check.ok)
    shapes = tuple((-(-sizes.height // stride), -(-sizes.width // stride)) for stride in (8, 16, 32, 64))
    values = torch.randn(1, sum(h * w for h, w in shapes), 4, 8, generator=generator)
    places = torch.rand(1, 500, 4, 4, 4, 2, generator=generator) * (sizes.width / 8 + 4) - 2
    shares = torch.rand(1, 500, 4, 4, 4, generator=generator)
    truth = deformable.sample_grid(values, shapes, places, shares)
    for name in ("rows", "grid", "gather"):
        kernel = getattr(deformable, f"sample_{name}")
        error = apart(kernel(values.to(device), shapes, places.to(device), shares.to(device)), truth)
        yield Row("kernels", f"{name}, levels of the picture", error, "largest difference", failed=not error < 1e-3)
    fusion = Fusion(32, 64, 4).eval()
    image, objects = torch.randn(2, 300, 32, generator=generator), torch.randn(2, 3, 32, generator=generator)
    truth = fusion.plain(image, objects, None, None)[0]
    moved = copy.deepcopy(fusion).to(device)
    for name in ("plain", "folded"):
        error = apart(getattr(moved, name)(image.to(device), objects.to(device), None, None)[0], truth)
        yield Row("kernels", f"fusion, {name}", error, "largest difference", failed=not error < 1e-3)
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    exact = to_input(pixels, sizes.height // 2, sizes.width)
    images = normalised(torch.from_numpy(pixels[None]).to(device), *exact.shape[1:])[0].cpu().numpy()
    levels = float((np.abs(images - exact) * np.array(STD, np.float32)[:, None, None] * 255).max())
    yield Row("kernels", "resizing on the device", levels, "byte levels", failed=not levels < 1.01)
    model = from_pretrained(bundled_weights()[default_weights()]).model.eval()
    there = copy.deepcopy(model).to(device)
    picture = torch.randn(2, 3, min(320, sizes.height), min(448, sizes.width), generator=generator)
    error = apart(there.encode_image(picture.to(device)).tokens, model.encode_image(picture).tokens)
    yield Row("kernels", "image features of the default network", error, "largest difference", failed=not error < 1e-2)
    torch.backends.cudnn.allow_tf32 = True
    error = apart(there.encode_image(picture.to(device)).tokens, model.encode_image(picture).tokens)
    yield Row("kernels", "the same with PyTorch's default (TF32)", error, "largest difference")


def apart(found: Tensor, expected: Tensor) -> float:
    """The largest difference."""
    return float((found.cpu() - expected).abs().max())


def waiting(sizes: Sizes, device: torch.device) -> Iterator[Row]:
    """How often encoding and decoding wait for the GPU."""
    if device.type != "cuda":
        yield Row("waiting", "synchronisations", None, "", "not counted: there is no GPU")
        return
    import xpose

    detector = xpose.load(device=device)
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    detector.detect(picture, "dog")  # makes the constants of this size
    prepared = detector.prepare_image(picture)
    encoded, count = counted(lambda: detector.encode_image(prepared))
    yield Row("waiting", "encode", count, "synchronisations", "none expected", failed=count > 0)
    _, count = counted(lambda: detector.detect(encoded, "dog"))
    yield Row("waiting", "decode", count, "synchronisations", "one expected: the results", failed=count > 1)
    with torch.profiler.profile(activities=list(torch.profiler.supported_activities())) as profiler:
        detector.detect(prepared, "dog")
    events = {event.key: event.count for event in profiler.key_averages() if "ynchronize" in event.key}
    yield Row("waiting", "profiler", sum(events.values()), "calls", json.dumps(events))


def counted(action: Callable[[], Any]) -> tuple[Any, int]:
    """The result of an action, and how often it waited for the GPU."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            result = action()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return result, sum("synchroniz" in str(warning.message) for warning in caught)


def precision(sizes: Sizes, device: torch.device) -> Iterator[Row]:
    """How far the default network's results are from float32 in lower precision."""
    model = from_pretrained(bundled_weights()[default_weights()]).model.to(device).eval()
    for dtype in ("bfloat16", "float16"):
        lowered, note = in_precision(model, dtype)
        if lowered is None:
            yield Row("precision", dtype, None, "", note)
            continue
        found = difference(model, lowered)
        yield Row("precision", f"{dtype}, keypoints", found.keypoints, "of the box", failed=not found.within_bounds)
        yield Row("precision", f"{dtype}, scores", found.scores, "largest difference", failed=not found.within_bounds)


def in_precision(model: XPose, dtype: str) -> tuple[XPose | None, str]:
    """A converted copy, or None and the reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return set_precision(copy.deepcopy(model), dtype), ""
        except Warning as warning:
            return None, first_line(warning)


def latency(sizes: Sizes, device: torch.device) -> Iterator[Row]:
    """One picture, beside the padded form."""
    yield from forwards("latency", sizes, device, 1)


def throughput(sizes: Sizes, device: torch.device) -> Iterator[Row]:
    """A batch, beside the padded form; and whole detections with the default network."""
    yield from forwards("throughput", sizes, device, sizes.batch)
    import xpose

    detector = xpose.load(device=device)
    side = min(sizes.height, 512)
    pictures = list(np.random.default_rng(0).integers(0, 256, (2 * sizes.batch, side, side, 3), dtype=np.uint8))
    detector.detect(pictures, "person", batch_size=sizes.batch)
    start = time.perf_counter()
    detector.detect(pictures, "person", batch_size=sizes.batch)
    rate = len(pictures) / (time.perf_counter() - start)
    yield Row("throughput", "default network, pixels to poses", rate, "pictures/s", f"{side}², batch {sizes.batch}")


def forwards(part: str, sizes: Sizes, device: torch.device, batch: int) -> Iterator[Row]:
    """Milliseconds, pictures per second, ratio to the padded form and memory of each variant."""
    torch.manual_seed(0)
    model = XPose(sizes.config).to(device).eval()
    images = torch.randn(batch, 3, sizes.height, sizes.width, device=device)
    ask, padded = prompt(1, 17), forward_of(model, images, padded_prompt())

    def in_padded_form() -> object:
        with plain_forms():
            return padded()

    variants = {"padded full-mask form": in_padded_form, "float32": forward_of(model, images, ask)}
    for dtype in ("bfloat16", "float16"):
        lowered, note = in_precision(model, dtype)
        if lowered is None:
            yield Row(part, dtype, None, "", note)
        else:
            variants[dtype] = forward_of(lowered, images, ask)
    yield from timed(part, variants, batch, sizes.repeats, device)


def forward_of(model: XPose, images: Tensor, ask: PromptEmbeddings) -> Callable[[], object]:
    """A forward pass without arguments; prompts are projected once, as by the detector."""
    prompts = model.project(ask.expand(len(images)))
    return lambda: model.decode(model.encode_image(images), prompts)


def timed(
    part: str, variants: dict[str, Callable[[], object]], batch: int, repeats: int, device: torch.device
) -> Iterator[Row]:
    """A row per variant; one that fails is left out of the others' turns."""
    seconds: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    for name, run in variants.items():  # the first turn warms up and measures memory
        try:
            memory[name] = peak(run, device)
        except (RuntimeError, MemoryError) as error:
            yield Row(part, name, None, "", first_line(error), failed=True)
            torch.cuda.empty_cache()
        else:
            seconds[name] = []
    for _ in range(repeats):
        for name, times in seconds.items():
            times.append(duration(variants[name], device))
    base = statistics.median(seconds["padded full-mask form"]) if "padded full-mask form" in seconds else None
    for name, times in seconds.items():
        middle = statistics.median(times)
        facts = [f"{batch / middle:.1f} pictures/s"]
        facts += [f"{base / middle:.2f} times as fast as the padded form"] if base else []
        facts += [f"{memory[name]:.0f} MiB above the network"] if device.type == "cuda" else []
        yield Row(part, name, 1000 * middle, "ms", ", ".join(facts))


def peak(run: Callable[[], object], device: torch.device) -> float:
    """MiB that a call needs above what is allocated; 0 on a CPU."""
    if device.type != "cuda":
        run()
        return 0.0
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


def duration(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of a call, until the device has finished."""
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def training(sizes: Sizes, device: torch.device) -> Iterator[Row]:
    """Steps per second of real training steps, without data loading."""
    from training import Bench, whole

    for preset, side, batch in sizes.training:
        with tempfile.TemporaryDirectory() as folder:
            for amp in ("none", "bf16"):
                name = f"{preset}, {'float32' if amp == 'none' else amp}, {side}², batch {batch}"
                try:
                    options = argparse.Namespace(device=str(device), amp=amp, checkpointing=False, objects=3, absent=4)
                    bench = Bench(preset, side, batch, options, Path(folder) / "set")
                    memory = peak(lambda bench=bench: bench.step("ours", 0), device)  # type: ignore[misc]
                    middle = statistics.median(whole(bench.step("ours", n + 1)) for n in range(sizes.repeats))
                except (RuntimeError, MemoryError) as error:
                    yield Row("training", name, None, "", first_line(error), failed=True)
                    continue
                note = f"{memory:.0f} MiB above the network" if device.type == "cuda" else ""
                yield Row("training", name, 1 / middle, "steps/s", note)


def compiled(sizes: Sizes, device: torch.device) -> Iterator[Row]:
    """Compiled networks: the time of the first passes, and then as above."""
    for dtype in ("bfloat16", "float32"):
        torch.manual_seed(0)
        model, note = in_precision(XPose(sizes.config).to(device).eval().requires_grad_(False), dtype)
        if model is None:
            yield Row("compiled", dtype, None, "", note)
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", XPoseWarning)
                compile_network(model)
        except XPoseWarning as warning:
            yield Row("compiled", dtype, None, "", first_line(warning), failed=True)
            continue
        for batch in (1, sizes.batch):
            images = torch.randn(batch, 3, sizes.height, sizes.width, device=device)
            run = forward_of(model, images, prompt(1, 17))
            yield Row("compiled", f"{dtype}, batch {batch}, first pass", duration(run, device), "s")
            yield from timed("compiled", {f"{dtype}, batch {batch}": run}, batch, sizes.repeats, device)
            if device.type == "cuda":
                yield Row("compiled", f"{dtype}, batch {batch}", counted(run)[1], "synchronisations")


PARTS: dict[str, Callable[[Sizes, torch.device], Iterator[Row]]] = {
    "kernels": kernels,
    "waiting": waiting,
    "precision": precision,
    "latency": latency,
    "throughput": throughput,
    "training": training,
    "compiled": compiled,
}


def measured(part: str, sizes: Sizes) -> Iterator[Row]:
    """The rows of a part, on the GPU if there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        with nullcontext() if part == "training" else torch.no_grad():
            yield from PARTS[part](sizes, device)
    except Exception as error:
        yield Row(part, "stopped", None, "", f"{type(error).__name__}: {first_line(error)}", failed=True)


def in_process(part: str, tiny: bool, seconds: float) -> Iterator[Row]:
    """The rows of a part from a process of its own, which is ended after some seconds."""
    command = [sys.executable, str(HERE), "--part", part, *["--tiny"] * tiny]
    start = time.monotonic()
    with (
        tempfile.TemporaryFile("w+") as complaints,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True) as process,
        ending_after(seconds, process),
    ):
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                yield Row(**json.loads(line))
        if code := process.wait():
            complaints.seek(0)
            last = (complaints.read().strip().splitlines() or ["no message"])[-1]
            killed = code < 0 and time.monotonic() - start >= seconds
            reason = f"out of time after {seconds:.0f} s" if killed else f"exit code {code}: {last}"
            yield Row(part, "stopped", None, "", reason, failed=True)


@contextmanager
def ending_after(seconds: float, process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill a process if it takes longer."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def main(arguments: list[str] | None = None) -> int:
    """Run all parts and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "out/gpu")), help="folder of the files")
    parser.add_argument("--minutes", type=float, default=8, help="parts that do not fit are left out")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--tiny", action="store_true", help="tiny sizes")
    parser.add_argument("--one-process", action="store_true", help="start faster, without protection between parts")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.part:
        for row in measured(options.part, TINY if options.tiny else FULL):
            print(json.dumps(asdict(row)), flush=True)
        return 0
    start, rows = time.monotonic(), list[Row]()
    print(title(), flush=True)
    for part in PARTS:
        left = 60 * options.minutes - RESERVE - (time.monotonic() - start)
        if part not in options.only:
            continue
        if left < 1:
            rows.append(Row(part, "left out", None, "", "no time was left", failed=True))
            write(options.out, rows, options.tiny, time.monotonic() - start)
            continue
        seconds = min(left, MOST_SECONDS[part])
        sizes = TINY if options.tiny else FULL
        for row in measured(part, sizes) if options.one_process else in_process(part, options.tiny, seconds):
            rows.append(row)
            print(f"[{time.monotonic() - start:4.0f} s] {part}: {row.what}: {shown(row)}", flush=True)
        write(options.out, rows, options.tiny, time.monotonic() - start)  # after every part, in case the run is ended
    print(f"Wrote {options.out / 'gpu.json'} and {options.out / 'gpu.md'}.")
    return int(any(row.failed for row in rows))


def title() -> str:
    """What the figures were measured on."""
    versions = f"torch {torch.__version__}"
    if not torch.cuda.is_available():
        return f"NO GPU: everything ran on the CPU, and says nothing about a GPU ({versions}, {os.cpu_count()} cores)"
    return f"{torch.cuda.get_device_name()}, {versions}, CUDA {torch.version.cuda}"


def shown(row: Row) -> str:
    """The value of a row, and its note."""
    value = "" if row.value is None else f"{row.value:.4g} {row.unit}"
    return "FAILED " * row.failed + ", ".join(filter(None, (value, row.note)))


def write(folder: Path, rows: list[Row], tiny: bool, seconds: float) -> None:
    """The JSON file and the Markdown table."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = TINY if tiny else FULL
    facts = {"device": title(), "gpu": torch.cuda.is_available(), "tiny": tiny, "seconds": round(seconds, 1)}
    text = json.dumps({**facts, "rows": [asdict(row) for row in rows]}, indent=2)
    (folder / "gpu.json").write_text(text + "\n")
    size = (
        f"{sizes.config.name}, {sizes.height}×{sizes.width} pixels, one class with 17 keypoints, {seconds:.0f} s in all"
    )
    lines = [f"# {title()}", "", f"`python benchmarks/gpu.py{' --tiny' * tiny}`: {size}", ""]
    lines += ["| part | measured | value | unit | note |", "|---|---|---:|---|---|"]
    for row in rows:
        value = "" if row.value is None else f"{row.value:.4g}"
        note = ("**FAILED** " * row.failed + row.note).replace("|", "\\|")
        lines.append(f"| {row.part} | {row.what} | {value} | {row.unit} | {note} |")
    (folder / "gpu.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
