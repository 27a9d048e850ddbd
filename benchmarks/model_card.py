"""Write the card of trained weights from training and evaluation outputs; only the notes are manual.

    xpose eval nano-real --data DIR --weights W --out runs/text
    xpose eval nano-real --data DIR --weights W --prompts visual --out runs/visual
    python benchmarks/model_card.py W --run runs/nano-real --data DIR --eval runs/text --eval runs/visual --notes n.md

Writes README.md, recipe.toml and losses.png next to the weights; with --failure cat:dog also failures.jpg, which shows
the answers to this prompt on sample photographs of scikit-image and matplotlib.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from xpose.evaluation.outputs import TABLES
from xpose.evaluation.protocols import Cell, Table, percent
from xpose.evaluation.run_file import EvaluationRun, read_run
from xpose.model.checkpoints.calibration import Calibration, read_calibration
from xpose.model.checkpoints.folders import CONFIG_FILE, WEIGHT_FILE
from xpose.model.config import XPoseConfig
from xpose.training.reporting.report import PLOT_FILE, RECIPE_FILE
from xpose.training.run.log import read_log

ASKED = {"text": "words", "visual": "one example", "combined": "both"}
FREE = "any use, according to the sources of the training sets; see the card"
RESEARCH = "research only, because several of the training sets allow nothing else or state no licence; see the card"
FAILURES = "failures.jpg"
HEIGHT = 360  # of a photograph with its legend, in pixels
PHOTOGRAPHS = ("astronaut", "admiral", "camera", "cat", "coffee")


def main() -> None:
    """Write the card, print its path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--run", type=Path, required=True, action="append", help="folders of training, in order")
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets, with index.json")
    parser.add_argument("--eval", type=Path, action="append", default=[], help="folders of `xpose eval`, any protocol")
    parser.add_argument("--notes", type=Path, help="Markdown with what only a person can say")
    parser.add_argument(
        "--failure", action="append", default=[], metavar="PICTURE:WORDS", help=f"one of {', '.join(PHOTOGRAPHS)}"
    )
    given = parser.parse_args()
    if given.failure:
        draw_failures(given.weights, [tuple(one.split(":", 1)) for one in given.failure])
    print(f"Written: {write_card(given.weights, given.run, given.data, given.eval, given.notes)}")


def write_card(
    weights: Path, runs: Sequence[Path], data: Path, results: Sequence[Path], notes: Path | None = None
) -> Path:
    """Write the card and the last run's recipe and curve."""
    config = XPoseConfig.from_json((weights / CONFIG_FILE).read_text("utf-8"))
    recipe = tomllib.loads((runs[-1] / RECIPE_FILE).read_text("utf-8"))
    sets = learned_from(data, recipe["data"])
    found = [read_run(folder) for folder in results]
    accuracy = [one for one in found if one.protocol == "nano-real"]
    parts = [
        head(weights.name, config, sets),
        notes.read_text("utf-8").strip() if notes else "",
        f"![What these weights get wrong]({FAILURES})" if (weights / FAILURES).is_file() else "",
        training(runs),
        licences(sets).markdown(),
        *([per_set(accuracy).markdown()] if accuracy else []),
        *(folder_tables(folder) for folder, one in zip(results, found, strict=True) if one.protocol != "nano-real"),
        thresholds(read_calibration(weights)),
        checksum(weights / WEIGHT_FILE),
    ]
    shutil.copy(runs[-1] / RECIPE_FILE, weights / RECIPE_FILE)
    if (runs[-1] / PLOT_FILE).is_file():
        shutil.copy(runs[-1] / PLOT_FILE, weights / PLOT_FILE)
    card = weights / "README.md"
    card.write_text("\n\n".join(part.strip() for part in parts if part) + "\n", encoding="utf-8")
    return card


def draw_failures(weights: Path, asked: Sequence[tuple[str, str]]) -> None:
    """Draw the answers to each prompt on a sample photograph, side by side."""
    import xpose

    detector = xpose.load(weights)
    drawn = []
    for name, words in asked:
        picture = photograph(name)
        drawn.append(detector.detect(picture, words).draw(picture))
    scaled = [one.resize((round(one.width * HEIGHT / one.height), HEIGHT)) for one in drawn]
    whole = Image.new("RGB", (sum(one.width for one in scaled), HEIGHT), "white")
    for number, one in enumerate(scaled):
        whole.paste(one, (sum(before.width for before in scaled[:number]), 0))
    whole.save(weights / FAILURES, quality=80)


def photograph(name: str) -> Image.Image:
    """One of `PHOTOGRAPHS`, from the package that ships it."""
    from matplotlib import cbook
    from skimage import data

    if name == "admiral":
        return Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("RGB")
    return Image.fromarray(getattr(data, name)()).convert("RGB")


