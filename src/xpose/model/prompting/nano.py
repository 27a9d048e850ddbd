"""The text encoder of `xpose-nano`: a sentence embedding, then a code of sides and numbers.

The bare name is encoded ("left eye", "horse"), without a template. Names of the vocabulary come from the shipped table
`assets/minilm_table.safetensors`: one row of 384 half-precision numbers per name, in the order of the names in its
metadata, which also holds MiniLM's hash. `python -m xpose.model.prompting.build_table` writes the table. The
sentence encoder is loaded for the first name that is not in the table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from xpose.errors import CheckpointError, PromptError, quote
from xpose.model.prompting import sides
from xpose.model.prompting.cache import EmbeddingCache, check_texts
from xpose.model.prompting.sentences import DIM, MiniLMEncoder
from xpose.pictures.atomic import write_atomically

SIDE_SCALE = 0.5
"""Weight of the side code relative to a unit-length embedding. Trained networks depend on it: never change it."""
_KEY = "embeddings"


class NanoTextEncoder:
    """Encodes names as 400 float32 numbers on the CPU: 384 of MiniLM, then 16 of `side_code` times `SIDE_SCALE`."""

    dim = DIM + sides.DIM

    def __init__(self, sentences: MiniLMEncoder | None = None, table: Mapping[str, np.ndarray] | None = None) -> None:
        self.sentences = sentences if sentences is not None else MiniLMEncoder()
        self._table = table
        self.cache = EmbeddingCache()

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """The embeddings [n, 400] of n names, spelt in any way that `spell_out` understands.

        Raises:
            PromptError: a name has no letter or digit, or is too long.
        """
        spelled = [self._spell(text) for text in check_texts(texts)]
        if not spelled:
            return np.zeros((0, self.dim), np.float32)
        return self.cache.encode(spelled, self._embed)

    def _embed(self, names: list[str]) -> np.ndarray:
        table = self._table if self._table is not None else shipped_table()
        words = np.empty((len(names), DIM), dtype=np.float32)
        for row, name in zip(words, names, strict=True):
            if name in table:
                row[:] = table[name]
        if unknown := [place for place, name in enumerate(names) if name not in table]:
            words[unknown] = self.sentences.encode([names[place] for place in unknown])
        codes = sides.side_codes(names) * np.float32(SIDE_SCALE)
        return np.concatenate((words, codes), axis=1)

    @staticmethod
    def _spell(text: str) -> str:
        name = sides.spell_out(text)
        if not any(letter.isalnum() for letter in name):
            raise PromptError(
                f'The name {quote(text)} has no letter or digit. Name keypoints and objects in words, e.g. "left eye".'
            )
        return name


def table_path() -> Path:
    """The path of the table in the installed package."""
    return Path(str(resources.files(__package__) / "assets" / "minilm_table.safetensors"))


@lru_cache(maxsize=1)
def shipped_table() -> Mapping[str, np.ndarray]:
    """The table that comes with the package, read once."""
    return read_table(table_path())


def read_table(path: Path) -> Mapping[str, np.ndarray]:
    """The names of a table and their embeddings, [384] in half precision."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return dict(zip(json.loads(file.metadata()["names"]), file.get_tensor(_KEY), strict=True))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{quote(path)} cannot be read as a table of sentence embeddings ({error}). "
            "Install xpose again, or make the table: python -m xpose.model.prompting.build_table"
        ) from error


def write_table(path: Path, names: list[str], embeddings: np.ndarray, model_sha256: str) -> None:
    """Write a table atomically."""
    from safetensors.numpy import save_file

    about = {"names": json.dumps(names, ensure_ascii=False), "model_sha256": model_sha256}
    tensors = {_KEY: np.ascontiguousarray(embeddings, dtype=np.float16)}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata=about))
