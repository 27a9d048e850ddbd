"""The result of a detection: boxes, scores and named keypoints in numpy, to filter, slice, draw or save.

Shapes: N poses, at most K keypoints per pose. If skeletons differ, rows are padded with NaN (and visibility 0), and
every pose has its own names, in the order and spelling of the prompt.

Coordinates are pixels of the *upright* picture (EXIF orientation applied): x to the right, y down, and a picture of
width W spans 0 to W.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np

from xpose.errors import ConfigError, unknown
from xpose.vocabulary import normalise, side_of

if TYPE_CHECKING:
    from PIL import Image

    from xpose.pictures.reading import PictureSource
    from xpose.results.clicks import Clicks

Names = tuple[str, ...]
Edges = tuple[tuple[str, str], ...]
# The fields of `Poses` with one entry per pose.
_ARRAYS = ("boxes", "scores", "xy", "keypoint_scores", "visibility", "keypoint_errors", "tentative", "track_ids")
_TUPLES = ("categories", "keypoint_names", "canonical_names", "edges")


class Point(NamedTuple):
    """One keypoint: `v` is 2 for visible, 1 for covered, 0 for absent (x and y are then only a guess)."""

    x: float
    y: float
    score: float
    v: int


class Points(dict[str, Point]):
    """The keypoints of a pose by name, in the order of the prompt; other spellings are found as in `Pose`."""

    def __init__(self, pose: Pose) -> None:
        super().__init__((name, pose[name]) for name in pose.names)
        self._pose = pose

    def __missing__(self, name: str) -> Point:
        return self._pose[name]


@dataclass(frozen=True, eq=False)
class Pose:
    """One detected object, with only its own keypoints; the arrays are views."""

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
    tentative: bool = False
    track_id: int | None = None

    @property
    def points(self) -> Points:
        """The keypoints by name, in the order of the prompt."""
        return Points(self)

    @property
    def sides(self) -> tuple[Literal["left", "right", "middle"], ...]:
        """The side of the body of each keypoint, from its canonical name."""
        return tuple(side_of(name) for name in self.canonical)

    @property
    def area(self) -> float:
        """The area of the box in square pixels."""
        x1, y1, x2, y2 = map(float, self.box)
        return (x2 - x1) * (y2 - y1)

    def __getitem__(self, name: str) -> Point:
        row = self._row(name)
        if row is None:
            points = f"Its points are {', '.join(self.names)}."
            raise unknown(f"keypoint of this {self.category}:", name, self.names, points)
        return self._point(row)

    def get(self, name: str, default: Point | None = None) -> Point | None:
        """The keypoint with this name in the prompt or in the vocabulary, or `default`."""
        row = self._row(name)
        return default if row is None else self._point(row)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._row(name) is not None

    def _row(self, name: str) -> int | None:
        for names in (self.names, self.canonical):
            if name in names:
                return names.index(name)
        normalised = normalise(name)
        return next((row for row, other in enumerate(self.names) if normalise(other) == normalised), None)

    def _point(self, row: int) -> Point:
        x, y = self.xy[row].tolist()
        return Point(x, y, float(self.keypoint_scores[row]), int(self.visibility[row]))


@dataclass(frozen=True, eq=False, kw_only=True)
class Poses:
    """All objects detected in one picture, best first. The arrays are read-only copies.

    A number as the index gives a single `Pose`, as iterating does. A slice, a mask, an array of numbers or the name of
    a category gives `Poses`, in the order of the index.

    Attributes:
        boxes: [N, 4] float32, x1, y1, x2, y2.
        scores: [N] float32 in 0..1.
        categories: N names, as the prompt spelt them.
        xy: [N, K, 2] float32, as predicted, even if `visibility` is 0.
        keypoint_scores: [N, K] float32 in 0..1.
        visibility: [N, K] uint8: 0 absent (below the keypoint threshold), 1 covered, 2 visible.
        keypoint_errors: [N, K] float32, the expected distance of each keypoint from its true place in pixels, NaN if
            unknown; None if the weights do not predict it.
        tentative: [N] bool, True for candidates that only `detect(..., best=True)` returns; by default all False.
        track_ids: [N] int64, the same number for the same object in all frames of a video; None if it was not tracked.
        keypoint_names: N tuples of names, in the order and spelling of the prompt.
        canonical_names: the names of the same keypoints in the vocabulary; () uses `keypoint_names`.
        edges: N tuples of pairs of names; () for no edges.
        image_size: height, width of the upright picture.
        source: the path of the picture, or None.
        exif_applied: whether coordinates refer to the picture after its EXIF orientation was applied.

    Raises:
        ValueError: shapes, names or values are inconsistent; the message says which.
    """

    boxes: np.ndarray
    scores: np.ndarray
    categories: Names
    xy: np.ndarray
    keypoint_scores: np.ndarray
    visibility: np.ndarray
    keypoint_errors: np.ndarray | None = None
    tentative: np.ndarray = None  # type: ignore[assignment]  # always an array after __post_init__
    track_ids: np.ndarray | None = None
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
        """An empty result for this height and width."""
        arrays = {"boxes": (0, 4), "scores": 0, "xy": (0, 0, 2), "keypoint_scores": (0, 0), "visibility": (0, 0)}
        values: dict[str, Any] = {name: np.zeros(shape) for name, shape in arrays.items()}
        return cls(**values, categories=(), keypoint_names=(), image_size=image_size, source=source)

    @classmethod
    def concatenate(cls, parts: Iterable[Poses]) -> Poses:
        """Join several results on one picture, best first; ValueError if the pictures differ in size."""
        from xpose.results.validation import joined

        return cls(**joined(list(parts)))

    @classmethod
    def from_dict(cls, values: object) -> Poses:
        """The inverse of `to_dict`; DataError for invalid values."""
        from xpose.results.formats.json import from_dict

        return from_dict(values, cls)

    @classmethod
    def from_json(cls, text: str | bytes) -> Poses:
        """The inverse of `to_json`; DataError for invalid text."""
        from xpose.results.formats.json import from_json

        return from_json(text, cls)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without NaN; an absent keypoint has x and y None and v 0."""
        from xpose.results.formats.json import to_dict

        return to_dict(self)

    def to_json(self, indent: int | None = None) -> str:
        """`to_dict` as JSON in ASCII."""
        from xpose.results.formats.json import json_text

        return json_text(self.to_dict(), indent)

    def to_openpose(self, layout: Literal["body_18", "body_25", "body_135"] = "body_18") -> dict[str, Any]:
        """OpenPose's JSON, as ControlNet and ComfyUI read it; see `xpose.results.formats.openpose`."""
        from xpose.results.formats.openpose import to_openpose

        return to_openpose(self, layout)

    def to_supervision(self, kind: Literal["keypoints", "boxes"] = "keypoints") -> Any:
        """A `supervision.KeyPoints`, or a `supervision.Detections` for "boxes"."""
        from xpose.results.formats.supervision import to_supervision

        return to_supervision(self, kind)

    def to_prompts(self) -> Clicks:
        """Clicks and boxes for promptable segmenters (SAM) and point trackers.

        The visible keypoints of each object are clicks on it (label 1), and those of others in its box are clicks next
        to it (label 0). Objects with fewer clicks are padded with label -1.
        """
        from xpose.results.clicks import to_prompts

        return to_prompts(self)

    def save(self, path: str | Path, format: str = "json", **options: object) -> None:
        """Write a file atomically; for several pictures in one file see `xpose.results.formats.table.encoded`.

        Args:
            path: the file; a missing folder is created.
            format: a name in `xpose.results.formats.table.FORMATS`.
            options: options of the format, such as `image_ids` and `category_ids` of coco or `layout` of openpose.

        Raises:
            ConfigError: the format is unknown.
            XPoseError: the file cannot be written; an existing file is unchanged.
        """
        from xpose.pictures.atomic import write_bytes
        from xpose.results.formats.table import encoded

        write_bytes(Path(path), encoded([self], format, **options))

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
        return (self[row] for row in range(len(self)))

    @overload
    def __getitem__(self, key: int | np.integer) -> Pose: ...

    @overload
    def __getitem__(self, key: slice | str | Sequence[int] | Sequence[bool] | np.ndarray) -> Poses: ...

    def __getitem__(
        self, key: int | np.integer | slice | str | Sequence[int] | Sequence[bool] | np.ndarray
    ) -> Pose | Poses:
        from xpose.results.validation import rows_of

        if isinstance(key, str):
            return self._take(np.flatnonzero([name == key for name in self.categories]))
        rows = rows_of(key, len(self))
        return self._take(rows) if rows.ndim else self._pose(int(rows))

    def _pose(self, row: int) -> Pose:
        part = row, slice(len(self.keypoint_names[row]))
        return Pose(
            category=self.categories[row],
            score=float(self.scores[row]),
            box=self.boxes[row],
            names=self.keypoint_names[row],
            canonical=self.canonical_names[row],
            edges=self.edges[row],
            xy=self.xy[part],
            keypoint_scores=self.keypoint_scores[part],
            visibility=self.visibility[part],
            keypoint_errors=None if self.keypoint_errors is None else self.keypoint_errors[part],
            tentative=bool(self.tentative[row]),
            track_id=None if self.track_ids is None else int(self.track_ids[row]),
        )

    def count(self) -> dict[str, int]:
        """The number of objects of each category."""
        return dict(Counter(self.categories))

    def filter(
        self,
        *,
        threshold: float | Mapping[str, float] | None = None,
        categories: str | Iterable[str] | None = None,
        keypoint_threshold: float | None = None,
    ) -> Poses:
        """Filter the poses without running the network.

        Args:
            threshold: keep scores above this: one number, or numbers by category ("" is for all others).
            categories: keep only these.
            keypoint_threshold: keypoints with a score of at least this are present, including those that a stricter
                threshold had hidden.

        Raises:
            ConfigError: a threshold is not a number from 0 to 1.
        """
        keep = np.ones(len(self), dtype=bool)
        if threshold is not None:
            table = threshold if isinstance(threshold, Mapping) else {"": threshold}
            limits = {name: _share(f'threshold of "{name}"', value) for name, value in table.items()}
            rest = limits.get("", -1.0)  # no rule: every score passes
            keep &= self.scores > np.array([limits.get(name, rest) for name in self.categories])
        if categories is not None:
            allowed = {categories} if isinstance(categories, str) else set(categories)
            keep &= np.array([name in allowed for name in self.categories], dtype=bool)
        poses = self._take(keep.nonzero()[0])
        if keypoint_threshold is None:
            return poses
        least, unscored = _share("keypoint_threshold", keypoint_threshold), np.isnan(poses.keypoint_scores)
        passes = (poses.keypoint_scores >= least) & np.isfinite(poses.xy).all(-1)
        judged = np.where(passes, np.where(poses.visibility == 0, 2, poses.visibility), 0)
        return dataclasses.replace(poses, visibility=np.where(unscored, poses.visibility, judged))

    def _take(self, rows: np.ndarray) -> Poses:
        values: dict[str, Any] = {name: tuple(getattr(self, name)[row] for row in rows) for name in _TUPLES}
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        return dataclasses.replace(
            self, **values, **{name: array[rows] for name, array in arrays.items() if array is not None}
        )

    def draw(
        self,
        image: PictureSource | None = None,
        *,
        prompts: object = None,
        boxes: bool = True,
        labels: bool = True,
        legend: Literal["inside", "below", "none"] = "below",
        line_width: float | None = None,
        errors: bool = False,
    ) -> Image.Image:
        """The picture with the poses drawn on it. See `xpose.drawing.overlay.draw_figures` for the style.

        Args:
            image: any picture that `detect` reads, in any size; None uses `source` if known, else a plain sheet.
            prompts: the prompts of `detect`, whose classes the legend explains, so that pictures of equal size get
                drawings of equal size, whatever was detected; None explains the classes of the poses.
            boxes: draw the boxes.
            labels: write category and score.
            legend: "below" adds it below the picture; "inside" puts it in the corner where it covers least.
            line_width: the width of edges in pixels, and the radius of keypoints; None chooses both by the sizes of
                picture and object.
            errors: draw a faint circle around each keypoint with its expected error (`keypoint_errors`) as the radius.

        Raises:
            ImageError: the picture is unreadable or has another aspect ratio.
            PromptError: the prompts cannot be understood.
            ConfigError: an option is invalid, or the poses have no `keypoint_errors` to draw.
        """
        from xpose.drawing.overlay import Style
        from xpose.results.draw import draw

        style = Style(boxes=boxes, labels=labels, legend=legend, line_width=line_width, errors=errors)
        return draw(self, image, prompts, style)

    def pose_map(self) -> Image.Image:
        """The bodies, hands and faces on black, in the size of the picture, as ControlNet and ComfyUI take them.

        People are found by the names of their keypoints, as in `to_openpose`; other objects are not drawn. Faces and
        hands are those of the classes "face" and "hand"; if there are people, only hands that belong to one are drawn.
        """
        from xpose.results.draw import pose_map

        return pose_map(self)

    def crops(self, image: PictureSource | None = None) -> list[Image.Image]:
        """The part of the picture inside each box, one picture for each pose.

        Args:
            image: as for `draw`.

        Raises:
            ImageError: the picture is unreadable or has another aspect ratio.
            ConfigError: the picture is unknown.
        """
        from xpose.results.draw import crops

        return crops(self, image)


def _share(what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 <= value <= 1:
        raise ConfigError(f"{what} is {value!r}. It must be a number from 0 to 1. Omit it to keep everything.")
    return float(value)
