"""Groups of equal items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from xpose.inference.grouping import LOOK_AHEAD, in_groups


@given(st.lists(st.integers(0, 4), max_size=60), st.integers(1, 5), st.none() | st.integers(0, 60))
def test_results_keep_the_order_and_little_is_held(keys: list[int], size: int, broken: int | None) -> None:
    """Whatever the keys and wherever reading fails; only groups that the look-ahead cannot fill are smaller."""
    read, groups = [], []

    def items() -> Iterator[tuple[int, int]]:
        for item in enumerate(keys):
            if item[0] == broken:
                raise OSError
            read.append(item)
            yield item

    def process(group: list[tuple[int, int]]) -> list[int]:
        assert len({key for _, key in group}) == 1
        groups.append(len(group))
        return [number for number, _ in group]

    results, failed = [], False
    try:
        for result in in_groups(items(), lambda item: item[1], process, size):
            results.append(result)
            assert len(read) - len(results) < (LOOK_AHEAD * size if size > 1 else 1)
    except OSError:
        failed = True
    assert failed == (broken is not None and broken < len(keys))
    assert results == [number for number, _ in read] == [*range(len(read))]
    assert max(groups, default=0) <= size
    if len(read) <= LOOK_AHEAD * size and size > 1:
        assert len(groups) == sum(-(-count // size) for count in Counter(key for _, key in read).values())
