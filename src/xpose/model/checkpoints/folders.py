"""Weight folders: their files, and where they are; reading them needs PyTorch or ONNX Runtime, this module neither."""

from __future__ import annotations

from pathlib import Path

from xpose.errors import CheckpointError, first_line, missing_extra, quote
from xpose.model.checkpoints.calibration import CALIBRATION_FILE
from xpose.model.checkpoints.categories import CATEGORIES_FILE
from xpose.model.checkpoints.known import bundled_weights
from xpose.model.config import XPoseConfig
from xpose.pictures import PICTURE_ENDINGS

CONFIG_FILE, WEIGHT_FILE, CARD_FILE = "config.json", "model.safetensors", "README.md"
BEST, LAST = "best", "weights"  # the weight folders in the folder of a training run
# Prompt encoders are in the weight file too, with this prefix before their official names.
ENCODER_PREFIX = "prompt_encoder."


def located(name_or_path: str | Path, revision: str | None = None) -> Path:
    """The weight folder, or the single file, that a name, a path or a hub id ("owner/name") means.

    Raises:
        CheckpointError: there is none.
    """
    path = bundled_weights().get(str(name_or_path), Path(name_or_path).expanduser())
    if path.is_dir():
        return weight_folder(path)
    if path.suffix.lower() in PICTURE_ENDINGS:
        raise CheckpointError(
            f"{quote(path)} is a picture. Weights are a weight folder, a .pth or .safetensors file, or a name of those "
            "listed by: xpose models"
        )
    if path.is_file() or path.suffix in (".pth", ".pt", ".safetensors", ".onnx", ".xml"):
        return path.parent if path.name == WEIGHT_FILE and (path.parent / CONFIG_FILE).is_file() else path
    return _from_hub(str(name_or_path), revision)


def weight_folder(folder: Path) -> Path:
    """The folder itself, or in the folder of a training run its best weights, or its last ones without best ones."""
    if (folder / CONFIG_FILE).is_file():
        return folder
    return next((folder / name for name in (BEST, LAST) if (folder / name / CONFIG_FILE).is_file()), folder)


def read_config(folder: Path) -> XPoseConfig:
    """The settings of the network in a weight folder.

    Raises:
        CheckpointError: a file of the folder is missing.
        ConfigError: the settings cannot be read.
    """
    for name in (CONFIG_FILE, WEIGHT_FILE):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"The folder {quote(folder)} has no {name}. A weight folder holds {CONFIG_FILE} and {WEIGHT_FILE}; "
                "make one from an official file with: xpose convert. The folder of a training run holds one as soon "
                "as the run was tested or is finished."
            )
    return XPoseConfig.from_json((folder / CONFIG_FILE).read_text(encoding="utf-8"), quote(folder / CONFIG_FILE))


def _from_hub(name: str, revision: str | None) -> Path:
    if name.count("/") != 1:
        raise CheckpointError(
            f"There are no weights {quote(name)} here. Give a folder, a file, or a hub id of the form owner/name; "
            "bundled and known weights are listed by: xpose models"
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise missing_extra("Fetching weights from the hub", "huggingface_hub", "torch") from None

    patterns = [CONFIG_FILE, CALIBRATION_FILE, CATEGORIES_FILE, WEIGHT_FILE, CARD_FILE]
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except Exception as error:  # the hub client raises many kinds; all mean the same to the user
        raise CheckpointError(
            f"The weights {quote(name)} are not on this machine and could not be fetched ({first_line(error)}). "
            "Check the name and the network, or give a local folder."
        ) from None
