"""The words of `xpose-nano`: a sentence embedding and a code of sides and numbers, side by side.

The bare name is encoded ("left eye", "horse"), with no template around it. Names of the known vocabulary come out of
the shipped table; the sentence encoder is loaded with the first name that is not in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from xpose.errors import PromptError, quote
from xpose.model.prompting import sides
from xpose.model.prompting.cache import EmbeddingCache, check_texts
from xpose.model.prompting.sentences import DIM, MiniLMEncoder
from xpose.model.prompting.table import SentenceTable, shipped_table

SIDE_SCALE = 0.5
"""Weight of the side code beside a sentence embedding of length 1. Trained networks depend on it: never change it."""


class NanoTextEncoder:
    """Names to 400 numbers: 384 of MiniLM, then 16 of `side_code` times `SIDE_SCALE`. On the CPU, in float32."""

    dim = DIM + sides.DIM

    def __init__(
        self,
        sentences: MiniLMEncoder | None = None,
        table: SentenceTable | None = None,
        *,
        cache_size: int = 4096,
    ) -> None:
        self.sentences = sentences if sentences is not None else MiniLMEncoder()
        self._table = table
        self.cache = EmbeddingCache(cache_size)

    @property
    def runs(self) -> int:
        """How often the sentence encoder ran: 0 as long as every name is in the table."""
        return self.sentences.runs

    def encode(self, texts: Sequence[str]) -> Tensor:
        """The embeddings [n, 400] of n names, spelt in any way that `spell_out` understands.

        Raises:
            PromptError: a name without a letter or digit, or one that is too long.
        """
        spelled = [self._spell(text) for text in check_texts(texts)]
        if not spelled:
            return torch.zeros(0, self.dim)
        return self.cache.encode(spelled, self._embed)

    def in_table(self, text: str) -> bool:
        """Whether the name needs no encoder."""
        return sides.spell_out(text) in self._known().rows

    def _known(self) -> SentenceTable:
        return self._table if self._table is not None else shipped_table()

    def _embed(self, names: list[str]) -> Tensor:
        table = self._known()
        words = np.empty((len(names), DIM), dtype=np.float32)
        unknown = [place for place, name in enumerate(names) if name not in table.rows]
        for place, name in enumerate(names):
            if name in table.rows:
                words[place] = table.embeddings[table.rows[name]]
        if unknown:
            words[unknown] = self.sentences.encode([names[place] for place in unknown]).cpu().numpy()
        codes = sides.side_codes(names) * np.float32(SIDE_SCALE)
        return torch.from_numpy(np.concatenate((words, codes), axis=1))

    @staticmethod
    def _spell(text: str) -> str:
        name = sides.spell_out(text)
        if not any(letter.isalnum() for letter in name):
            raise PromptError(
                f"The name {quote(text)} has no letter or digit. A keypoint or object is named in words. "
                'Write for example "left eye".'
            )
        return name
