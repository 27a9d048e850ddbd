"""Reading ahead in a thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")
_Reading = TypeVar("_Reading")


@contextmanager
def read_ahead(
    read: Callable[[_Item], _Reading], items: Iterable[_Item], count: int
) -> Iterator[Iterator[tuple[_Item, Future[_Reading]]]]:
    """Read items in order in one thread, at most `count` of them ahead of the item that is in use.

    One thread reads all of them, because the frames of a file are read one after the other, and because Pillow's
    warnings cannot be silenced in several threads at once.
    """
    pool = ThreadPoolExecutor(1, "reader")

    def readings() -> Iterator[tuple[_Item, Future[_Reading]]]:
        submitted = ((item, pool.submit(read, item)) for item in items)
        waiting = deque(islice(submitted, count))
        while waiting:
            waiting.extend(islice(submitted, 1))
            yield waiting.popleft()

    try:
        yield readings()
    finally:
        pool.shutdown(cancel_futures=True)
