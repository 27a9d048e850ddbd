"""Working ahead in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@contextmanager
def ahead(
    function: Callable[[_Item], _Result], items: Iterable[_Item], count: int, threads: int = 1
) -> Iterator[Iterator[tuple[_Item, Future[_Result]]]]:
    """Call a function for items, at most `count` of them ahead of the item that is in use, and yield them in order.

    With one thread, the calls follow each other in order. Without threads, each call is made when its item is reached.
    """
    if not threads:
        yield ((item, called(function, item)) for item in items)
        return
    pool = ThreadPoolExecutor(threads, "ahead")

    def results() -> Iterator[tuple[_Item, Future[_Result]]]:
        submitted = ((item, pool.submit(function, item)) for item in items)
        waiting = deque(islice(submitted, count))
        while waiting:
            waiting.extend(islice(submitted, 1))
            yield waiting.popleft()

    try:
        yield results()
    finally:
        pool.shutdown(cancel_futures=True)


def called(function: Callable[..., _Result], *given: object, **options: object) -> Future[_Result]:
    """The finished future of a call that is made now."""
    done: Future[_Result] = Future()
    try:
        done.set_result(function(*given, **options))
    except Exception as error:
        done.set_exception(error)
    return done
