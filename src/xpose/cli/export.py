"""`xpose export`: write a network for other runtimes, after a comparison of its results with PyTorch's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from xpose.cli import _console, _options
from xpose.errors import ConfigError, counted

if TYPE_CHECKING:
    from xpose.export.exporting import ExportReport

_FORMAT_HELP = "What to write: onnx (ONNX Runtime, TensorRT and others), openvino, or torch-export (.pt2)."
_SAMPLING_HELP = "How features are sampled: with the operator GridSample (grid), or with plain indexing (gather) for "
_SAMPLING_HELP += "runtimes that compute GridSample wrongly, as TensorRT from 10.13 is reported to do."
_PRECISION_HELP = "The numbers in the files. int8 needs --pictures like those that you will use."
_PICTURES_HELP = "Pictures, folders or patterns on which the results are compared; may be repeated. Default: three "
_PICTURES_HELP += "photographs of scikit-image, if it is installed."
_OUT_HELP = "The folder to create."
_WORDS_HELP = 'Objects to compare, e.g. "person,dog". Default: some that the weights have learned.'


def export(
    weights: Annotated[str | None, typer.Argument(metavar="[WEIGHTS]", help="Default: the bundled weights.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help=_OUT_HELP)] = Path("exported"),
    format: Annotated[Literal["onnx", "openvino", "torch-export"], typer.Option(help=_FORMAT_HELP)] = "onnx",
    sampling: Annotated[Literal["grid", "gather"], typer.Option(help=_SAMPLING_HELP)] = "grid",
    precision: Annotated[Literal["float32", "float16", "int8"], typer.Option(help=_PRECISION_HELP)] = "float32",
    pictures: Annotated[list[str] | None, typer.Option(metavar="PICTURE", help=_PICTURES_HELP)] = None,
    text: Annotated[str | None, typer.Option("-t", "--text", metavar="WORDS", help=_WORDS_HELP)] = None,
    clip: _options.Clip = None,
) -> None:
    """Export weights for ONNX Runtime, OpenVINO, TensorRT or torch.export.

    Prompts are inputs of the files, so that one export serves every prompt. Before anything is written, the results
    on pictures are compared with PyTorch's; files that differ are refused.

    Load an export with: xpose.load("FOLDER"), or -p FOLDER on the command line.

    Example: xpose export --format onnx --out exported
    """
    from xpose.export.exporting import ExportOptions, export_detector
    from xpose.inference import load

    options = ExportOptions(format, sampling, precision)
    if precision == "int8" and not pictures:
        raise ConfigError(
            "--precision int8 was given without --pictures. The ranges of 8-bit numbers are measured on pictures like "
            "those that you will use; name some, e.g. --pictures photos/"
        )
    compared = _pictures(pictures)
    detector = load(weights, device="cpu", clip=clip, engine="torch")
    words = [word.strip() for word in (text or "").split(",") if word.strip()]
    report = export_detector(detector, out, compared, words, options, licence=_licence(weights), note=_console.note)
    _show(report, precision)


def _pictures(given: list[str] | None) -> list[Path]:
    from xpose.cli._inputs import list_pictures
    from xpose.demo.pictures import photographs

    if given:
        pictures, faults = list_pictures(given)
        if faults:
            raise ConfigError(f"--pictures {faults[0].name}: {faults[0].message}")
        return [picture.path for picture in pictures]
    usual = list(photographs().values())[:3]
    if not usual:
        raise ConfigError(
            "There is no picture to compare results on. Name some with --pictures, or install scikit-image's "
            'photographs: pip install "xpose[examples]"'
        )
    return usual


def _licence(weights: str | None) -> str:
    """The licence in the card of a weight folder."""
    from xpose.model.checkpoints.folders import CARD_FILE, located
    from xpose.model.checkpoints.known import default_weights

    card = located(weights or default_weights()) / CARD_FILE
    lines = card.read_text("utf-8").splitlines() if card.is_file() else []
    return next((line.removeprefix("license:").strip() for line in lines if line.startswith("license:")), "not stated")


def _show(report: ExportReport, precision: str) -> None:
    worst, mean = (report.differences.summary(worst=worst) for worst in (True, False))
    for file in report.files:
        _console.note(f"  {file.name}  {file.stat().st_size / 1e6:.1f} MB")
    _console.show(
        f"Wrote {report.folder} ({counted(len(report.files), 'file')}). Compared with PyTorch for "
        f"{counted(report.differences.objects, 'object')}: places differ by at most {worst[0]:.2g} of an object's "
        f"longer side ({mean[0]:.2g} on average), scores by at most {worst[1]:.2g} ({mean[1]:.2g})."
    )
    if precision == "int8":
        _console.show(f"{report.differences.missing} of {report.differences.objects} objects were not found in 8 bits.")
