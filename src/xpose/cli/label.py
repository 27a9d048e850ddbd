"""`xpose label`: label the pictures of a folder in the browser, starting from what the weights propose."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpose.cli import _console, _options, _prompts
from xpose.cli._inputs import list_pictures, printable
from xpose.cli.demo import HOST, Host, Port, announce
from xpose.errors import ConfigError, DataError, PromptError, counted, quote
from xpose.prompts import TextPrompt

if TYPE_CHECKING:
    from xpose.demo.labelling.folder import LabelFolder
    from xpose.demo.labelling.label_file import LabelFile
    from xpose.inference.learned import Learned

_LABELS = "What to label"
_NAME_HELP = "What the objects are, e.g. dog."
_SKELETON_HELP = "A skeleton of `xpose skeletons`, or a .toml file. Default: chosen by the object."
_KEYPOINTS_HELP = 'The keypoints to label, e.g. "tip,stalk"; with -k, a subset of that skeleton.'
_FROM_HELP = "Start from this COCO keypoint file, or the JSON of `xpose detect`, in place of what the weights propose."

Name = Annotated[str | None, typer.Option("-t", "--text", metavar="NAME", help=_NAME_HELP, rich_help_panel=_LABELS)]
LabelSkeleton = Annotated[
    str | None, typer.Option("-k", "--skeleton", metavar="NAME", help=_SKELETON_HELP, rich_help_panel=_LABELS)
]
LabelKeypoints = Annotated[
    str | None, typer.Option("--keypoints", metavar="NAMES", help=_KEYPOINTS_HELP, rich_help_panel=_LABELS)
]
From = Annotated[Path | None, typer.Option("--from", metavar="RESULTS.json", help=_FROM_HELP, rich_help_panel=_LABELS)]


def label(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of the pictures, with subfolders.")],
    text: Name = None,
    skeleton: LabelSkeleton = None,
    keypoints: LabelKeypoints = None,
    results: From = None,
    weights: _options.Weights = None,
    device: _options.Device = None,
    dtype: _options.Dtype = None,
    clip: _options.Clip = None,
    host: Host = HOST,
    port: Port = None,
) -> None:
    """Label keypoints in the pictures of a folder by clicks, in the browser.

    The weights propose objects in each picture, which you correct or accept. After every picture, all labels are saved
    in FOLDER/labels.json, a COCO file for `xpose finetune`. Continue with the same command, or just: xpose label FOLDER

    Examples:

    - xpose label photos/ -t dog
    - xpose label photos/ -t leaf --keypoints "tip,stalk"
    - xpose label photos/ -p runs/finetune
    """
    from xpose.demo.labelling.controller import LabelController
    from xpose.demo.labelling.folder import LabelFolder
    from xpose.demo.labelling.label_file import read_labels
    from xpose.demo.labelling.proposals import Proposer, results_for
    from xpose.demo.labelling.server import make_label_app
    from xpose.demo.server import serve
    from xpose.inference.loading import learned_by

    pictures = _pictures(folder.expanduser())
    file = _label_file(folder.expanduser(), text, skeleton, keypoints, learned_by(weights))
    names = [*pictures]
    listed = None if results is None else results_for(read_labels(results.expanduser()), file.category, names, results)
    detector = _prompts.load_detector(weights, None, device, dtype, clip)
    labelling = LabelFolder(pictures, file, Proposer(detector, file.category, listed))
    finetune = shlex.join(["xpose", "finetune", "--data", str(file.path)])
    _console.note(_progress(labelling, file))
    try:
        controller = LabelController(labelling, finetune)
        serve(lambda: make_label_app(controller), labelling.prepare_first, host, port, announce(host))
    finally:
        labelling.close()
        _console.note(_progress(labelling, file))
        if labelling.labelled:
            _console.show(f"Train with them: {finetune}")


def _progress(labelling: LabelFolder, file: LabelFile) -> str:
    total = counted(len(labelling.names), "picture")
    return f"{labelling.labelled} of {total} labelled with {file.category.name} in {printable(file.path)}"


def _pictures(folder: Path) -> dict[str, Path]:
    """The readable pictures of the folder by their relative paths, in natural order."""
    from xpose.pictures.reading import picture_size

    if not folder.is_dir():
        raise DataError(f"{quote(folder)} is not a folder. Give the folder of the pictures to label.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(
            f"The folder {quote(folder)} is not writable, and the labels are saved in it. Use a copy of it."
        )
    listed, faults = list_pictures([str(folder)])
    if faults:
        raise DataError(faults[0].message)
    pictures, damaged = {}, []
    for picture in listed:
        try:
            picture_size(picture.path)
            pictures[picture.below.as_posix()] = picture.path
        except DataError as error:
            damaged.append(str(error))
    for message in damaged:
        _console.note(f"Left out: {printable(message)}")
    if not pictures:
        raise DataError(f"No picture in {quote(folder)} can be read. Give a folder of pictures.")
    return pictures


def _label_file(
    folder: Path, text: str | None, skeleton: str | None, keypoints: str | None, learned: Learned
) -> LabelFile:
    """The labels that exist in the folder, or new ones; the options must agree with existing ones."""
    from xpose.demo.labelling.label_file import LABEL_FILE, LabelFile
    from xpose.records import Category

    path = folder / LABEL_FILE
    names = None if keypoints is None else [name.strip() for name in keypoints.split(",")]
    if not path.exists():
        prompt = TextPrompt(_object_name(text, skeleton), skeleton, names)
        chosen = prompt.resolve(learned)
        _prompts.show_prompts([prompt], [chosen])
        if not chosen.names:
            raise PromptError(
                f'{quote(chosen.label)} has no keypoints to label. Name them, e.g. --keypoints "tip,stalk"'
            )
        category = Category(chosen.label, chosen.skeleton or chosen.label, chosen.names, chosen.edges)
        return LabelFile(path, category)
    file = LabelFile.read(path)
    category = file.category
    asked = None
    if skeleton is not None or names is not None:
        asked = TextPrompt(text or category.name, skeleton, names).resolve(learned).names
    if (text or category.name) != category.name or asked not in (None, category.keypoints):
        raise ConfigError(
            f"{quote(path)} labels {quote(category.name)} with the keypoints {', '.join(category.keypoints)}. Omit -t, "
            "-k and --keypoints to continue it. To label something else, rename the file; the renamed file can be used "
            "as --from."
        )
    return file


def _object_name(text: str | None, skeleton: str | None) -> str:
    """What the objects are: `-t`, or the skeleton if it is called like a category."""
    from xpose.vocabulary import find_category

    if text is not None:
        return text
    if skeleton is None or find_category(skeleton) is None:
        raise PromptError(
            "It is not known what the objects are, which fine-tuning and detection need. Name them, e.g. -t dog"
        )
    return skeleton
