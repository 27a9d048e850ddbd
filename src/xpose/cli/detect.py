"""`xpose detect`: detect objects and their keypoints in pictures; writes drawings and a COCO file, prints a table."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _options, _picture_loop, _prompts
from xpose.cli._outputs import Results, check_folder

if TYPE_CHECKING:
    from xpose.cli._inputs import Picture
    from xpose.inference import DetectionOptions, Detector
    from xpose.inference.encoded import EncodedClass

DEFAULT_OUT = Path("xpose-out")


def detect(
    images: _options.Images = None,
    more: _options.MoreImages = None,
    text: _options.Objects = None,
    skeleton: _options.Skeletons = None,
    keypoints: _options.Keypoints = None,
    like: _options.Like = None,
    points: _options.Points = None,
    bank: _options.Bank = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FOLDER",
            help="Folder for drawings and poses.json. Default: xpose-out, or no files with --json.",
        ),
    ] = None,
    as_json: _options.AsJson = False,
    profile: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a PyTorch trace of the run, for chrome://tracing or Perfetto."),
    ] = None,
    threshold: _options.Threshold = None,
    keypoint_threshold: _options.KeypointThreshold = None,
    max_instances: _options.MaxInstances = None,
    nms: _options.Nms = None,
    nms_oks: _options.NmsOks = None,
    rivals: _options.Rivals = None,
    weights: _options.Weights = None,
    config: _options.Config = None,
    device: _options.Device = None,
    dtype: _options.Dtype = None,
    clip: _options.Clip = None,
) -> None:
    """Detect objects and their keypoints in pictures.

    Describe the objects in words, show them in an example picture, or do both. The command draws the detections in each
    picture and writes all results to one COCO file, poses.json. Pictures that cannot be read are reported and skipped.

    Examples:

    - xpose detect photo.jpg -t dog
    - xpose detect photos/ -t person,face -k person,68_face_points -o results
    - xpose detect "frames/*.png" --like leaf.jpg --points leaf.json
    """
    words = _picture_loop.words_for_pictures(images, more)
    others = _picture_loop.names_of_rivals(rivals)
    keep: dict[str, Any] = {
        "threshold": threshold,
        "keypoint_threshold": keypoint_threshold,
        "max_instances": max_instances,
    }
    keep |= {"nms": nms, "nms_oks": nms_oks, "rivals": others}
    asked = _prompts.build_prompts(text, skeleton, keypoints, like, points, bank)
    folder = (None if as_json else DEFAULT_OUT) if out is None else out
    if folder is not None:
        check_folder(folder)

    def results(
        detector: Detector, prompts: list[EncodedClass], pictures: list[Picture], options: DetectionOptions
    ) -> Results:
        limits = detector.limits(prompts, options=options)
        inputs = [*(like or ()), *(points or ()), *([bank] if bank else ())]
        return Results(pictures, folder, prompts, limits, inputs, as_json=as_json)

    load = partial(_prompts.load_detector, weights, config, device, dtype, clip)
    _picture_loop.detect_in_pictures(words, asked, keep, load, results, folder, profile)
