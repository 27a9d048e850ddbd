"""The shipped table of sentence embeddings: the known vocabulary needs no encoder at start.

`assets/minilm_table.safetensors` holds one row of 384 half-precision numbers per name, in the order of the names, which
lie in its metadata together with the hash of the model that made them. Made by
`python -m xpose.model.prompting.build_table`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xpose.errors import CheckpointError, quote
from xpose.pictures.atomic import write_atomically

FILE = "minilm_table.safetensors"
KEY = "embeddings"


class SentenceTable(NamedTuple):
    """Names and their embeddings."""

    rows: Mapping[str, int]
    embeddings: np.ndarray  # [n, 384] float16
    model_sha256: str


def table_path() -> Path:
    """Where the table lies in the installed package."""
    return Path(str(resources.files(__package__) / "assets" / FILE))


@lru_cache(maxsize=1)
def shipped_table() -> SentenceTable:
    """The table that comes with the package, read once."""
    return read_table(table_path())


def read_table(path: Path) -> SentenceTable:
    """A table from a file.

    Raises:
        CheckpointError: the file is missing, damaged or no table.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            about = file.metadata() or {}
            embeddings = file.get_tensor(KEY)
        names = json.loads(about["names"])
        sha256 = about["model_sha256"]
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{quote(path)} cannot be read as a table of sentence embeddings ({error}). It must hold {KEY!r} and the "
            "names. Install xpose again, or make the table: python -m xpose.model.prompting.build_table"
        ) from error
    if not isinstance(names, list) or embeddings.ndim != 2 or len(names) != len(embeddings):
        raise CheckpointError(
            f"{quote(path)} has an array of shape {embeddings.shape} for its names. Every name needs one row. "
            "Install xpose again, or make the table: python -m xpose.model.prompting.build_table"
        )
    embeddings.flags.writeable = False
    return SentenceTable({str(name): row for row, name in enumerate(names)}, embeddings, sha256)


def write_table(path: Path, names: list[str], embeddings: np.ndarray, model_sha256: str) -> None:
    """Write a table in one step, so that a broken run leaves the old one."""
    from safetensors.numpy import save_file

    about = {"names": json.dumps(names, ensure_ascii=False), "model_sha256": model_sha256}
    tensors = {KEY: np.ascontiguousarray(embeddings, dtype=np.float16)}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata=about))
