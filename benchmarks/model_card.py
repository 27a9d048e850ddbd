"""The card of trained weights, out of what training and evaluation wrote: nothing in it is typed by hand but the prose.

    xpose eval nano-real --data DIR --weights W --out runs/text
    xpose eval nano-real --data DIR --weights W --prompts visual --out runs/visual
    python benchmarks/model_card.py W --run .state/nano --data DIR --text runs/text --visual runs/visual ...

Writes README.md beside the weights, and prints where.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

KINDS = ("text", "visual", "combined")
RESEARCH = "research only (several of the training sets are; see the table of sets)"
FREE = "the sets allow redistribution and any use, as far as their sources say; see the table of sets"


def main() -> None:
    """Gather, write, say where."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--run", type=Path, required=True, action="append", help="folder of the training run; in order")
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets, for their licences")
    for kind in KINDS:
        parser.add_argument(f"--{kind}", type=Path, help=f"folder of `xpose eval nano-real --prompts {kind}`")
    parser.add_argument("--negatives", type=Path, help="folder of `xpose eval negatives`")
    parser.add_argument("--robustness", type=Path, help="folder of `xpose eval robustness`")
    parser.add_argument("--notes", type=Path, help="Markdown with what only a person can say; put before the checksum")
    given = parser.parse_args()
    config = json.loads((given.weights / "config.json").read_text("utf-8"))
    recipe = tomllib.loads((given.run[-1] / "recipe.toml").read_text("utf-8"))
    results = {kind: summary(folder) for kind in KINDS if (folder := getattr(given, kind)) is not None}
    sets = chosen(given.data, recipe["data"])
    free = all(one["redistributable"] == "yes" for one in sets)
    parts = [
        f"---\nlicense: {FREE if free else RESEARCH}\nlibrary_name: xpose\ntags: [keypoint-detection, "
        "object-detection]\n---",
        f"# {given.weights.name}",
        about(config, sets),
        training(given.run, recipe),
        the_sets(sets),
        accuracy(results),
        alarms(given.negatives, given.robustness),
        thresholds(config),
        given.notes.read_text("utf-8").strip() if given.notes else "",
        checksum(given.weights),
    ]
    card = given.weights / "README.md"
    card.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
    print(f"Written: {card}")


def summary(folder: Path) -> dict[str, float]:
    """The numbers of a run of `xpose eval`."""
    content = json.loads((folder / "run.json").read_text("utf-8"))
    return {name: math.nan if value is None else value for name, value in content["summary"].items()}


