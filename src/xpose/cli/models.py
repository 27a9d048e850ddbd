"""`xpose models`: bundled and other known weights with their licences, and the categories that weights have learned."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from xpose.cli import _console, _options
from xpose.errors import CheckpointError, counted, did_you_mean, quote

_MEASURE = "PCK@0.2"  # shown for every kind of prompt that it was measured with


def models(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Bundled weights or a weight folder: list its categories.")
    ] = None,
    as_json: _options.AsJson = False,
) -> None:
    """List the bundled and other known weights, or the categories that some weights have learned.

    Nothing is downloaded. To use your own weights, pass their folder: xpose detect photo.jpg -t dog -p my-weights/

    Examples:

    - xpose models
    - xpose models xpose-nano
    """
    if name is not None:
        _show_weights(describe_weights(name), as_json)
        return
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
        "Hugging Face Hub. xpose downloads only weights given by such a name, and CLIP for weights that lack it.\n"
        "What weights have learned: xpose models NAME"
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


def describe_weights(name: str) -> dict[str, Any]:
    """The output of the command for one weight folder, as plain values."""
    from xpose.model.checkpoints.categories import read_categories
    from xpose.model.checkpoints.folders import CONFIG_FILE, WEIGHT_FILE, weight_folder
    from xpose.model.checkpoints.known import bundled_weights

    folder = weight_folder(bundled_weights().get(name, Path(name).expanduser()))
    if not all((folder / file).is_file() for file in (CONFIG_FILE, WEIGHT_FILE)):
        raise CheckpointError(
            f"{quote(name)} is no weight folder with {CONFIG_FILE} and {WEIGHT_FILE}."
            f"{did_you_mean(name, bundled_weights())} List the bundled weights with: xpose models"
        )
    return {"name": name, **_facts(folder), "categories": [asdict(entry) for entry in read_categories(folder)]}


def _show_weights(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _console.show_json(report)
        return
    _console.show(report["name"])
    _show(report, ("network", "licence", "size", "folder"))
    categories = report["categories"]
    if not categories:
        _console.show("\n  These weights do not state what they have learned.")
        return
    measured = [(entry["quality"] or {}).get("measures", {}) for entry in categories]
    names = [name for name in dict.fromkeys(chain(*measured)) if name.endswith(_MEASURE)]
    rows = []
    for entry, measures in zip(categories, measured, strict=True):
        figures = [f"{100 * measures[name]:.1f}" if name in measures else "" for name in names]
        tested = str(entry["quality"]["objects"]) if measures else ""
        points = str(len(entry["keypoints"])) if entry["keypoints"] else "boxes only"
        rows.append([entry["name"], entry["skeleton"], points, str(entry["objects"]), *figures, tested])
    right = ("keypoints", "objects", *names, "measured on")
    _console.show(_console.table(("category", "skeleton", *right), rows, right=right))
    _console.show(
        f"{counted(len({entry['name'] for entry in categories}), 'category', 'categories')}; the first skeleton of "
        "each is used by default, the others with -k. Objects are those of the training pictures. "
        f"{_MEASURE} is the share of keypoints (in %) within 0.2 of the longer side of the object's box."
    )


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
