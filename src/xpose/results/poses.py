"""The result of a detection: boxes, scores and keypoints by name, in numpy; filter, slice, draw, write.

Letters: N poses, K the most keypoints that any of them has. Where skeletons differ, rows are padded with NaN (and
visibility 0), and every pose knows its own names, in the order and spelling of the prompt.

Coordinates are pixels of the *upright* picture (EXIF orientation applied): x to the right, y down, and a picture of
width W spans 0 to W. Adding a format: see `xpose.results.formats`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from xpose.errors import ConfigError, unknown
from xpose.results.outputs import Outputs
from xpose.vocabulary import normalise, side_of

if TYPE_CHECKING:
    from PIL import Image

    from xpose.pictures.reading import PictureSource

Names = tuple[str, ...]
Edges = tuple[tuple[str, str], ...]
# The fields of `Poses` with one entry per pose.
ARRAYS = ("boxes", "scores", "xy", "keypoint_scores", "visibility", "keypoint_errors")
TUPLES = ("categories", "keypoint_names", "canonical_names", "edges")


class Point(NamedTuple):
    """One keypoint: `v` is 2 for visible, 1 for there but covered, 0 for not there (x and y are then only a guess)."""

    x: float
    y: float
    score: float
    v: int


@dataclass(frozen=True, eq=False)
class Pose:
    """One object of a `Poses`, with only its own points; the arrays are views."""

    category: str
    score: float
    box: np.ndarray  # [4] x1, y1, x2, y2
    names: Names
    canonical: Names
    edges: Edges
    xy: np.ndarray  # [k, 2]
    keypoint_scores: np.ndarray  # [k]
    visibility: np.ndarray  # [k]
    keypoint_errors: np.ndarray | None = None  # [k], in pixels

    @property
    def points(self) -> dict[str, Point]:
        """Name → x, y, score, v, in the order of the prompt."""
        return {name: self._point(row) for row, name in enumerate(self.names)}

    @property
    def sides(self) -> tuple[Literal["left", "right", "middle"], ...]:
        """Left, right or middle for each point, read off its canonical name."""
        return tuple(side_of(name) for name in self.canonical)

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        x1, y1, x2, y2 = (float(value) for value in self.box)
        return (x2 - x1) * (y2 - y1)

    def __getitem__(self, name: str) -> Point:
        row = self._row(name)
        if row is None:
            raise unknown(
                f"keypoint of this {self.category}:", name, self.names, f"Its points are {', '.join(self.names)}."
            )
        return self._point(row)

    def get(self, name: str, default: Point | None = None) -> Point | None:
        """The point called so in the prompt or in the vocabulary, or `default`."""
        row = self._row(name)
        return default if row is None else self._point(row)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._row(name) is not None

    def _row(self, name: str) -> int | None:
        for names in (self.names, self.canonical):
            if name in names:
                return names.index(name)
        loose = normalise(name)
        return next((row for row, known in enumerate(self.names) if normalise(known) == loose), None)

    def _point(self, row: int) -> Point:
        x, y = self.xy[row].tolist()
        return Point(x, y, float(self.keypoint_scores[row]), int(self.visibility[row]))


@dataclass(frozen=True, eq=False, kw_only=True)
class Poses(Outputs):
    """All objects found in one picture. A detector gives them best first; indexing keeps the order of the index.

    An index may be a number, a slice, a mask, an array of numbers, or the name of a category; it always gives `Poses`.
    A loop gives one `Pose` after the other. The arrays are copies and cannot be written to.

    Attributes:
        boxes: [N, 4] float32, x1, y1, x2, y2.
        scores: [N] float32 in 0..1.
        categories: N names, as the prompt spelt them.
        xy: [N, K, 2] float32, as the network gave them, also where `visibility` says 0.
        keypoint_scores: [N, K] float32 in 0..1.
        visibility: [N, K] uint8: 0 not there (below the keypoint threshold), 1 there but covered, 2 visible.
        keypoint_errors: [N, K] float32, the expected distance of each keypoint from its true place in pixels, NaN where
            it is unknown; None where the weights do not predict it.
        keypoint_names: N tuples of names, in the order and spelling of the prompt.
        canonical_names: the same points' names in the vocabulary, or the same names; () takes `keypoint_names`.
        edges: N tuples of pairs of names; () means none.
        image_size: height, width of the upright picture.
        source: the picture's path, or None.
        exif_applied: whether the picture was turned as its EXIF orientation says before coordinates were counted.

    Raises:
        ValueError: shapes, names or values do not fit together; the message says which.
    """

    boxes: np.ndarray
    scores: np.ndarray
    categories: Names
    xy: np.ndarray
    keypoint_scores: np.ndarray
    visibility: np.ndarray
    keypoint_errors: np.ndarray | None = None
    keypoint_names: tuple[Names, ...]
    canonical_names: tuple[Names, ...] = ()
    edges: tuple[Edges, ...] = ()
    image_size: tuple[int, int]
    source: str | None = None
    exif_applied: bool = True

    __hash__ = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        from xpose.results.validation import checked

        for name, value in checked(self).items():
            object.__setattr__(self, name, value)

    @classmethod
    def empty(cls, image_size: tuple[int, int], source: str | None = None) -> Poses:
        """No pose in a picture of this height and width."""
        return cls(
            boxes=np.zeros((0, 4)),
            scores=np.zeros(0),
            categories=(),
            xy=np.zeros((0, 0, 2)),
            keypoint_scores=np.zeros((0, 0)),
            visibility=np.zeros((0, 0)),
            keypoint_names=(),
            image_size=image_size,
            source=source,
        )

    @classmethod
    def concatenate(cls, parts: Iterable[Poses]) -> Poses:
        """The poses of several results on one picture, best first.

        Raises:
            ValueError: no result at all, or results of pictures of different sizes.
        """
        from xpose.results.validation import joined

        return cls(**joined(list(parts)))

    @classmethod
    def from_dict(cls, values: object) -> Poses:
        """What `to_dict` wrote.

        Raises:
            DataError: it is something else.
        """
        from xpose.results.formats.json import from_dict

        return from_dict(values, cls)

    @classmethod
    def from_json(cls, text: str | bytes) -> Poses:
        """What `to_json` wrote.

        Raises:
            DataError: it is something else.
        """
        from xpose.results.formats.json import from_json

        return from_json(text, cls)

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        height, width = self.image_size
        counts = ", ".join(f"{number} {name}" for name, number in self.count().items()) or "nothing found"
        return f"<Poses: {counts}; {width} x {height} pixels>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Poses):
            return NotImplemented
        pairs = [(getattr(self, field.name), getattr(other, field.name)) for field in dataclasses.fields(self)]
        return all(
            np.array_equal(a, b, equal_nan=True) if isinstance(a, np.ndarray) and b is not None else a is b or a == b
            for a, b in pairs
        )

    def __iter__(self) -> Iterator[Pose]:
        return (self.pose(row) for row in range(len(self)))

    def __getitem__(self, key: int | slice | str | Sequence[int] | Sequence[bool] | np.ndarray) -> Poses:
        from xpose.results.validation import rows

        if isinstance(key, str):
            return self._take(np.array([name == key for name in self.categories], dtype=bool).nonzero()[0])
        return self._take(rows(key, len(self)))

    def pose(self, row: int) -> Pose:
        """One object with only its own points."""
        names = self.keypoint_names[row]
        count = len(names)
        return Pose(
            category=self.categories[row],
            score=float(self.scores[row]),
            box=self.boxes[row],
            names=names,
            canonical=self.canonical_names[row],
            edges=self.edges[row],
            xy=self.xy[row, :count],
            keypoint_scores=self.keypoint_scores[row, :count],
            visibility=self.visibility[row, :count],
            keypoint_errors=None if self.keypoint_errors is None else self.keypoint_errors[row, :count],
        )

    @property
    def areas(self) -> np.ndarray:
        """[N] of the boxes, in square pixels."""
        sides = self.boxes[:, 2:].astype(np.float64) - self.boxes[:, :2]
        areas: np.ndarray = sides.prod(axis=1)
        return areas

    def count(self, categories: Iterable[str] = ()) -> dict[str, int]:
        """How many of each category; the ones named here come first, with 0 where there is none."""
        numbers = dict.fromkeys((*categories, *self.categories), 0)
        for name in self.categories:
            numbers[name] += 1
        return numbers

    def filter(
        self,
        *,
        threshold: float | Mapping[str, float] | None = None,
        categories: str | Iterable[str] | None = None,
        keypoint_threshold: float | None = None,
        min_area: float = 0.0,
    ) -> Poses:
        """The poses that pass; no network is involved.

        Args:
            threshold: keep scores above this: one number, or numbers by category ("" is for all others).
            categories: keep only these.
            keypoint_threshold: decide anew which points are there: those whose score is at least this. Points that a
                stricter threshold had hidden come back.
            min_area: keep boxes of at least so many square pixels.

        Raises:
            ConfigError: a threshold is not a number from 0 to 1, or the area is below 0.
        """
        keep = self.areas >= _number("min_area", min_area, most=np.inf)
        if threshold is not None:
            table = threshold if isinstance(threshold, Mapping) else {"": threshold}
            limits = {name: _number(f'threshold of "{name}"', value) for name, value in table.items()}
            rest = limits.get("", -1.0)  # no rule: every score passes
            keep &= self.scores > np.array([limits.get(name, rest) for name in self.categories])
        if categories is not None:
            wanted = {categories} if isinstance(categories, str) else set(categories)
            keep &= np.array([name in wanted for name in self.categories], dtype=bool)
        kept = self._take(keep.nonzero()[0])
        if keypoint_threshold is None:
            return kept
        return kept._with_keypoint_threshold(_number("keypoint_threshold", keypoint_threshold))

    def _with_keypoint_threshold(self, least: float) -> Poses:
        known = ~np.isnan(self.keypoint_scores)
        passes = known & (self.keypoint_scores >= least) & np.isfinite(self.xy).all(-1)
        judged = np.where(passes, np.where(self.visibility == 0, 2, self.visibility), 0)
        return dataclasses.replace(self, visibility=np.where(known, judged, self.visibility))

    def _take(self, keep: np.ndarray) -> Poses:
        kept: dict[str, Any] = {name: tuple(getattr(self, name)[row] for row in keep) for name in TUPLES}
        for name in ARRAYS:
            array = getattr(self, name)
            kept[name] = None if array is None else array[keep]
        return dataclasses.replace(self, **kept)

    def draw(
        self,
        image: PictureSource | None = None,
        *,
        background: tuple[int, int, int] | None = None,
        boxes: bool = True,
        labels: bool = True,
        legend: Literal["auto", "inside", "below", "none"] = "auto",
        numbers: bool | None = None,
        hidden: Literal["skip", "hollow"] = "skip",
        errors: bool = False,
        enlarge_to: int = 0,
    ) -> Image.Image:
        """A picture with the poses on it. See `xpose.drawing.overlay.draw_figures` for how it looks.

        Args:
            image: path, PIL picture or array; None takes `source`, or a plain sheet where there is none. It may be the
                picture in another size.
            background: draw on a plain sheet of this colour instead.
            boxes: draw them.
            labels: write category and score.
            legend: inside the picture where it covers nothing, else below ("auto"); always "inside", "below", or
                "none". Only "inside" and "none" keep the picture's size for certain.
            numbers: numbers at the points that the legend explains; None decides by room.
            hidden: what happens to points with visibility 0: left out, or drawn "hollow".
            errors: draw a faint circle around each point with its expected error (`keypoint_errors`) as the radius.
            enlarge_to: enlarge a smaller picture until its longer side has so many pixels.

        Raises:
            ImageError: the picture cannot be read or has another shape.
            ConfigError: an option is unknown, or errors are asked for and these poses have none.
        """
        from xpose.drawing.overlay import Style
        from xpose.results.draw import draw

        style = Style(boxes=boxes, labels=labels, legend=legend, numbers=numbers, hidden=hidden, errors=errors)
        return draw(self, image, style, background=background, enlarge_to=enlarge_to)


def _number(what: str, value: object, most: float = 1.0) -> float:
    fine = isinstance(value, int | float | np.number) and not isinstance(value, bool) and 0 <= value <= most
    if not fine:
        rule = "a number from 0 to 1" if most == 1.0 else "a number of at least 0"
        raise ConfigError(f"{what} is {value!r}. It must be {rule}. Leave it out to keep everything.")
    return float(value)  # type: ignore[arg-type]
