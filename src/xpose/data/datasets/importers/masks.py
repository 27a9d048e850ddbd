"""Masks as COCO files store them (polygons, run lengths plain or packed), and the one point that stands for a part."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from xpose.data.datasets.sources import as_number
from xpose.errors import DataError, missing_extra, quote
from xpose.records import Box, Picture

MAX_PIXELS = 100_000_000  # of a picture whose masks are laid out pixel by pixel
LEAD = 0.5  # share of a part's pixels that its largest piece needs to stand for the part


def read_mask(segmentation: Any, picture: Picture) -> Any:
    """A mask as a boolean array (height, width).

    Raises:
        DataError: it is neither polygons nor run lengths, does not fit the picture, or covers nothing.
    """
    if picture.width * picture.height > MAX_PIXELS:
        raise DataError(f"the picture has more than {MAX_PIXELS:,} pixels, too many to lay its masks out")
    if isinstance(segmentation, list) and segmentation:
        mask = _from_polygons(segmentation, picture)
    elif isinstance(segmentation, dict):
        mask = _from_runs(segmentation, picture)
    else:
        raise DataError(f"the segmentation is {quote(segmentation)}, neither polygons nor run lengths")
    if not mask.any():
        raise DataError("its mask covers no pixel of the picture")
    return mask


def _from_polygons(polygons: list[Any], picture: Picture) -> Any:
    import numpy as np
    from PIL import Image, ImageDraw

    image = Image.new("1", (picture.width, picture.height))
    pen = ImageDraw.Draw(image)
    for polygon in polygons:
        flat = [as_number(value) for value in polygon] if isinstance(polygon, list) else []
        if len(flat) < 6 or len(flat) % 2 or None in flat:
            raise DataError(f"the polygon {quote(polygon)} is not a flat list of x, y of three corners or more")
        pen.polygon(list(zip(flat[0::2], flat[1::2], strict=True)), fill=1)  # type: ignore[arg-type]
    return np.array(image, dtype=bool)


def _from_runs(runs: dict[str, Any], picture: Picture) -> Any:
    import numpy as np

    size, counts = runs.get("size"), runs.get("counts")
    if size != [picture.height, picture.width]:
        raise DataError(f"its mask has the size {quote(size)}, the picture [{picture.height}, {picture.width}]")
    if isinstance(counts, str):
        counts = unpack(counts)
    pixels = picture.height * picture.width
    checked = [count for count in counts if type(count) is int and count >= 0] if isinstance(counts, list) else []
    if not isinstance(counts, list) or len(checked) < len(counts) or sum(checked) != pixels:
        raise DataError(f"the run lengths of its mask do not add up to the {pixels} pixels of the picture")
    values = np.arange(len(checked)) % 2 == 1
    return np.repeat(values, checked).reshape(picture.width, picture.height).T  # runs go down the columns


def unpack(text: str) -> list[int]:
    """Packed run lengths: groups of five bits from "0" on, the sixth bit says that the number goes on, the last
    group's fifth is its sign; from the fourth number on each is the difference to the one two before.
    """
    counts: list[int] = []
    number = shift = 0
    for letter in text:
        group = ord(letter) - ord("0")
        if not 0 <= group < 64 or shift > 60:
            raise DataError(f"{quote(text)} are not packed run lengths")
        number |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            number -= 1 << shift
        counts.append(number + counts[-2] if len(counts) > 2 else number)
        number = shift = 0
    if shift:
        raise DataError(f"{quote(text)} are not packed run lengths: the last number is cut short")
    return counts


def union(masks: Iterable[Any]) -> Any:
    """All pixels that one of the masks covers."""
    import numpy as np

    return np.logical_or.reduce(list(masks))


def box_of(mask: Any) -> Box:
    """The box round a mask."""
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    return (
        float(columns[0]),
        float(rows[0]),
        float(columns[-1] - columns[0] + 1),
        float(rows[-1] - rows[0] + 1),
    )


def point_of(mask: Any) -> tuple[float, float]:
    """The centroid of a part's largest piece, or the pixel of that piece next to it if it falls beside the piece.

    Raises:
        DataError: the part lies there in pieces of which none has half its pixels: no place stands for all.
    """
    import numpy as np

    try:
        from scipy import ndimage
    except ImportError:
        raise missing_extra("Reading part masks", "scipy", "data") from None
    pieces, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(pieces.ravel())[1:]
    if sizes.max() < LEAD * sizes.sum():
        raise DataError(f"its mask is in {len(sizes)} pieces of which none has half its pixels")
    ys, xs = (pieces == sizes.argmax() + 1).nonzero()
    x, y = xs.mean(), ys.mean()
    nearest = ((xs - x) ** 2 + (ys - y) ** 2).argmin()
    if abs(xs[nearest] - x) <= 0.5 and abs(ys[nearest] - y) <= 0.5:
        return float(x), float(y)
    return float(xs[nearest]), float(ys[nearest])
