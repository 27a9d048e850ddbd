"""Weights that come with the package, and weights that are known to exist elsewhere."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from xpose.errors import CheckpointError
from xpose.model.checkpoints.pretrained import CONFIG_FILE, WEIGHT_FILE

DEFAULT = "xpose-nano"


class KnownWeights(NamedTuple):
    """Weights that the package does not contain."""

    name: str
    what: str
    licence: str
    where: str
    use: str


KNOWN = (
    KnownWeights(
        name="unipose_swint.pth",
        what="The authors' Swin-T checkpoint of X-Pose (also found as xpose.pth), trained on UniKPT.",
        licence="Non-commercial research only, by the authors' repository.",
        where="Linked by the authors' X-Pose repository (IDEA-Research); not fetched or mirrored by xpose.",
        use="xpose detect photo.jpg -t horse -p unipose_swint.pth; or once: xpose convert unipose_swint.pth folder/",
    ),
)


def bundled_weights() -> dict[str, Path]:
    """Names of the weights in this installation and their folders."""
    root = Path(str(files("xpose.model"))) / "bundled"
    if not root.is_dir():
        return {}
    return {p.name: p for p in sorted(root.iterdir()) if (p / CONFIG_FILE).is_file() and (p / WEIGHT_FILE).is_file()}


def default_weights() -> str:
    """The name of the weights that are used when none are named."""
    if DEFAULT in bundled_weights():
        return DEFAULT
    raise CheckpointError(
        "This installation of xpose is without its trained weights. Install it again, or name a weight folder, the "
        "released unipose_swint.pth, or a hub id: -p unipose_swint.pth on the command line, "
        'xpose.load("unipose_swint.pth") in Python. '
        "Known weights are listed by: xpose models"
    )
