"""The `.pts` landmark text of 300W and AnimalWeb: a head, then one `x y` per line between braces."""

from __future__ import annotations

from xpose.data.datasets.sources import Source, parse_number
from xpose.errors import DataError, quote
from xpose.records import VISIBLE, Point


def read_pts(source: Source, name: str, count: int, origin: float) -> list[Point]:
    """The `count` points of a file; `origin` (0 or 1) is what its pixels start from. The format has no visibility.

    Raises:
        DataError: the file is cut short, has another number of points, or holds something else than numbers.
    """
    lines = [line.strip() for line in source.lines(name)]
    lines = [line for line in lines if line]
    if "{" not in lines or "}" not in lines:
        raise DataError(f"{quote(name)} has no point list between braces; it may be cut short")
    head, body = lines[: lines.index("{")], lines[lines.index("{") + 1 : lines.index("}")]
    stated = [line.partition(":")[2].strip() for line in head if line.partition(":")[0].strip() == "n_points"]
    if stated and stated != [str(count)]:
        raise DataError(f"{quote(name)} says n_points: {stated[0][:40]}, but must have {count} points")
    if len(body) != count:
        raise DataError(f"{quote(name)} holds {len(body)} points, but must hold {count}")
    points: list[Point] = []
    for number, line in enumerate(body, start=1):
        parts = line.split()
        if len(parts) != 2:
            raise DataError(f"{quote(name)}: point {number} is {quote(line)}, not two numbers")
        x, y = (parse_number(part, f"{name}: point {number}") - origin for part in parts)
        points.append((x, y, VISIBLE))
    return points
