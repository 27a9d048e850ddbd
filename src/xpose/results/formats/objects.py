"""Objects read from a file, and the `Poses` made of them: what all readers of formats share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from xpose.results.poses import Poses

# `Poses`; modules of formats do not import it, because it imports them.
Make = Callable[..., "Poses"]
Place = tuple[float, float, float, int]  # x, y, score, visibility; NaN where unknown
UNKNOWN = (1, 1)  # the size of a picture whose size the file does not state
NOWHERE: Place = (np.nan, np.nan, np.nan, 0)
MARGIN = 0.1  # of the longer side of the points' extent, around a box that is made of them


@dataclass(frozen=True, kw_only=True)
class ReadObject:
    """One object as a file states it."""

    category: str
    points: Mapping[str, Place] = field(default_factory=dict)
    box: Sequence[float] | None = None  # x1, y1, x2, y2; None: around the points
    score: float = 1.0
    canonical: tuple[str, ...] = ()  # the vocabulary's names of the points; (): the same names
    edges: tuple[tuple[str, str], ...] = ()
    errors: Mapping[str, float] = field(default_factory=dict)
    track: int | None = None
    tentative: bool = False


def poses_of(
    make: Make,
    objects: Sequence[ReadObject],
    size: tuple[int, int] | None = None,
    source: str | None = None,
    upright: bool = True,
) -> Poses:
    """The objects of one picture of this size (height, width)."""
    widest = max((len(item.points) for item in objects), default=0)
    places = np.full((len(objects), widest, 4), NOWHERE)
    errors = np.full((len(objects), widest), np.nan)
    for row, item in enumerate(objects):
        for column, (name, place) in enumerate(item.points.items()):
            places[row, column] = place
            errors[row, column] = item.errors.get(name, np.nan)
    boxes = np.array([box_of(item) for item in objects], dtype=float).reshape(-1, 4)
    tracks = [item.track for item in objects]
    fields: dict[str, Any] = {
        "boxes": boxes,
        "scores": [item.score for item in objects],
        "categories": tuple(item.category for item in objects),
        "xy": places[..., :2],
        "keypoint_scores": places[..., 2],
        "visibility": places[..., 3],
        "keypoint_errors": None if np.isnan(errors).all() else errors,
        "tentative": np.array([item.tentative for item in objects], dtype=bool),
        "track_ids": tracks if tracks and None not in tracks else None,
        "keypoint_names": tuple(tuple(item.points) for item in objects),
        "canonical_names": tuple(item.canonical or tuple(item.points) for item in objects),
        "edges": tuple(item.edges for item in objects),
    }
    return make(**fields, image_size=size or UNKNOWN, source=source, exif_applied=upright)


def box_of(item: ReadObject) -> Sequence[float]:
    """The stated box, or one around the points that are there with a margin."""
    if item.box is not None:
        return item.box
    places = np.array([place[:2] for place in item.points.values() if place[3]], dtype=float).reshape(-1, 2)
    if not len(places):
        return 0.0, 0.0, 0.0, 0.0
    low, high = places.min(0), places.max(0)
    margin = MARGIN * (high - low).max()
    return [*(low - margin), *(high + margin)]
