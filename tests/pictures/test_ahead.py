"""Working ahead in threads."""

from __future__ import annotations

import time

from tests.cli.test_picture_loop import background, reached

from xpose.pictures.ahead import ahead


def test_the_reader_waits_for_a_slow_consumer() -> None:
    started: list[int] = []
    with ahead(started.append, range(100), 3) as readings:
        for item, reading in readings:
            reading.result()
            assert reached(lambda last=item + 3: started[-1] == last)
            time.sleep(0.005)  # time enough to read further
            assert started == [*range(item + 4)]
            if item == 5:
                break
    assert started == [*range(9)]
    assert not background()
