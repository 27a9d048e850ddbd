"""Weights that are known by name: those in the package, and where others come from."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from xpose.errors import CheckpointError

DEFAULT = "xpose-nano"
# Weights that the package does not contain.
KNOWN = (
    {
        "name": "unipose_swint.pth",
        "what": "The authors' Swin-T checkpoint of X-Pose (also found as xpose.pth), trained on UniKPT.",
        "licence": "Non-commercial research only, by the authors' repository.",
        "where": "Linked by the authors' X-Pose repository (IDEA-Research); not fetched or mirrored by xpose.",
    },
)


def bundled_weights() -> dict[str, Path]:
    """Names of the weights in this installation and their folders."""
    root = Path(str(files("xpose.model") / "bundled"))
    return {path.parent.name: path.parent for path in sorted(root.glob("*/model.safetensors"))}


def default_weights() -> str:
    """The name of the default weights."""
    if DEFAULT in bundled_weights():
        return DEFAULT
    raise CheckpointError(
        "This installation of xpose is without its trained weights. Install it again, or name a weight folder, the "
        "released unipose_swint.pth, or a hub id: -p unipose_swint.pth on the command line, "
        'xpose.load("unipose_swint.pth") in Python. Known weights are listed by: xpose models'
    )
