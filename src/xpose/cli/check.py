"""`xpose check`: versions, devices and numerical self-tests, for users and for bug reports."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import typer

from xpose.cli import _console, _options

CORE_PACKAGES = ("numpy", "pillow", "safetensors", "onnxruntime", "tokenizers")
_PICTURE = 256  # pixels per side of the trial forward
_POINTS = 17

Report = dict[str, Any]


def check(as_json: _options.AsJson = False) -> None:
    """Check this installation: versions, devices, arithmetic and weights.

    Compares the results of all attention kernels, and runs a small network once on every device. Please attach the
    output to bug reports. The exit code is 1 if a check fails.
    """
    report = examine()
    if as_json:
        _console.show_json(report)
    else:
        _show(report)
    if report["faults"]:
        raise typer.Exit(_console.FAILURE)


def examine() -> Report:
    """The output of `xpose check`; `faults` is empty if all checks pass."""
    from xpose import __version__

    faults: list[str] = []
    report: Report = {
        "xpose": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "platform": platform.platform(),
        "faults": faults,
        "packages": {name: _version(name) for name in CORE_PACKAGES},
        "missing_extras": _missing_extras(),
        "weights": _guarded(_bundled_weights, "Looking for weights", faults) or [],
        "engine": _guarded(_engine, "Detecting with the bundled weights", faults),
        "devices": (_guarded(_devices, "Looking for devices", faults) or []) if find_spec("torch") else [],
        "kernels": [],
        "forward": [],
        "precision": [],
    }
    faults += [
        f"The package {name} is not installed; install xpose again with: pip install xpose"
        for name, version in report["packages"].items()
        if version is None
    ]
    for device in [entry["device"] for entry in report["devices"]]:
        for kernel in _guarded(partial(_kernels, device), f"The attention kernels on {device}", faults) or []:
            report["kernels"].append(kernel)
            if not kernel["ok"]:
                where = f"{kernel['kernel']} on {device} is off by {kernel['error']:.2g}"
                faults.append(f"The attention kernel {where}; use another version of torch.")
        forward = _guarded(partial(_forward, device), f"A forward pass on {device}", faults)
        report["forward"] += [forward] if forward else []
        if forward and not forward["finite"]:
            faults.append(f"The network computed non-finite numbers on {device}; use another device or torch.")
        precision = _guarded(partial(_precision, device), f"Choosing a precision on {device}", faults)
        report["precision"] += [precision] if precision else []
    return report


def _guarded(part: Callable[[], Any], name: str, faults: list[str]) -> Any:
    """The result of one part; an exception in it must not hide the results of the others."""
    try:
        return part()
    except Exception as error:
        if _console.debugging():
            raise
        faults.append(f"{name} failed with {type(error).__name__}: {error}")
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _missing_extras() -> dict[str, list[str]]:
    """Extra -> its missing packages; a package is listed only under the first extra that requires it."""
    missing: dict[str, list[str]] = {}
    seen: set[str] = set()
    for requirement in metadata.requires("xpose") or []:
        match = re.match(r"([\w.-]+).*;.*extra == ['\"]([\w-]+)['\"]", requirement)
        if match is None or match[1] in seen | {"xpose"} or match[2] in ("all", "dev"):
            continue
        seen.add(match[1])
        if _version(match[1]) is None:
            missing.setdefault(match[2], []).append(match[1])
    return missing


def _bundled_weights() -> list[Report]:
    from xpose.model.checkpoints.known import bundled_weights

    folders = bundled_weights().items()
    return [{"name": name, "bytes": (folder / "model.safetensors").stat().st_size} for name, folder in folders]


def _engine() -> Report:
    """What `xpose.load()` chooses to run the bundled weights, and how long it takes."""
    import numpy as np

    from xpose.inference import load

    detector = load()
    picture = np.zeros((_PICTURE, _PICTURE, 3), np.uint8)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        detector.detect(picture, "person")
        seconds.append(time.perf_counter() - start)
    return {"runtime": detector.engine.runtime, "weights": detector.name, "ms": round(min(seconds) * 1000, 1)}


def _devices() -> list[Report]:
    import torch

    name = f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
    devices: list[Report] = [{"device": "cpu", "name": name, "threads": torch.get_num_threads()}]
    if torch.accelerator.is_available():
        accelerator = torch.accelerator.current_accelerator()
        assert accelerator is not None
        module = torch.get_device_module(accelerator)
        for i in range(torch.accelerator.device_count()):
            name = module.get_device_name(i) if hasattr(module, "get_device_name") else accelerator.type
            devices.append({"device": f"{accelerator.type}:{i}", "name": name})
    return devices


def _kernels(device: str) -> list[Report]:
    from xpose.model import deformable

    return [{"device": device, **asdict(result)} for result in deformable.self_check(device)]


def _forward(device: str) -> Report:
    import torch

    from xpose.model import PromptEmbeddings, presets

    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        model = presets.xpose_nano().eval()
        width = model.config.prompt_width
        prompts = PromptEmbeddings.from_lists([torch.randn(1, width)], [torch.randn(_POINTS, width)])
        images = torch.randn(1, 3, _PICTURE, _PICTURE)
        model, images = model.to(device), images.to(device)
        seconds = []
        for _ in range(2):  # the first call also fills caches
            start = time.perf_counter()
            predictions = model(images, prompts)
            keypoints = predictions.keypoints[0].cpu()  # waits for the device
            seconds.append(time.perf_counter() - start)
    return {
        "device": device,
        "network": model.config.name,
        "weights": "seeded, untrained",
        "picture": f"{_PICTURE}x{_PICTURE}",
        "keypoints": _POINTS,
        "first_ms": round(seconds[0] * 1000, 1),
        "second_ms": round(seconds[1] * 1000, 1),
        "finite": bool(keypoints.isfinite().all()) and len(keypoints) > 0,
    }


def _precision(device: str) -> Report:
    """What `dtype="auto"` takes on a device for the default weights."""
    import copy

    import torch

    from xpose.model.checkpoints.known import bundled_weights, default_weights
    from xpose.model.checkpoints.pretrained import from_pretrained
    from xpose.model.device import difference, multiplies_bf16, set_precision

    place = torch.device(device)
    if not multiplies_bf16(place):
        return {"device": device, "auto": "float32", "why": "no hardware for bfloat16"}
    model = from_pretrained(bundled_weights()[default_weights()]).model.to(place).eval()
    found = difference(model, set_precision(copy.deepcopy(model), "bfloat16"))
    return {
        "device": device,
        "auto": "bfloat16" if found.within_bounds else "float32",
        "why": f"in bfloat16, keypoints differ by {found.keypoints:.2%} of the box, scores by {found.scores:.4f}",
        **asdict(found),
    }


def _show(report: Report) -> None:
    from rich.text import Text

    def judged(value: str, ok: bool) -> Text:
        return Text(value).append("  ok" if ok else "  WRONG", "green" if ok else "bold red")

    rows = [(name, Text(report[name.lower()])) for name in ("xpose", "Python", "Platform")]
    for name, version in report["packages"].items():
        rows.append((name, Text(version) if version else judged("not installed", False)))
    for extra, packages in report["missing_extras"].items():
        rows.append((f'Extra "{extra}"', Text(f"missing: {', '.join(packages)}")))
    if engine := report["engine"]:
        picture = f"{_PICTURE}x{_PICTURE} pixels: {engine['ms']:.0f} ms"
        rows.append(("xpose.load() uses", Text(f"{engine['runtime']}; {engine['weights']}, {picture}")))
    for device in report["devices"]:
        threads = f", {device['threads']} threads" if "threads" in device else ""
        rows.append(("Device", Text(f"{device['device']}: {device['name']}{threads}")))
    for kernel in report["kernels"]:
        value = f"{kernel['kernel']} on {kernel['device']}, largest error {kernel['error']:.1e}"
        rows.append(("Attention kernel", judged(value, kernel["ok"])))
    for forward in report["forward"]:
        value = (
            f"{forward['network']} on {forward['device']}, {forward['weights']}, {forward['picture']} pixels, "
            f"{forward['keypoints']} keypoints: first {forward['first_ms']:.0f} ms, then {forward['second_ms']:.0f} ms"
        )
        rows.append(("Forward pass", judged(value, forward["finite"])))
    for precision in report["precision"]:
        value = f'{precision["device"]}: float32; dtype "auto" takes {precision["auto"]} ({precision["why"]})'
        rows.append(("Precision", Text(value)))
    weights = [f"{entry['name']}, {entry['bytes'] / 1e6:.1f} MB" for entry in report["weights"]]
    rows += [("Weights", Text(line)) for line in weights or ["none bundled"]]
    _console.show(_console.facts(rows))
    for fault in report["faults"]:
        _console.fail(fault)
    if not report["faults"]:
        _console.show("All checks passed.")
