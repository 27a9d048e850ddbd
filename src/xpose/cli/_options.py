"""The options that several commands share, each declared once, with the panels of `--help` that they are shown in."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

from xpose.prompts import MOST_SHOTS

PROMPTS, WHERE, KEPT, WEIGHTS = "What to detect", "Where to look", "Which detections are kept", "Weights and device"
DRAWINGS, FILES, RAY = "Drawings", "More files in the output folder", "Ray"


def _option(panel: str | None, names_and_metavar: str, text: str, **limits: Any) -> Any:
    words = names_and_metavar.split()  # flags have no metavar
    names = [word for word in words if word.startswith("-")]
    metavar = words[-1] if len(names) < len(words) else None
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=panel, **limits)


Texts = list[str] | None
Paths = list[Path] | None
Number = float | None

Images = Annotated[
    Texts,
    typer.Argument(metavar="IMAGE", help='Pictures, folders with subfolders, or quoted patterns: "frames/*.png".'),
]
MoreImages = Annotated[Texts, typer.Option("-i", "--image", metavar="IMAGE", help="Same as IMAGE; may be repeated.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file or folder.")]

_SHARE = {"min": 0, "max": 1}

_OBJECTS = 'The objects to detect, e.g. "wren" or "person,dog". Several classes compete for each location.'
Objects = Annotated[Texts, _option(PROMPTS, "-t --text WORDS", _OBJECTS)]
_SKELETONS = "The skeleton of each object, in the order of -t: a name from `xpose skeletons`, or a .toml file. "
_SKELETONS += "Default: what the weights have learned for the object."
Skeletons = Annotated[Texts, _option(PROMPTS, "-k --skeleton NAMES", _SKELETONS)]
_KEYPOINTS = 'Detect only these keypoints, e.g. "beak tip,left eye"; with -k, a subset of that skeleton. '
_KEYPOINTS += '"none" detects only boxes.'
Keypoints = Annotated[str | None, _option(PROMPTS, "--keypoints NAMES", _KEYPOINTS)]
_PART = 'Detect this part of each object, e.g. "hand" of a person; only its box without -k or --keypoints.'
Part = Annotated[str | None, _option(PROMPTS, "--part NAME", _PART)]
_STYLE = 'The style of the pictures, e.g. "cartoon".'
Style = Annotated[str | None, _option(PROMPTS, "--style WORDS", _STYLE)]
_LIKE = f"An example picture with its --points; up to {MOST_SHOTS}."
Like = Annotated[Paths, _option(PROMPTS, "--like PICTURE", _LIKE)]
_POINTS = 'Keypoints of the example picture: {"left eye": [x, y], ...} in pixels.'
Points = Annotated[Paths, _option(PROMPTS, "--points FILE.json", _POINTS)]
Bank = Annotated[Path | None, _option(PROMPTS, "--bank FILE", "Detect all classes of a bank (`xpose prompt save`).")]

_BOXES = "Find only the keypoints of the objects in these boxes: COCO annotations or results, or JSON that xpose wrote."
BoxesFrom = Annotated[Path | None, _option(WHERE, "--boxes-from FILE", _BOXES)]
_REGION = "Search only this part of every picture, in pixels."
Region = Annotated[str | None, _option(WHERE, "--region X,Y,WIDTH,HEIGHT", _REGION)]

_THRESHOLD = "Minimum score of an object. A lower value detects more objects and produces more false alarms. "
_THRESHOLD += "Default: the value stored with the weights for each class, or 0.1."
Threshold = Annotated[Number, _option(KEPT, "--threshold NUMBER", _THRESHOLD, **_SHARE)]
_KEYPOINT_THRESHOLD = "Keypoints with a lower confidence count as absent. Default: the value stored with the weights."
KeypointThreshold = Annotated[Number, _option(KEPT, "--keypoint-threshold NUMBER", _KEYPOINT_THRESHOLD, **_SHARE)]
_MAX_INSTANCES = "Maximum number of objects per picture, best first."
MaxInstances = Annotated[int | None, _option(KEPT, "--max-instances N", _MAX_INSTANCES, min=1)]
_NMS = "Among boxes overlapping by more than this, keep only the best; 1 keeps all. "
_NMS += "Default: the value stored with the weights."
Nms = Annotated[Number, _option(KEPT, "--nms NUMBER", _NMS, **_SHARE)]
_NMS_OKS = "Among poses more similar than this, keep only the best. Use it instead of --nms for crowded animals."
NmsOks = Annotated[Number, _option(KEPT, "--nms-oks NUMBER", _NMS_OKS, **_SHARE)]
_BEST = "Also show the best candidate of each class without detections, whatever its score, with a dashed box."
Best = Annotated[bool, _option(KEPT, "--best", _BEST)]
_RIVALS = 'Classes that objects may be confused with, e.g. "person,cat". Objects that fit one of them better are not '
_RIVALS += 'reported. "none" disables them. Default: the rivals stored with the weights.'
Rivals = Annotated[str | None, _option(KEPT, "--rivals NAMES", _RIVALS)]

_WEIGHTS = "A weight folder or file, the folder of a training run, a bundled name, or owner/name on the Hugging Face "
_WEIGHTS += "Hub; see `xpose models`."
Weights = Annotated[str | None, _option(WEIGHTS, "-p --weights WEIGHTS", _WEIGHTS)]
_CONFIG = "For command lines of the released script: selects the network by the name of the file, never opened."
Config = Annotated[Path | None, _option(WEIGHTS, "-c FILE", _CONFIG)]
_DEVICE = '"cpu", "cuda" (NVIDIA) or "mps" (Mac). Default: the fastest available.'
Device = Annotated[str | None, _option(WEIGHTS, "--device NAME", _DEVICE)]
_DTYPE = '"float32" (default), "auto" (bfloat16 if the hardware supports it and results hardly change), "bfloat16", '
_DTYPE += '"float16" (GPUs only) or "float64".'
Dtype = Annotated[str | None, _option(WEIGHTS, "--dtype TYPE", _DTYPE)]
_CLIP = "CLIP ViT-B/32, for weight files that do not contain it."
Clip = Annotated[Path | None, _option(WEIGHTS, "--clip FOLDER", _CLIP)]

_ENGINE = '"local": this machine; "ray": a Ray cluster (extra `ray`).'
Engine = Annotated[Literal["local", "ray"], _option(RAY, "--engine", _ENGINE)]
_GPUS = "GPUs for each process with the network, e.g. 1 or 0.25."
Gpus = Annotated[float, _option(RAY, "--gpus NUMBER", _GPUS, min=0)]
_ADDRESS = 'A running cluster: "auto" or HOST:PORT. Default: one is started on this machine.'
Address = Annotated[str | None, _option(RAY, "--address ADDRESS", _ADDRESS)]

_LEGEND = "Where keypoints and colours are explained. In several pictures, also in those without detections, so that "
_LEGEND += "pictures of equal size get drawings of equal size."
Legend = Annotated[Literal["below", "inside", "none"], _option(DRAWINGS, "--legend", _LEGEND)]
Boxes = Annotated[
    bool, _option(DRAWINGS, "--boxes/--no-boxes", "Draw the box of each object (default).", show_default=False)
]
Labels = Annotated[
    bool,
    _option(DRAWINGS, "--labels/--no-labels", "Write the name and score of each object (default).", show_default=False),
]
_LINE_WIDTH = "Width of the edges; keypoints and boxes scale with it. Default: by the sizes of picture and object."
LineWidth = Annotated[Number, _option(DRAWINGS, "--line-width PIXELS", _LINE_WIDTH, min=0.1, max=1000)]
_CROPS = "NAME_xpose_1_OBJECT for each object: the part of the picture inside its box."
Crops = Annotated[bool, _option(FILES, "--crops", _CROPS)]
_POSE_MAP = "NAME_xpose_pose_map.png: bodies, hands and faces on black, for ControlNet and ComfyUI. Use it with: "
_POSE_MAP += "-t person,face,hand"
PoseMap = Annotated[bool, _option(FILES, "--pose-map", _POSE_MAP)]
CocoResults = Annotated[bool, _option(FILES, "--coco-results", "poses-results.json, for COCO evaluators.")]
Csv = Annotated[bool, _option(FILES, "--csv", "poses.csv, for spreadsheets: a row for each keypoint.")]
_OPENPOSE = "NAME_keypoints.json for each picture, for ControlNet and ComfyUI: people, faces, hands, animals."
OpenPose = Annotated[bool, _option(FILES, "--openpose", _OPENPOSE)]
_YOLO = "labels/NAME.txt for each picture, and data.yaml, for YOLO-pose training."
Yolo = Annotated[bool, _option(FILES, "--yolo", _YOLO)]

DatasetName = Annotated[str, typer.Argument(metavar="NAME", help="A dataset from `xpose data list`.")]
Sources = Annotated[
    list[Path],
    typer.Argument(
        metavar="SOURCE",
        help="Prepared sets, folders of them, or folders of COCO sets (NAME/train.json, NAME/images).",
    ),
]
SetsOut = Annotated[Path, typer.Option(help="Folder for prepared sets; this set is written to OUT/NAME.")]
OnlySets = Annotated[Texts, typer.Option("--only", help="Only this set; may be repeated.", metavar="NAME")]
OnlySplits = Annotated[Texts, typer.Option(help="Only this split; may be repeated.", metavar="NAME")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start over instead of resuming an interrupted run.")]
DrawnOut = Annotated[Path, typer.Option(help="Folder for the set.")]
DrawnSeed = Annotated[int, typer.Option(help="The same seed draws the same pictures.")]


@dataclass(frozen=True)
class PromptOptions:
    """What to detect, in words and by example pictures."""

    text: Objects = None
    skeleton: Skeletons = None
    keypoints: Keypoints = None
    part: Part = None
    style: Style = None
    like: Like = None
    points: Points = None


@dataclass(frozen=True)
class SearchOptions(PromptOptions):
    """What to detect, where, and with which weights."""

    bank: Bank = None
    region: Region = None
    threshold: Threshold = None
    max_instances: MaxInstances = None
    nms: Nms = None
    nms_oks: NmsOks = None
    rivals: Rivals = None
    weights: Weights = None
    config: Config = None
    device: Device = None
    dtype: Dtype = None
    clip: Clip = None


@dataclass(frozen=True)
class DetectionCommandOptions(SearchOptions):
    """The options that `xpose detect` and `xpose count` share."""

    images: Images = None
    more: MoreImages = None


@dataclass(frozen=True)
class DrawingOptions:
    """How `xpose detect` draws; see `Poses.draw`."""

    legend: Legend = "below"
    boxes: Boxes = True
    labels: Labels = True
    line_width: LineWidth = None


@dataclass(frozen=True)
class FileOptions:
    """What `xpose detect` writes besides drawings and the COCO file; formats have the names of their table."""

    crops: Crops = False
    pose_map: PoseMap = False
    coco_results: CocoResults = False
    csv: Csv = False
    openpose: OpenPose = False
    yolo: Yolo = False

    @property
    def formats(self) -> list[str]:
        """The names of the requested formats."""
        named = (field.name for field in fields(self) if field.name not in ("crops", "pose_map"))
        return [name.replace("_", "-") for name in named if getattr(self, name)]


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """Replace parameters of the classes above by one option for each field."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        options = get_type_hints(groups[name], include_extras=True)
        parameters += [
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=options[field.name]
            )
            for field in fields(groups[name])
        ]

    def run(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    run.__doc__ = command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def check_engine(engine: str, given: Mapping[str, object]) -> None:
    """Refuse options of Ray, by name, that are given without it."""
    names = [name for name, value in given.items() if value]
    if engine == "local" and names:
        raise typer.BadParameter("It is only for --engine ray.", param_hint=names[0])
