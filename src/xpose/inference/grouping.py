"""Processing of items in groups of equals, with results in the order of the items."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import count
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

LOOK_AHEAD = 4  # groups' worth of items that are held at most


def in_groups(
    items: Iterable[_Item],
    key: Callable[[_Item], Hashable],
    process: Callable[[list[_Item]], list[_Result]],
    size: int,
) -> Iterator[_Result]:
    """The results of the items, in their order; `process` gets up to `size` items with equal keys at a time.

    Items are read ahead until the first one without a result has a full group, but at most `LOOK_AHEAD * size` items
    are held; with groups of one, nothing is read ahead. If reading fails, the items before the failure are processed
    first.
    """
    look_ahead = 1 if size == 1 else LOOK_AHEAD * size
    source = enumerate(items)
    waiting: dict[int, _Item] = {}
    results: dict[int, _Result] = {}
    ended, failure = False, None

    def group_of(number: int) -> list[int]:
        if number not in waiting:
            return []
        same = key(waiting[number])
        return [other for other, item in waiting.items() if key(item) == same][:size]

    for number in count():
        if number not in results:
            while not ended and len(group_of(number)) < size and len(waiting) + len(results) < look_ahead:
                try:
                    read, item = next(source)
                except StopIteration:
                    ended = True
                except Exception as error:  # is raised when all items before it have their results
                    ended, failure = True, error
                else:
                    waiting[read] = item
            group = group_of(number)
            if not group:
                break
            results |= zip(group, process([waiting.pop(member) for member in group]), strict=True)
        yield results.pop(number)
    if failure is not None:
        raise failure
