"""`xpose models`: the weights that are here, those known elsewhere, their licences, and how to use them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from xpose.cli import _console


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the trained weights: what comes with xpose, and what is known elsewhere.

    Nothing is downloaded. Weights of your own are used by their folder: xpose detect photo.jpg -t dog -p my-weights/

    Example: xpose models
    """
    report = describe()
    if as_json:
        _console.show_json(report)
        return
    _console.show("Comes with this version of xpose (use it by its name):")
    for entry in report["bundled"]:
        default = ", used when -p is left out" if entry["default"] else ""
        _console.show(f"\n  {entry['name']}{default}")
        _show(entry, ("network", "licence", "size", "folder"))
    if not report["bundled"]:
        _console.show("\n  None yet: name some with -p.")
    _console.show("\nKnown elsewhere (get the file yourself, then use it by its path):")
    for entry in report["known"]:
        _console.show(f"\n  {entry['name']}")
        _show(entry, ("what", "licence", "where", "use", "convert"))
    _console.show(
        "\nAlso: -p takes a weight folder of yours (config.json and model.safetensors), or owner/name of such a folder "
        "on the Hugging Face hub. Only such a name, or weights stripped of their CLIP, make xpose download something."
    )


def describe() -> dict[str, Any]:
    """What the command prints, as plain values."""
    from xpose.model.checkpoints.weights import DEFAULT, KNOWN, bundled_weights

    bundled = [
        {"name": name, "default": name == DEFAULT, **_facts(folder)} for name, folder in bundled_weights().items()
    ]
    known = [
        {
            "name": one.name,
            "what": one.what,
            "licence": one.licence,
            "where": one.where,
            "use": one.use.partition(";")[0],
            "convert": f"xpose convert {one.name} weights/{Path(one.name).stem}",
        }
        for one in KNOWN
    ]
    return {"bundled": bundled, "known": known}


def _facts(folder: Path) -> dict[str, Any]:
    """Network, licence and size of a weight folder, as far as its files say; None is unknown."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    card = folder / "README.md"
    stated = re.search(r"^license: *(.+)$", card.read_text("utf-8"), re.MULTILINE) if card.is_file() else None
    return {
        "network": config.get("name"),
        "licence": stated[1].strip() if stated else None,
        "bytes": (folder / "model.safetensors").stat().st_size,
        "folder": str(folder),
    }


def _show(entry: dict[str, Any], keys: tuple[str, ...]) -> None:
    titles = {"what": "what", "where": "where to get it", "use": "use it", "convert": "convert it once"}
    values = {**entry, "size": f"{entry['bytes'] / 1e6:.1f} MB" if "bytes" in entry else None}
    for key in keys:
        _console.show(f"    {titles.get(key, key)}: {values[key] or 'not stated'}")
