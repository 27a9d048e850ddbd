"""`xpose calibrate`: thresholds and temperatures from labelled pictures, written beside the weights."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _console, _options, _picture_loop, _prompts
from xpose.cli._inputs import printable
from xpose.cli.eval import Limit, Only, counting
from xpose.errors import CheckpointError, ConfigError, DataError, counted, quote

if TYPE_CHECKING:
    from xpose.evaluation.data import EvaluationData
    from xpose.inference import Detector
    from xpose.model.checkpoints.calibration import Calibration

HOW_FIT = "What is fitted"

DataFolders = Annotated[
    list[Path],
    typer.Option("--data", metavar="FOLDER", help="Labelled pictures: a folder of sets, or a prepared set."),
]
OutFolder = Annotated[
    Path | None,
    typer.Option(
        "-o", "--out", metavar="FOLDER", help="Write a calibrated copy of the weights instead of changing them."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show the table.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")]
Split = Annotated[str, typer.Option(metavar="NAME", help='"val", "test" or "held-out" (a tenth of train).')]
FalseAlarms = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="NUMBER",
        rich_help_panel=HOW_FIT,
        help="Wrong poses of a class per picture that is asked for it. Default: the thresholds with the best F1.",
    ),
]
AbsentAlarms = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="NUMBER",
        rich_help_panel=HOW_FIT,
        help="Raise thresholds until pictures that lack a class get at most this many poses of it on average.",
    ),
]
Absent = Annotated[
    int,
    typer.Option(
        min=0, metavar="N", rich_help_panel=HOW_FIT, help="Classes that are asked though the picture lacks them."
    ),
]
Least = Annotated[
    int,
    typer.Option(min=1, metavar="N", rich_help_panel=HOW_FIT, help="Objects from which a class has its own threshold."),
]
Rivals = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        rich_help_panel=HOW_FIT,
        help='Classes that the network knows well, e.g. "person,dog": where they fit better nothing else is '
        'answered. "none" for no such names. Default: those stored with the weights.',
    ),
]


def calibrate(
    data: DataFolders,
    weights: _options.Weights = None,
    out: OutFolder = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    split: Split = "val",
    only: Only = None,
    limit: Limit = None,
    false_alarms: FalseAlarms = None,
    absent_alarms: AbsentAlarms = None,
    absent: Absent = 3,
    least: Least = 10,
    rivals: Rivals = None,
    device: _options.Device = None,
    dtype: _options.Dtype = None,
    clip: _options.Clip = None,
) -> None:
    """Set thresholds and temperatures of weights from labelled pictures.

    Writes the result into calibration.json of the weight folder, in one step; the weights stay as they are. The table
    shows each number before and after. After is measured on pictures that the fit has not seen: each half with what was
    fitted on the other.

    Use pictures that the weights were not trained on, with every object of the asked classes labelled.

    Example: xpose calibrate --weights weights/mine --data sets/ --false-alarms 0.1
    """
    from xpose.evaluation.data import EvaluationData

    names = _picture_loop.names_of_rivals(rivals)
    if not dry_run:
        _check_target(weights, out)
    detector = _prompts.load_detector(weights, None, device, dtype, clip)
    pictures = EvaluationData.at(data, split, only or ())
    fit: dict[str, Any] = {"false_alarms": false_alarms, "absent_alarms": absent_alarms, "least": least}
    calibration, rows, count, faults = _fitted(detector, pictures, absent, limit, names, fit)
    if as_json:
        _console.show_json(_as_dict(calibration, rows, count))
    else:
        _show(calibration, rows, count)
    if not dry_run:
        _console.note(f"Written into {_write(weights, out, calibration) / 'calibration.json'}")
    if faults:
        raise typer.Exit(_console.FAILURE)


def _fitted(
    detector: Detector,
    pictures: EvaluationData,
    absent: int,
    limit: int | None,
    rivals: tuple[str, ...] | None,
    fit: dict[str, Any],
) -> tuple[Calibration, dict[str, dict[str, float]], int, int]:
    """The calibration, the table's rows, and how many pictures were used and skipped."""
    from xpose.evaluation.calibration import calibrate, collect, compared

    faults = 0

    def fault(key: str, message: str) -> None:
        nonlocal faults
        faults += 1
        _console.fail(f"{printable(key)}: {printable(message.rstrip('. '))}. Skipped.")

    stored, earlier = detector.calibration, None
    rivals = stored.rivals if rivals is None else rivals
    with counting("calibrate") as progress:
        options: dict[str, Any] = {"absent": absent, "limit": limit, "progress": progress}
        samples = collect(detector, pictures, rivals=rivals, fault=fault, **options)
        if rivals != stored.rivals:
            earlier = collect(detector, pictures, rivals=stored.rivals, **options)
    calibration = calibrate(samples, **fit, before=replace(stored, rivals=rivals))
    if not calibration.thresholds:
        raise DataError(
            f"No pose that these weights found in {counted(len(samples), 'picture')} is right (box IoU of at least "
            "0.5), so there is nothing to fit thresholds to, and nothing was written. Use weights that know these "
            "objects, or other pictures."
        )
    return calibration, compared(samples, stored, earlier, **fit), len(samples), faults


def _check_target(weights: str | None, out: Path | None) -> None:
    """Before any work is done: there is a weight folder to change, or one to copy and room for the copy."""
    from xpose.model.checkpoints.pretrained import bundled_weights

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
    from xpose.model.checkpoints.pretrained import CONFIG_FILE, WEIGHT_FILE, bundled_weights, default_weights

    name = weights or default_weights()
    path = bundled_weights().get(name, Path(name).expanduser())
    if path.name == WEIGHT_FILE:
        path = path.parent
    return path if (path / CONFIG_FILE).is_file() else None


def _write(weights: str | None, out: Path | None, found: Calibration) -> Path:
    """Into the weights' own folder, or into a copy of the folder that appears whole or not at all."""
    from xpose.model.checkpoints.calibration import write_calibration

    source = _folder(weights)
    assert source is not None, "checked before the work began"
    if out is None:
        write_calibration(source, found)
        return source
    target = out.expanduser().resolve()
    staging = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        shutil.copytree(source, staging, dirs_exist_ok=True)
        write_calibration(staging, found)
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


def _show(found: Calibration, rows: dict[str, dict[str, float]], pictures: int) -> None:
    from rich.table import Table

    table = Table("", "before", "after", title=counted(pictures, "picture"), box=None, header_style="bold")
    for name in rows["before"]:
        table.add_row(name, *("-" if math.isnan(rows[when][name]) else f"{rows[when][name]:.4f}" for when in rows))
    _console.show(table)
    limits = Table("class", "threshold", box=None, header_style="bold")
    for name, value in found.thresholds.items():
        limits.add_row(name or "(all others)", f"{value:.4f}")
    _console.show(limits)
    _console.show(
        f"temperature {found.temperature:.3f}, of points {found.keypoint_temperature:.3f}; "
        f"points count as absent below {found.keypoint_threshold:.4f}"
    )
    if found.rivals:
        _console.show(f"rivals: {', '.join(found.rivals)}")


def _as_dict(found: Calibration, rows: dict[str, dict[str, float]], pictures: int) -> dict[str, Any]:
    numbers = {
        when: {name: None if math.isnan(value) else value for name, value in own.items()} for when, own in rows.items()
    }
    return {
        "pictures": pictures,
        "thresholds": dict(found.thresholds),
        "keypoint_threshold": found.keypoint_threshold,
        "temperature": found.temperature,
        "keypoint_temperature": found.keypoint_temperature,
        "rivals": list(found.rivals),
        **numbers,
    }
