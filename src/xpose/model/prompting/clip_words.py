"""CLIP's text tower as an exported graph; needs no PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from xpose.model.prompting.cache import EmbeddingCache, check_texts
from xpose.model.prompting.tokenizer import tokenise


class ClipWordsGraph:
    """Encodes texts with the graph `encode_words`; the counterpart of `ClipTextEncoder`."""

    def __init__(self, run: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]) -> None:
        self._run = run
        self.cache = EmbeddingCache()

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """The embeddings [n, D] of n texts, templates included.

        Raises:
            PromptError: a text is too long.
        """
        return self.cache.encode(check_texts(texts), self._embed)

    def _embed(self, texts: list[str]) -> np.ndarray:
        return self._run({"tokens": tokenise(texts)})["embeddings"]
