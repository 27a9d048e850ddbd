"""`xpose calibrate`: fit thresholds and temperatures to labelled pictures, and write them."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _console, _options, _picture_loop, _prompts
from xpose.cli._inputs import printable
from xpose.cli._options import _option as option
from xpose.cli.eval import Limit, Only, counting
from xpose.errors import CheckpointError, ConfigError, DataError, counted, quote

if TYPE_CHECKING:
    from xpose.evaluation.data import EvaluationData
    from xpose.inference import Detector
    from xpose.model.checkpoints.calibration import Calibration

HOW_FIT = "What is fitted"

ABOUT_DATA = "Labelled pictures: a folder of sets, or a prepared set."
ABOUT_OUT = "Write a calibrated copy of the weights instead of changing them."
ABOUT_SPLIT = '"val", "test" or "held-out" (a tenth of train).'
ABOUT_ALARMS = "Wrong poses of a class per picture that is asked for it. Default: the thresholds with the best F1."
ABOUT_ABSENT_ALARMS = "Raise thresholds until pictures that lack a class get at most this many poses of it on average."
ABOUT_ABSENT = "Classes that are asked though the picture lacks them."
ABOUT_LEAST = "Objects from which a class has its own threshold."
ABOUT_RIVALS = 'Classes that the network knows well, e.g. "person,dog": where they fit better nothing else is answered.'
ABOUT_RIVALS += ' "none" for no such names. Default: those stored with the weights.'
ABOUT_FORCE = 'Write the result even if "after" is worse than "before".'

Alarms = float | None


def calibrate(
    data: Annotated[list[Path], option(None, "--data FOLDER", ABOUT_DATA)],
    weights: _options.Weights = None,
    out: Annotated[Path | None, option(None, "-o --out FOLDER", ABOUT_OUT)] = None,
    dry_run: Annotated[bool, option(None, "--dry-run", "Only show the table.")] = False,
    force: Annotated[bool, option(None, "--force", ABOUT_FORCE)] = False,
    as_json: _options.AsJson = False,
    split: Annotated[str, option(None, "--split NAME", ABOUT_SPLIT)] = "val",
    only: Only = None,
    limit: Limit = None,
    false_alarms: Annotated[Alarms, option(HOW_FIT, "--false-alarms NUMBER", ABOUT_ALARMS, min=0)] = None,
    absent_alarms: Annotated[Alarms, option(HOW_FIT, "--absent-alarms NUMBER", ABOUT_ABSENT_ALARMS, min=0)] = None,
    absent: Annotated[int, option(HOW_FIT, "--absent N", ABOUT_ABSENT, min=0)] = 3,
    least: Annotated[int, option(HOW_FIT, "--least N", ABOUT_LEAST, min=1)] = 10,
    rivals: Annotated[str | None, option(HOW_FIT, "--rivals NAMES", ABOUT_RIVALS)] = None,
    device: _options.Device = None,
    dtype: _options.Dtype = None,
    clip: _options.Clip = None,
) -> None:
    """Fit thresholds and temperatures of weights to labelled pictures.

    Writes the result to calibration.json in the weight folder, in one step; the weights do not change. The table shows
    each number before and after. "after" is cross-validated: each half of the pictures is measured with the fit on the
    other half. If F1 is lower after than before, nothing is written.

    Classes that the pictures do not show keep their thresholds. Use pictures that were not used in training, with every
    object of the queried classes labelled.

    Example: xpose calibrate --weights weights/mine --data sets/ --false-alarms 0.1
    """
    from xpose.evaluation.data import EvaluationData

    names = _picture_loop.names_of_rivals(rivals)
    if not dry_run:
        _check_target(weights, out)
    detector = _prompts.load_detector(weights, None, device, dtype, clip)
    pictures = EvaluationData.at(data, split, only or ())
    fit: dict[str, Any] = {"false_alarms": false_alarms, "absent_alarms": absent_alarms, "least": least}
    calibration, rows, count, faults = _fitted(detector, pictures, {"absent": absent, "limit": limit}, names, fit)
    if as_json:
        _console.show_json(_as_dict(calibration, rows, count))
    else:
        _show(calibration, rows, count)
    if not dry_run:
        if not force:
            _refuse_worse(rows, fewer_alarms=false_alarms is not None or absent_alarms is not None)
        _console.note(f"Written into {_write(weights, out, calibration) / 'calibration.json'}")
    if faults:
        raise typer.Exit(_console.FAILURE)


def _fitted(
    detector: Detector, data: EvaluationData, asked: dict[str, Any], rivals: Sequence[str] | None, fit: dict[str, Any]
) -> tuple[Calibration, dict[str, dict[str, float]], int, int]:
    """The calibration, the table's rows, and the counts of used and skipped pictures."""
    from xpose.evaluation.calibration import calibrate, collect, compared

    faults = 0

    def fault(key: str, message: str) -> None:
        nonlocal faults
        faults += 1
        _console.fail(f"{printable(key)}: {printable(message.rstrip('. '))}. Skipped.")

    stored, earlier = detector.calibration, None
    rivals = stored.rivals if rivals is None else tuple(rivals)
    with counting("calibrate") as progress:
        samples = collect(detector, data, rivals=rivals, fault=fault, progress=progress, **asked)
        if rivals != stored.rivals:
            earlier = collect(detector, data, rivals=stored.rivals, progress=progress, **asked)
    if not any(picture.right.any() if fit["false_alarms"] is None else len(picture.scores) for picture in samples):
        raise DataError(
            f"No pose that these weights found in {counted(len(samples), 'picture')} is right (box IoU of at least "
            "0.5), so there is nothing to fit thresholds to, and nothing was written. Use weights that know these "
            "objects, or other pictures."
        )
    calibration = calibrate(samples, **fit, before=replace(stored, rivals=rivals))
    return calibration, compared(samples, stored, earlier, **fit), len(samples), faults