def learned_from(data: Path, chosen: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of the sets that the recipe uses."""
    entries = json.loads((data / "index.json").read_text("utf-8"))
    only, without = chosen.get("only", ()), chosen.get("without", ())
    return [one for one in entries if (not only or one["name"] in only) and one["name"] not in without]


def head(name: str, config: XPoseConfig, sets: Sequence[dict[str, Any]]) -> str:
    """Describe the weights and what they know."""
    free = all(one["redistributable"] == "yes" and "NC" not in one["licence"] for one in sets)
    objects = ", ".join(sorted({category for one in sets for category in one["categories"]}))
    return "\n".join(
        (
            "---",
            f"license: {FREE if free else RESEARCH}",
            "library_name: xpose",
            "tags: [keypoint-detection, object-detection]",
            "---",
            f"# {name}",
            "",
            f"Weights of `{config.name}` for xpose ({config.backbone}, {config.dim} channels, input "
            f"{config.image_short} by up to {config.image_long} pixels). Prompt them with words or with example "
            "pictures.",
            "",
            f"They were trained on {len(sets)} small sets of real pictures of: {objects}. Similar words work to the "
            "extent that they resemble these. Expect little for other objects. "
            f"`xpose models {name}` lists the categories with their keypoints and quality "
            "(`python benchmarks/categories.py`).",
        )
    )


def training(runs: Sequence[Path]) -> str:
    """The amount of training data and the settings."""
    rows: list[tuple[Cell, ...]] = []
    pictures = 0
    for number, run in enumerate(runs, start=1):
        recipe = tomllib.loads((run / RECIPE_FILE).read_text("utf-8"))
        steps, batch = read_log(run).last, recipe["loading"]["batch"]
        without = ", ".join(recipe["data"]["without"]) or "none"
        rows.append((number, steps, batch, recipe["augmentation"]["size"], recipe["run"]["schedule"]["rate"], without))
        pictures += steps * batch
    columns = ("run", "steps", "pictures per step", "frame", "learning rate", "excluded sets")
    table = Table("Training", columns, tuple(rows), decimals=6).markdown().replace("### ", "## ")
    return (
        f"{table}\n{pictures:,} pictures seen in total. Each run started from the weights of the previous one, the "
        "first from timm's MobileNetV2 (ImageNet, Apache-2.0). A tenth of every training split was held out for "
        "selection and calibration. Training pictures that are validation pictures or look like one were excluded. "
        "[recipe.toml](recipe.toml) contains all settings of the last run, and [losses.png](losses.png) its curves."
    )


def licences(sets: Sequence[dict[str, Any]]) -> Table:
    """The sources of the pictures and their licences."""
    rows = tuple(
        (one["name"], ", ".join(one["categories"]), one["train"], one["source"], one["licence"], one["redistributable"])
        for one in sets
    )
    note = (
        "If a licence is restricted to research or non-commercial use, or not stated, we cannot grant the right to use "
        "these weights for anything else."
    )
    columns = ("set", "objects", "training pictures", "source", "licence", "redistributable")
    return Table("Sets", columns, rows, (note,))


def per_set(runs: Sequence[EvaluationRun]) -> Table:
    """A row for each set, a column for each kind of prompt; average precision is the first run's."""
    first = runs[0].summary
    names = [key.removeprefix("PCK@0.2/set/") for key in first if key.startswith("PCK@0.2/set/")]
    rows = [
        _row(f"{name}{' (not in the means)' if first.get(f'easy/set/{name}') else ''}", f"/set/{name}", runs)
        for name in names
    ]
    rows.append(_row("mean", "", runs))
    rows.append(_row("mean, several objects in a picture", "/sets with several objects", runs))
    rows.append(_row("mean, one object in a picture", "/sets with one object", runs))
    # "...; text" or "...; visual, 1-shot from the training split, seed 0"
    asked = [ASKED[str(one.settings["prompts"]).rpartition("; ")[2].partition(",")[0]] for one in runs]
    columns = ("set", "mean pose @0.2", *(f"{how} @{t}" for how in asked for t in ("0.2", "0.1")), "box AP", "OKS-AP")
    note = (
        "Measured with `xpose eval nano-real --data DIR` on the pictures of `val.json`, without given boxes and with "
        "as many detections as the picture has objects of the category. The numbers are the percentages of labelled "
        "keypoints within 0.2 (0.1) of the box's longer side. One example is one object of the training split, drawn "
        "with seed 0. The mean pose is that of the training split, placed in the frame; sets on which it exceeds 80 "
        "are excluded from the means."
    )
    return Table("Accuracy", columns, tuple(rows), (note,))


def _row(label: str, suffix: str, runs: Sequence[EvaluationRun]) -> tuple[Cell, ...]:
    first = runs[0].summary
    cells: list[Cell] = [label, _share(first, f"baseline/PCK@0.2{suffix}")]
    cells += [_share(one.summary, f"PCK@{t}{suffix}") for one in runs for t in ("0.2", "0.1")]
    return (*cells, _share(first, f"box AP{suffix}"), _share(first, f"AP{suffix}"))


def _share(numbers: Any, name: str) -> float | None:
    value = numbers.get(name)
    return None if value is None or math.isnan(value) else percent(value)


def folder_tables(folder: Path) -> str:
    """Another protocol's tables, unchanged."""
    return (folder / TABLES).read_text("utf-8")


def thresholds(calibration: Calibration) -> str:
    """The score thresholds by class."""
    if not calibration.thresholds:
        return ""
    rows = tuple((name or "(all others)", value) for name, value in calibration.thresholds.items())
    note = (
        "Determined with `xpose calibrate --split held-out` and `--absent-alarms 0.05`. Keypoints with a confidence of "
        f"at least {calibration.keypoint_threshold:.2f} count as present."
    )
    rivals = ", ".join(calibration.rivals)
    beside = f"Rivals, which compete silently with every prompt: {rivals}." if rivals else ""
    return Table("Thresholds", ("class", "score"), rows, (note, *filter(None, (beside,))), decimals=3).markdown()


def checksum(file: Path) -> str:
    """A checksum to verify the file."""
    content = file.read_bytes()
    return f"### File\n\n`{file.name}`: {len(content):,} bytes, sha256 `{hashlib.sha256(content).hexdigest()}`"


if __name__ == "__main__":
    main()
