"""`xpose prompt`: encode prompts once and save them in a small file, to reuse and share them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xpose.cli import _console, _options, _prompts
from xpose.cli._inputs import printable
from xpose.errors import CheckpointError, quote

app = typer.Typer(
    help="Save prompts in a file (a *prompt bank*) for `xpose detect --bank`.\n\n"
    "Example: xpose prompt save birds.safetensors -t wren,eagle",
    rich_markup_mode="markdown",
    no_args_is_help=True,
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A prompt bank, FILE.safetensors.")]


@app.command("save")
@_options.expanded
def save(
    file: File,
    prompt_options: _options.PromptOptions,
    weights: _options.Weights = None,
    device: _options.Device = None,
    clip: _options.Clip = None,
    overwrite: _options.Overwrite = False,
) -> None:
    """Encode words or example pictures, and save them.

    The file contains embeddings and names, but no pictures. It works only with the weights that it was made with.

    Example: xpose prompt save birds.safetensors -t wren --like wren.jpg --points wren.json
    """
    target = file.expanduser()
    _check_target(target, overwrite)
    prompts = _prompts.build_prompts(prompt_options)
    detector = _prompts.load_detector(weights, None, device, None, clip)
    encoded = _prompts.encode(prompts, None, detector)
    _prompts.show_prompts(prompts, [entry.names for entry in encoded[: len(prompts)]])
    from xpose.inference import PromptBank

    bank = PromptBank.make(detector, encoded)
    bank.save(target)
    _console.show(f"Wrote {printable(file)} ({target.stat().st_size / 1e3:.0f} kB): {', '.join(map(printable, bank))}")


@app.command("show")
def show(file: File, as_json: _options.AsJson = False) -> None:
    """Show the content of a prompt bank: its classes, their keypoints, and the network that it belongs to.

    Example: xpose prompt show birds.safetensors
    """
    from xpose.inference import PromptBank

    bank = PromptBank.load(file.expanduser())
    network, _, digest = bank.network.partition(":")
    if as_json:
        classes = [
            {
                "name": label,
                "skeleton": encoded.names.skeleton,
                "keypoints": list(encoded.names.names),
                "edges": [list(edge) for edge in encoded.names.edges],
            }
            for label, encoded in bank.items()
        ]
        _console.show_json({"network": network, "weights": digest, "classes": classes})
        return
    rows = []
    for label, encoded in bank.items():
        names = ", ".join(map(printable, encoded.names.names)) or "none, box only"
        rows.append([printable(label), encoded.names.skeleton or "", str(len(encoded.names.names)), names])
    _console.show(_console.table(("class", "skeleton", "count", "keypoints"), rows, right=["count"]))
    _console.show(f"Made with {network}, weights {digest}; works with these weights only.")


def _check_target(target: Path, overwrite: bool) -> None:
    """Check whether the file can be written, before the network is loaded."""
    if target.suffix != ".safetensors":
        raise CheckpointError(
            f"{quote(target)} must end in .safetensors, the file format of prompt banks. "
            f"Try: {target.with_suffix('.safetensors') if target.name else 'birds.safetensors'}"
        )
    if target.is_dir():
        raise CheckpointError(f"{quote(target)} is a folder. A prompt bank is a file; choose another name.")
    if target.exists() and not overwrite:
        raise CheckpointError(f"{quote(target)} already exists. Choose another name, or add --overwrite.")