def _refuse_worse(rows: dict[str, dict[str, float]], *, fewer_alarms: bool) -> None:
    from xpose.evaluation.calibration import worse_measures

    if worse := worse_measures(rows, fewer_alarms=fewer_alarms):
        faults = ", ".join(f"{name} {rows['after'][name]:.4f} instead of {rows['before'][name]:.4f}" for name in worse)
        raise DataError(
            f"The calibration would make these weights worse on pictures that it was not fitted to: {faults}. Nothing "
            "was written. Use more labelled pictures, or write it anyway with --force."
        )


def _check_target(weights: str | None, out: Path | None) -> None:
    """Check before any work that a weight folder can be changed, or copied to a free place."""
    from xpose.model.checkpoints.known import bundled_weights

    folder, bundled = _folder(weights), weights is None or weights in bundled_weights()
    if folder is None or (bundled and out is None):
        raise ConfigError(
            f"The weights {quote(weights or 'of this installation')} are not a folder of yours. A calibration is "
            "written into calibration.json of a weight folder. Make one with xpose convert, give --out FOLDER for a "
            "calibrated copy of bundled weights, or only look with --dry-run."
        )
    if out is not None and os.path.lexists(out.expanduser()):
        place = out.expanduser()
        if not place.is_dir() or any(place.iterdir()):
            raise CheckpointError(f"{quote(out)} is already there. A copy goes into a new folder. Give another name.")


def _folder(weights: str | None) -> Path | None:
    from xpose.model.checkpoints.folders import CONFIG_FILE, WEIGHT_FILE, weight_folder
    from xpose.model.checkpoints.known import bundled_weights, default_weights

    name = weights or default_weights()
    path = weight_folder(bundled_weights().get(name, Path(name).expanduser()))
    if path.name == WEIGHT_FILE:
        path = path.parent
    return path if (path / CONFIG_FILE).is_file() else None


def _write(weights: str | None, out: Path | None, calibration: Calibration) -> Path:
    """Write to the weights' own folder, or atomically to a copy of the folder."""
    from xpose.model.checkpoints.calibration import write_calibration

    source = _folder(weights)
    assert source is not None, "checked before the work began"
    if out is None:
        write_calibration(source, calibration)
        return source
    target = out.expanduser().resolve()
    staging = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        shutil.copytree(source, staging, dirs_exist_ok=True)
        write_calibration(staging, calibration)
        staging.chmod(0o755)  # a temporary folder starts as private
        if target.exists():
            target.rmdir()  # empty, as was checked
        staging.rename(target)
    except (OSError, shutil.Error) as error:
        raise CheckpointError(
            f"The weights could not be copied to {quote(out)} ({getattr(error, 'strerror', None) or error}). "
            "The folder needs room and permission. Choose another place."
        ) from None
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
    return out


def _show(calibration: Calibration, rows: dict[str, dict[str, float]], pictures: int) -> None:
    def cell(value: float) -> str:
        return "-" if math.isnan(value) else f"{value:.4f}"

    cells = [(name, *(cell(numbers[name]) for numbers in rows.values())) for name in rows["before"]]
    _console.show(_console.table((counted(pictures, "picture"), "before", "after"), cells))
    limits = [(name or "(all others)", cell(value)) for name, value in calibration.thresholds.items()]
    _console.show(_console.table(("class", "threshold"), limits))
    _console.show(
        f"temperature {calibration.temperature:.3f}, of points {calibration.keypoint_temperature:.3f}; "
        f"points count as absent below {calibration.keypoint_threshold:.4f}"
    )
    if calibration.rivals:
        _console.show(f"rivals: {', '.join(calibration.rivals)}")


def _as_dict(calibration: Calibration, rows: dict[str, dict[str, float]], pictures: int) -> dict[str, Any]:
    names = ("thresholds", "keypoint_threshold", "temperature", "keypoint_temperature", "rivals")
    content: dict[str, Any] = {"pictures": pictures} | {name: getattr(calibration, name) for name in names}
    for when, numbers in rows.items():
        content[when] = {name: None if math.isnan(value) else value for name, value in numbers.items()}
    return content | {"thresholds": dict(calibration.thresholds)}
