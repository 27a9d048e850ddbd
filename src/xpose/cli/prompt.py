"""`xpose prompt`: prompts encoded once and kept in a small file, to reuse without the encoders and to share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _console, _prompts
from xpose.cli._inputs import printable
from xpose.errors import CheckpointError, quote

if TYPE_CHECKING:
    from xpose.inference import PromptBank

app = typer.Typer(
    help="Keep prompts in a file (a *prompt bank*), to use again with `xpose detect --bank` and to share.\n\n"
    "Example: xpose prompt save birds.safetensors -t wren,robin",
    rich_markup_mode="markdown",
    no_args_is_help=True,
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A prompt bank, FILE.safetensors.")]


@app.command("save")
def save(
    file: File,
    text: _prompts.Objects = None,
    skeleton: _prompts.Skeletons = None,
    keypoints: _prompts.Keypoints = None,
    like: _prompts.Like = None,
    points: _prompts.Points = None,
    weights: _prompts.Weights = None,
    device: _prompts.Device = None,
    clip: _prompts.Clip = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bank that is already there.")] = False,
) -> None:
    """Encode prompts, in words or by example pictures, and save them.

    The file holds numbers and names, no pictures. It works with the weights that made it.

    Example: xpose prompt save birds.safetensors -t wren --like wren.jpg --points wren.json
    """
    target = file.expanduser()
    _check_target(target, overwrite)
    asked = _prompts.build_prompts(text, skeleton, keypoints, like, points)
    _prompts.say_what_is_looked_for(asked)
    detector = _prompts.load_detector(weights, None, device, None, clip)
    from xpose.inference import PromptBank

    bank = PromptBank.make(detector, list(asked.prompts))
    bank.save(target)
    _console.show(f"Wrote {printable(file)} ({target.stat().st_size / 1e3:.0f} kB): {', '.join(map(printable, bank))}")


@app.command("show")
def show(
    file: File,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a prompt bank holds: classes, their keypoints, and the network that it belongs to.

    Example: xpose prompt show birds.safetensors
    """
    from xpose.inference import PromptBank

    bank = PromptBank.load(file.expanduser())
    if as_json:
        _console.show_json(as_dict(bank))
    else:
        _show(bank)


def as_dict(bank: PromptBank) -> dict[str, Any]:
    """What a bank holds, without its numbers."""
    name, _, digest = bank.network.partition(":")
    return {
        "network": name,
        "weights": digest,
        "classes": [
            {
                "name": label,
                "skeleton": one.names.skeleton,
                "keypoints": list(one.names.names),
                "edges": [list(edge) for edge in one.names.edges],
            }
            for label, one in bank.items()
        ],
    }


def _show(bank: PromptBank) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    content = as_dict(bank)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class", overflow="fold")
    table.add_column("skeleton")
    table.add_column("points", justify="right")
    table.add_column("keypoints", overflow="fold")
    for one in content["classes"]:
        names = ", ".join(map(printable, one["keypoints"])) or "none: only boxed"
        cells = (printable(one["name"]), one["skeleton"] or "", str(len(one["keypoints"])), names)
        table.add_row(*(Text(cell) for cell in cells))
    _console.show(table)
    _console.show(f"Made with {content['network']}, weights {content['weights']}; works with these weights only.")


def _check_target(target: Path, overwrite: bool) -> None:
    """Before the network is loaded: whether the file may be written."""
    if target.suffix != ".safetensors":
        raise CheckpointError(
            f"{quote(target)} must end in .safetensors, as prompt banks are files of that kind. "
            f"Try: {target.with_suffix('.safetensors') if target.name else 'birds.safetensors'}"
        )
    if target.is_dir():
        raise CheckpointError(f"{quote(target)} is a folder. A prompt bank is a file; give another name.")
    if target.exists() and not overwrite:
        raise CheckpointError(
            f"{quote(target)} is already there. Nothing is replaced unasked; give another name, or add --overwrite."
        )