def chosen(data: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of the sets that were learned from."""
    entries = json.loads((data / "index.json").read_text("utf-8"))
    only, without = settings.get("only", ()), settings.get("without", ())
    return [one for one in entries if (not only or one["name"] in only) and one["name"] not in without]


def about(config: dict[str, Any], sets: Sequence[dict[str, Any]]) -> str:
    """What the weights are and what they know."""
    objects = sorted({name for one in sets for name in one["categories"]})
    return (
        f"Weights of `{config['name']}` ({config['backbone']}, {config['dim']} channels) for xpose: name an "
        "object and its "
        f"points, or show an example, and get boxes and keypoints. Trained by this project on {len(sets)} "
        "small sets of "
        f"real pictures. What it learned to find: {', '.join(objects)}. Other words are understood as far as they are "
        "like these; of other objects little should be expected."
    )


def training(runs: Sequence[Path], recipe: dict[str, Any]) -> str:
    """How much was learned from, by which recipe."""
    logs = [[json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()] for run in runs]
    recipes = [tomllib.loads((run / "recipe.toml").read_text("utf-8")) for run in runs]
    steps = [max(row["step"] for row in log if "images_per_second" in row) for log in logs]
    pictures = sum(count * one["loading"]["batch"] for count, one in zip(steps, recipes, strict=True))
    seconds = sum(pieces(log) for log in logs)
    rows = [
        f"| {number} | {count:,} | {one['loading']['batch']} | {one['augmentation']['size']} | "
        f"{one['run']['schedule']['rate']:g} |"
        for number, (count, one) in enumerate(zip(steps, recipes, strict=True), start=1)
    ]
    return "\n".join(
        (
            "## Training",
            "",
            f"{recipe['about']}: `xpose train nano-real --data DIR --set "
            "network.backbone=mobilenetv2_100.safetensors`, "
            f"{pictures:,} pictures seen in {seconds / 3600:.1f} hours on two CPU cores, in two processes (`torchrun "
            "--nproc-per-node 2 -m xpose train ...`). The backbone started from timm's MobileNetV2 (ImageNet, "
            "Apache-2.0). A tenth of every training split was held out to choose and to calibrate; pictures that are "
            "validation pictures or look like one were left out. The whole recipe is in `recipe.toml` "
            "beside this card.",
            "",
            "| piece | steps | pictures a step | side of the frame | rate |",
            "|---:|---:|---:|---:|---:|",
            *rows,
        )
    )


def pieces(log: Sequence[dict[str, Any]]) -> float:
    """Seconds over all calls; each counts from its own start."""
    total = last = 0.0
    for row in log:
        seconds = row.get("seconds")
        if seconds is None:
            continue
        if seconds < last:
            total += last
        last = seconds
    return total + last


def the_sets(sets: Iterable[dict[str, Any]]) -> str:
    """Where the pictures came from and what their owners allow."""
    rows = [
        f"| `{one['name']}` | {', '.join(one['categories'])} | {one['train']:,} | {cell(one['source'])} | "
        f"{cell(one['licence'])} | "
        f"{one['redistributable']} |"
        for one in sets
    ]
    return "\n".join(
        (
            "## Sets",
            "",
            "A tenth of the training pictures was held out. Where a licence says research only or "
            "non-commercial, or says "
            "nothing, no right to use these weights otherwise can be given by us.",
            "",
            "| set | objects | training pictures | where to get it | licence | may be passed on |",
            "|---|---|---:|---|---|---|",
            *rows,
        )
    )


def cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")


def percent(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def accuracy(results: dict[str, dict[str, float]]) -> str:
    """The table of sets, a column for each way of asking."""
    if "text" not in results:
        return ""
    text = results["text"]
    names = [key.removeprefix("PCK@0.2/set/") for key in text if key.startswith("PCK@0.2/set/")]
    others = [kind for kind in results if kind != "text"]
    head = [
        "set",
        "mean pose @0.2",
        "words @0.2",
        "words @0.1",
        *(f"{NAMES[kind]} @0.2" for kind in others),
        "box AP",
        "OKS-AP",
    ]
    lines = [f"| {' | '.join(head)} |", "|---" + "|---:" * (len(head) - 1) + "|"]

    def row(label: str, suffix: str) -> str:
        cells = [percent(text.get(f"baseline/PCK@0.2{suffix}")), percent(text.get(f"PCK@0.2{suffix}"))]
        cells += [percent(text.get(f"PCK@0.1{suffix}")), *(percent(results[k].get(f"PCK@0.2{suffix}")) for k in others)]
        cells += [percent(text.get(f"box AP{suffix}")), percent(text.get(f"AP{suffix}"))]
        return f"| {label} | {' | '.join(cells)} |"

    for name in names:
        easy = " (not in the means)" if text.get(f"easy/set/{name}") else ""
        lines.append(row(f"`{name}`{easy}", f"/set/{name}"))
    lines.append(row("**mean**", ""))
    lines.append(row("mean, several objects in a picture", "/sets with several objects"))
    lines.append(row("mean, one object in a picture", "/sets with one object"))
    return "\n".join(
        (
            "## Accuracy",
            "",
            "`xpose eval nano-real --data DIR` on `val.json` of every set, no boxes given: of as many answers as the "
            "picture holds objects of the category, the one whose box overlaps the object's the most; share of the "
            "labelled points within 0.2 (0.1) of the box's longer side. By examples: one picture of the "
            "category out of "
            'the training split. "Mean pose" places the training split\'s mean pose in the frame; sets on which that '
            "alone passes 80 are left out of the means.",
            "",
            *lines,
        )
    )


NAMES = {"visual": "one example", "combined": "words and example"}


def alarms(negatives: Path | None, robustness: Path | None) -> str:
    """What is answered to wrong questions: the tables that `xpose eval` wrote, as they are."""
    tables = []
    for folder in (negatives, robustness):
        if folder is not None:
            tables += [(folder / "tables.md").read_text("utf-8").strip()]
    return "\n\n".join(["## Wrong questions", *tables]) if tables else ""


def thresholds(config: dict[str, Any]) -> str:
    """The calibrated thresholds."""
    if not config.get("thresholds"):
        return ""
    listed = ", ".join(f"{name or 'all others'} {value:.2f}" for name, value in config["thresholds"].items())
    return (
        "## Thresholds\n\nCalibrated on the held-out tenth of the training split (`xpose calibrate`); "
        "`xpose detect` uses them "
        f"where no `--threshold` is given. By class: {listed}. A point counts as seen from "
        f"{config.get('keypoint_threshold', 0):.2f}."
    )


def checksum(folder: Path) -> str:
    """So that everybody can check the file."""
    content = (folder / "model.safetensors").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return f"## File\n\n`model.safetensors`, {len(content):,} bytes, sha256 `{digest}`."


if __name__ == "__main__":
    main()
