"""`xpose detect`: find objects and their keypoints in pictures; drawings, a COCO file, and a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xpose.cli import _console, _picture_loop, _prompts
from xpose.cli._inputs import list_pictures
from xpose.cli._outputs import Results, check_folder

DEFAULT_OUT = Path("xpose-out")


def detect(
    images: _picture_loop.Images = None,
    more: _picture_loop.MoreImages = None,
    text: _prompts.Objects = None,
    skeleton: _prompts.Skeletons = None,
    keypoints: _prompts.Keypoints = None,
    like: _prompts.Like = None,
    points: _prompts.Points = None,
    bank: _prompts.Bank = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FOLDER",
            help="Where drawings and poses.json go. Left out: xpose-out, or nowhere with --json.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON instead of a table.")] = False,
    profile: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a PyTorch trace of the run, for chrome://tracing or Perfetto."),
    ] = None,
    threshold: _picture_loop.Threshold = None,
    keypoint_threshold: _picture_loop.KeypointThreshold = None,
    max_instances: _picture_loop.MaxInstances = None,
    nms: _picture_loop.Nms = None,
    nms_oks: _picture_loop.NmsOks = None,
    rivals: _picture_loop.Rivals = None,
    weights: _prompts.Weights = None,
    config: _prompts.Config = None,
    device: _prompts.Device = None,
    dtype: _prompts.Dtype = None,
    clip: _prompts.Clip = None,
) -> None:
    """Find objects and their keypoints in pictures.

    Name what to look for in words, show it in an example picture, or both. For each picture a drawing is made; all
    results go into one COCO file, poses.json. Pictures that cannot be read are reported and skipped.

    Examples:

    - xpose detect photo.jpg -t dog
    - xpose detect photos/ -t person,face -k person,68_face_points -o results
    - xpose detect "frames/*.png" --like leaf.jpg --points leaf.json
    """
    words = _picture_loop.words_for_pictures(images, more)
    others = _picture_loop.names_of_rivals(rivals)
    asked = _prompts.build_prompts(text, skeleton, keypoints, like, points, bank)
    folder = (None if as_json else DEFAULT_OUT) if out is None else out
    if folder is not None:
        check_folder(folder)
    pictures, faults = list_pictures(words, folder)
    for fault in faults:
        _console.fail(fault.message)
    if not pictures:
        raise typer.Exit(_console.FAILURE)
    _prompts.say_what_is_looked_for(asked)
    from xpose.inference import DetectionOptions
    from xpose.model.profiling import profiled

    options = DetectionOptions(
        threshold=threshold,
        keypoint_threshold=keypoint_threshold,
        nms=nms,
        nms_oks=nms_oks,
        max_instances=max_instances,
        rivals=others,
    )
    detector = _prompts.load_detector(weights, config, device, dtype, clip)
    prompts = _prompts.encode(asked, detector)
    given = [*(like or ()), *(points or ()), *([bank] if bank else ())]
    limits = detector.limits(prompts, options=options)
    results = Results(pictures, folder, prompts, limits, given)
    try:
        with profiled(profile):
            faults += _picture_loop.detect_each(detector, prompts, pictures, options, results.add)
    finally:  # after Ctrl-C as well: what is finished stays
        results.finish(faults, as_json)
    if faults:
        raise typer.Exit(_console.FAILURE)
