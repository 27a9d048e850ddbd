"""`xpose models`: bundled weights and other known weights, with their licences and how to use them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from xpose.cli import _console, _options


def models(as_json: _options.AsJson = False) -> None:
    """List the bundled weights and other known weights.

    Nothing is downloaded. To use your own weights, pass their folder: xpose detect photo.jpg -t dog -p my-weights/

    Example: xpose models
    """
    report = describe()
    if as_json:
        _console.show_json(report)
        return
    _console.show("Bundled with this version of xpose (use them by name):")
    for entry in report["bundled"]:
        default = " (default)" if entry["default"] else ""
        _console.show(f"\n  {entry['name']}{default}")
        _show(entry, ("network", "licence", "size", "folder"))
    if not report["bundled"]:
        _console.show("\n  None. Use others with -p.")
    _console.show("\nOther known weights (download the file, then use it by its path):")
    for entry in report["known"]:
        _console.show(f"\n  {entry['name']}")
        _show(entry, ("what", "licence", "where", "use", "convert"))
    _console.show(
        "\n-p also accepts your own weight folder (config.json and model.safetensors), or owner/name on the "
        "Hugging Face Hub. xpose downloads only weights given by such a name, and CLIP for weights that lack it."
    )


def describe() -> dict[str, Any]:
    """The output of the command, as plain values."""
    from xpose.model.checkpoints.known import DEFAULT, KNOWN, bundled_weights

    folders = bundled_weights().items()
    known = [
        {
            **weights,
            "use": f"xpose detect photo.jpg -t horse -p {weights['name']}",
            "convert": f"xpose convert {weights['name']} weights/{Path(weights['name']).stem}",
        }
        for weights in KNOWN
    ]
    bundled = [{"name": name, "default": name == DEFAULT, **_facts(folder)} for name, folder in folders]
    return {"bundled": bundled, "known": known}


def _facts(folder: Path) -> dict[str, Any]:
    """Network, licence and size of a weight folder; None if its files lack them."""
    card = folder / "README.md"
    stated = re.search(r"^license: *(.+)$", card.read_text("utf-8"), re.MULTILINE) if card.is_file() else None
    return {
        "network": json.loads((folder / "config.json").read_text("utf-8")).get("name"),
        "licence": stated[1].strip() if stated else None,
        "bytes": (folder / "model.safetensors").stat().st_size,
        "folder": str(folder),
    }


def _show(entry: dict[str, Any], keys: tuple[str, ...]) -> None:
    titles = {"what": "description", "where": "source"}
    values = {**entry, "size": f"{entry['bytes'] / 1e6:.1f} MB" if "bytes" in entry else None}
    for key in keys:
        _console.show(f"    {titles.get(key, key)}: {values[key] or 'not stated'}")
