"""Weight folders of other systems: there or not, and which they are."""

from __future__ import annotations

import hashlib
from pathlib import Path

from xpose.errors import CheckpointError, quote


def need_folder(folder: str, kind: str) -> Path:
    """The folder, if it may hold such weights.

    Raises:
        CheckpointError: there is no such folder, or it has no config.json.
    """
    place = Path(folder).expanduser()
    if not (place / "config.json").is_file():
        raise CheckpointError(
            f"{quote(place)} holds no config.json. {kind} is given as a folder in transformers' form; nothing is "
            "downloaded. Fetch the model first and name its folder."
        )
    return place


def checksum(folder: Path) -> str:
    """The sha256 of all files of a folder that decide its answers."""
    state = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in (".json", ".safetensors", ".bin", ".txt", ".model"):
            state.update(path.name.encode())
            with open(path, "rb") as file:
                state.update(hashlib.file_digest(file, "sha256").digest())
    return state.hexdigest()
