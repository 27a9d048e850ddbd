"""`xpose convert`: convert a checkpoint in the official layout to a weight folder, atomically."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from xpose.cli import _console, _options
from xpose.errors import CheckpointError, quote

# The files of a weight folder; a folder that contains anything else is never replaced.
FILES = {"config.json", "calibration.json", "model.safetensors", "README.md"}
_CHECKPOINT_HELP = "The released file (.pth, .pt or .safetensors)."
_HALF_HELP = "Store 16-bit numbers, which halves the size and changes results slightly."


def convert(
    checkpoint: Annotated[Path, typer.Argument(metavar="OFFICIAL.pth", help=_CHECKPOINT_HELP)],
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="The weight folder to create.")],
    half: Annotated[bool, typer.Option("--half", help=_HALF_HELP)] = False,
    overwrite: _options.Overwrite = False,
) -> None:
    """Convert a released X-Pose checkpoint to a weight folder.

    Reads a file in the layout of unipose_swint.pth (also distributed as xpose.pth) and writes a folder with
    config.json, model.safetensors and README.md. Code in the file is never executed.

    Example: xpose convert unipose_swint.pth weights/xpose-swin-t
    """
    target = out.expanduser().resolve()
    _check_target(target, checkpoint, overwrite)
    _console.note(f"Reading {checkpoint}")
    target.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder as the target, so that the last step is a rename on one file system.
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        _write(checkpoint, staging, half)
        staging.chmod(0o755)  # temporary folders are created as private
        _swap(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    size = sum(file.stat().st_size for file in target.iterdir())
    _console.show(f"Wrote {out} ({size / 1e6:.0f} MB): {', '.join(sorted(FILES))}")


def _check_target(target: Path, checkpoint: Path, overwrite: bool) -> None:
    if target.exists() and not target.is_dir():
        raise CheckpointError(f"{quote(target)} is a file. The weights need a folder; choose another name.")
    content = {file.name for file in target.iterdir()} if target.exists() else set()
    if not content:
        return
    if not content <= FILES or checkpoint.expanduser().resolve().parent == target:
        raise CheckpointError(
            f"The folder {quote(target)} contains other files ({', '.join(sorted(content)[:3])}). "
            "The weights need a folder of their own; choose another name."
        )
    if not overwrite:
        raise CheckpointError(f"{quote(target)} already contains weights. Choose another name, or add --overwrite.")


def _write(checkpoint: Path, folder: Path, half: bool) -> None:
    import torch
    from safetensors import SafetensorError

    from xpose.model.checkpoints.official import read_official
    from xpose.model.checkpoints.pretrained import save_pretrained

    model, encoders = read_official(checkpoint.expanduser())
    content = "and its prompt encoders" if encoders else "(the file has no prompt encoders)"
    _console.note(f"Writing the network {content}")
    card = _card(checkpoint.expanduser(), model.config.name, bool(encoders), half)
    try:
        save_pretrained(model, folder, encoders=encoders, card=card, dtype=torch.float16 if half else None)
    except SafetensorError as error:  # this is how safetensors reports a full disk
        raise CheckpointError(
            f"The weights could not be written ({error}). Free some disk space, or choose another folder."
        ) from None


def _swap(staging: Path, target: Path) -> None:
    """Move the finished folder into place; the old one is removed last, and restored if the step fails."""
    if not target.exists():
        staging.rename(target)
        return
    old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.old."))
    target.rename(old)
    try:
        staging.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)


def _card(checkpoint: Path, network: str, with_encoders: bool, half: bool) -> str:
    with checkpoint.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return (
        (Path(__file__).parent / "convert_card.md")
        .read_text("utf-8")
        .format(
            network=network,
            name=checkpoint.name,
            size=checkpoint.stat().st_size,
            digest=digest,
            encoders="yes" if with_encoders else "no",
            numbers="16 bit, rounded from the source" if half else "as in the source",
        )
    )
