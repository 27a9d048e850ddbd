"""The options that several commands share, each declared once, with the panels of `--help` that they are shown in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from xpose.prompts import MOST_SHOTS

PROMPTS, KEPT, WEIGHTS = "What to detect", "Which detections are kept", "Weights and device"


def _in_panel(panel: str, names: tuple[str, ...], metavar: str, text: str, **limits: Any) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=panel, **limits)


def _prompt(*names: str, metavar: str, text: str) -> Any:
    return _in_panel(PROMPTS, names, metavar, text)


def _fraction(name: str, text: str) -> Any:
    return _in_panel(KEPT, (name,), "NUMBER", text, min=0, max=1)


def _weights(*names: str, metavar: str, text: str) -> Any:
    return _in_panel(WEIGHTS, names, metavar, text)


Images = Annotated[
    list[str] | None,
    typer.Argument(metavar="IMAGE", help='Pictures, folders with subfolders, or quoted patterns: "frames/*.png".'),
]
MoreImages = Annotated[
    list[str] | None, typer.Option("-i", "--image", metavar="IMAGE", help="The same as IMAGE; may be repeated.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file or folder.")]

Objects = Annotated[
    list[str] | None,
    _prompt(
        "-t",
        "--text",
        metavar="WORDS",
        text='The objects to detect, e.g. "wren" or "person,dog". Several classes compete for each location.',
    ),
]
Skeletons = Annotated[
    list[str] | None,
    _prompt(
        "-k",
        "--skeleton",
        metavar="NAMES",
        text="The skeleton of each object, in the order of -t: a name from `xpose skeletons`, or a .toml file. "
        "Default: chosen by the object.",
    ),
]
Keypoints = Annotated[
    str | None,
    _prompt(
        "--keypoints",
        metavar="NAMES",
        text='Detect only these keypoints, e.g. "beak tip,left eye"; with -k, a subset of that skeleton.',
    ),
]
Like = Annotated[
    list[Path] | None,
    _prompt(
        "--like",
        metavar="PICTURE",
        text=f"An example picture; up to {MOST_SHOTS}, each with its --points. May be combined with -t.",
    ),
]
Points = Annotated[
    list[Path] | None,
    _prompt(
        "--points",
        metavar="FILE.json",
        text='The keypoints of the example picture: {"left eye": [x, y], ...} in pixels.',
    ),
]
Bank = Annotated[
    Path | None, _prompt("--bank", metavar="FILE", text="Detect all classes of a prompt bank (`xpose prompt save`).")
]

Threshold = Annotated[
    float | None,
    _fraction(
        "--threshold",
        "Minimum score of an object. A lower value detects more objects and produces more false alarms. Default: the "
        "value stored with the weights for each class, or 0.1.",
    ),
]
KeypointThreshold = Annotated[
    float | None,
    _fraction(
        "--keypoint-threshold",
        "Keypoints with a lower confidence count as absent. Default: the value stored with the weights.",
    ),
]
MaxInstances = Annotated[
    int | None,
    _in_panel(KEPT, ("--max-instances",), "N", "Maximum number of objects per picture, best first.", min=1),
]
Nms = Annotated[
    float | None,
    _fraction(
        "--nms",
        "Among boxes overlapping by more than this, keep only the best; 1 keeps all. Default: the value stored with "
        "the weights.",
    ),
]
NmsOks = Annotated[
    float | None,
    _fraction(
        "--nms-oks",
        "Among poses more similar than this, keep only the best. Use it instead of --nms for animals that overlap "
        "strongly.",
    ),
]
Rivals = Annotated[
    str | None,
    _in_panel(
        KEPT,
        ("--rivals",),
        "NAMES",
        'Classes that objects may be confused with, e.g. "person,cat". Objects that fit one of them better are not '
        'reported. "none" disables them. Default: the rivals stored with the weights.',
    ),
]

Weights = Annotated[
    str | None,
    _weights(
        "-p",
        "--weights",
        metavar="WEIGHTS",
        text="A weight folder or file, the name of bundled weights, or owner/name on the Hugging Face Hub; see "
        "`xpose models`.",
    ),
]
Config = Annotated[
    Path | None,
    _weights(
        "-c",
        metavar="FILE",
        text="For command lines of the released script: selects the network by the name of the file, which is never "
        "opened.",
    ),
]
Device = Annotated[
    str | None,
    _weights("--device", metavar="NAME", text='"cpu", "cuda" (NVIDIA) or "mps" (Mac). Default: the fastest available.'),
]
Dtype = Annotated[
    str | None,
    _weights(
        "--dtype",
        metavar="TYPE",
        text='"float32" (default), "bfloat16" (faster on recent hardware, slightly less accurate) or "float64".',
    ),
]
Clip = Annotated[
    Path | None, _weights("--clip", metavar="FOLDER", text="CLIP ViT-B/32, for weight files that do not contain it.")
]

DatasetName = Annotated[str, typer.Argument(help="A dataset from `xpose data list`.", show_default=False)]
Sources = Annotated[
    list[Path],
    typer.Argument(
        help="Prepared sets, folders of them, or folders of COCO sets (NAME/train.json, NAME/images).",
        show_default=False,
    ),
]
SetsOut = Annotated[Path, typer.Option(help="Folder for prepared sets; this set goes to OUT/NAME.")]
OnlySets = Annotated[list[str] | None, typer.Option("--only", help="Only this set; may be repeated.", metavar="NAME")]
OnlySplits = Annotated[list[str] | None, typer.Option(help="Only this split; may be repeated.", metavar="NAME")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start over instead of resuming an interrupted run.")]
DrawnOut = Annotated[Path, typer.Option(help="Folder for the set.")]
DrawnSeed = Annotated[int, typer.Option(help="The same seed draws the same pictures.")]
