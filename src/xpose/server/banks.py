"""The prompt banks that were posted."""

from __future__ import annotations

import threading
from collections import OrderedDict

from xpose.inference.bank import PromptBank


class Banks:
    """Prompt banks by id; the last ones that were used, from any thread."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._banks: OrderedDict[str, PromptBank] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, key: str, bank: PromptBank) -> None:
        """Keep a bank."""
        with self._lock:
            self._banks[key] = bank
            self._banks.move_to_end(key)
            if len(self._banks) > self.most:
                self._banks.popitem(last=False)

    def get(self, key: str) -> PromptBank | None:
        """The bank with this id, if it is kept."""
        with self._lock:
            self._touch(key)
            return self._banks.get(key)

    def touch(self, key: str) -> None:
        """Note that a bank is used, so that it is not forgotten."""
        with self._lock:
            self._touch(key)

    def _touch(self, key: str) -> None:
        if key in self._banks:
            self._banks.move_to_end(key)
