"""A bounded, thread-safe cache of encoded texts, which all text encoders use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np


class EmbeddingCache:
    """The embeddings of the `capacity` most recently used texts."""

    def __init__(self, capacity: int = 4096, batch: int = 64) -> None:
        self.capacity = capacity
        self.batch = batch
        self.runs = 0
        """How often the encoder behind the cache ran (once per batch of unknown texts)."""
        self._rows: OrderedDict[str, np.ndarray] = OrderedDict()
        self._age = 0
        self._access = Lock()
        self._running = Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def __reduce__(self) -> tuple[type[EmbeddingCache], tuple[int, int]]:
        return EmbeddingCache, (self.capacity, self.batch)  # a copied or pickled network starts with an empty cache

    def clear(self) -> None:
        """Empty the cache, e.g. after a change of the encoder's weights, precision or device."""
        with self._access:
            self._rows.clear()
            self._age += 1

    def encode(self, texts: Sequence[str], compute: Callable[[list[str]], np.ndarray]) -> np.ndarray:
        """The embeddings [n, dim] of n >= 1 texts; `compute` is called for those that are not cached."""
        rows = self._look_up(texts)
        if not all(text in rows for text in texts):
            with self._running:  # a second thread that needs the same texts waits, then finds them
                rows |= self._look_up([text for text in texts if text not in rows])
                missing = [text for text in dict.fromkeys(texts) if text not in rows]
                for start in range(0, len(missing), self.batch):
                    rows |= self._compute(missing[start : start + self.batch], compute)
        return np.stack([rows[text] for text in texts])

    def _look_up(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        with self._access:
            rows = {text: self._rows[text] for text in texts if text in self._rows}
            for text in rows:
                self._rows.move_to_end(text)
        return rows

    def _compute(self, texts: list[str], compute: Callable[[list[str]], np.ndarray]) -> dict[str, np.ndarray]:
        age = self._age
        embeddings = compute(texts)
        self.runs += 1
        rows = {text: row.copy() for text, row in zip(texts, embeddings, strict=True)}
        with self._access:
            if age == self._age:  # otherwise the weights have changed
                self._rows.update(rows)
                while len(self._rows) > self.capacity:
                    self._rows.popitem(last=False)
        return rows


def check_texts(texts: Sequence[str]) -> list[str]:
    """The texts as a list, each encodable as UTF-8."""
    if isinstance(texts, str):
        raise TypeError(f"Got the single text {texts!r}. An encoder takes a list of texts: write [{texts!r}].")
    listed = list(texts)
    for text in listed:
        if not isinstance(text, str):
            raise TypeError(f"Got {text!r} among the texts. Every text must be a str: give the name, not its number.")
    return [without_surrogates(text) for text in listed]


def without_surrogates(text: str) -> str:
    """Replace lone surrogates (e.g. a file name's broken bytes), which cannot be encoded in UTF-8."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
