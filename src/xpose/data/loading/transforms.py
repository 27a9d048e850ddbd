"""Augmentation of stored pictures for training: the settings, and views of a picture.

    settings = Augmentation(size=256)                 # squares, for CPUs
    settings = Augmentation(size=None)                # short side 480 to 800, half after a crop, for GPUs
    view = choose_view(rng, (640, 480), settings)     # a matrix, the frame's size, whether it mirrors
    sample = show(pictures, number, view, settings)

`mosaic` and `paste` combine several pictures of one set (and one bucket), because only those label the same categories:
an unlabelled person in a picture of birds must not appear next to labelled people.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from xpose.data.loading.pictures import Pictures, Size, letterbox, move_labels, scale_of, similarity
from xpose.data.loading.samples import Labels, Sample, join
from xpose.errors import out_of_range, refuse
from xpose.pictures.decoding import opencv

TRIES = 8  # to find a view that shows an object
_CROP_SIDES = (400, 600)  # short side before the crop
_CROP = (384, 600)  # sides of the crop
_SPLIT = (0.35, 0.65)  # positions of a mosaic's dividing lines in the frame
_PASTES = 8  # places tried for an object
_MOST_COVERED = 0.3  # share of another object's box or points
_MOST_FOREIGN = 0.1  # share of a pasted piece that other objects may cover
_MARGIN = 1.1  # sides of the piece relative to the object's box
_SOFT = 0.04  # width of the soft edge relative to the shorter side
_LEAST_PIECE = 16.0  # pixels in the stored picture
_LUMA = np.array([0.299, 0.587, 0.114])
# Luma and two colour axes (YIQ): a hue change rotates the axes.
_YIQ = np.array([_LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_BACK = np.linalg.inv(_YIQ)


@dataclass(frozen=True)
class Colours:
    """How much colours vary, by jitter, grey and blur. Factors are drawn from 1/(1 + x) to 1 + x."""

    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.4
    hue: float = 10.0  # degrees to either side
    share: float = 0.8  # of pictures whose colours change
    grey: float = 0.05  # share of pictures without colour
    blur: float = 0.05  # share of pictures that are blurred
    most_blur: float = 1.5  # pixels (standard deviation)

    def faults(self) -> list[str]:
        """Messages about invalid settings."""
        amounts = ("brightness", "contrast", "saturation", "hue", "most_blur")
        return out_of_range(self, 0, "share", "grey", "blur", high=1) + out_of_range(self, 0, *amounts)


NO_COLOURS = Colours(share=0.0, grey=0.0, blur=0.0)


@dataclass(frozen=True)
class Augmentation:
    """How pictures vary. Without a `size` they keep their shape, and batches are padded to the largest."""

    size: int | None = 256  # side of square frames
    sides: tuple[int, ...] = tuple(range(480, 801, 32))  # short sides to draw from if `size` is None
    longest: int = 1333
    crop: float = 0.5  # share of pictures that are cropped first, if `size` is None
    flip: float = 0.5
    scale: tuple[float, float] = (0.6, 1.5)  # relative to the whole picture fitted into the square
    rotation: float = 25.0  # degrees to either side
    colours: Colours = field(default_factory=Colours)
    mosaic: float = 0.0  # share of pictures made from four
    copy_paste: float = 0.0  # share of pictures that get an object from another
    least_share: float = 0.3  # of an object's box that must stay in the frame
    least_side: float = 3.0  # pixels of the longer side of an object

    def __post_init__(self) -> None:
        faults = out_of_range(self, 0, "crop", "flip", "mosaic", "copy_paste", "least_share", high=1)
        faults += out_of_range(self, 16, "size") + out_of_range(self, 0, "rotation", high=180)
        if not self.sides or min(self.sides) < 16 or self.longest < max(self.sides, default=0):
            faults.append(f"sides are {self.sides} with longest {self.longest}; they run from 16 to longest")
        if not 0 < self.scale[0] <= self.scale[1] < math.inf:
            faults.append(f"scale is {self.scale}, not two numbers above 0, the smaller one first")
        refuse("The settings of the augmentation do", [*faults, *(f"colours: {x}" for x in self.colours.faults())])

    def plain(self) -> Augmentation:
        """The same frames without variation, for validation and inspection of the data."""
        none: dict[str, Any] = dict.fromkeys(("crop", "flip", "rotation", "mosaic", "copy_paste"), 0.0)
        return replace(self, sides=(max(self.sides),), scale=(1.0, 1.0), colours=NO_COLOURS, **none)


@dataclass(frozen=True)
class View:
    """How a picture is shown."""

    matrix: np.ndarray  # [2, 3] from the stored picture to the frame
    frame: Size
    mirror: bool

    def labels(self, labels: Labels, settings: Augmentation) -> Labels:
        """The labels of the stored picture in the frame; see `move_labels`."""
        limits = {"least_share": settings.least_share, "least_side": settings.least_side}
        return move_labels(labels, self.matrix, self.frame, mirror=self.mirror, **limits)


def choose_view(rng: np.random.Generator, size: Size, settings: Augmentation, frame: Size | None = None) -> View:
    """A random view of a picture of the given size, in a frame of size `frame` if given."""
    mirror = bool(rng.random() < settings.flip)
    degrees = float(rng.uniform(-1, 1)) * settings.rotation
    if frame is None and settings.size is None:
        return _keeping_shape(rng, size, settings, mirror, degrees)
    frame = frame or (settings.size or 0, settings.size or 0)
    low, high = (math.log(limit) for limit in settings.scale)
    scale = min(frame[0] / size[0], frame[1] / size[1]) * math.exp(rng.uniform(low, high))
    # Half the sides of the rotated picture; its centre can be anywhere that keeps it whole or fills the frame.
    turned = np.abs(similarity(scale, degrees, False, (0, 0), (0, 0))[:, :2]) @ np.array(size) / 2
    middle = [float(rng.uniform(min(e, f - e), max(e, f - e))) for e, f in zip(turned, frame, strict=True)]
    matrix = similarity(scale, degrees, mirror, (size[0] / 2, size[1] / 2), (middle[0], middle[1]))
    return View(matrix, frame, mirror)


def _keeping_shape(rng: np.random.Generator, size: Size, settings: Augmentation, mirror: bool, degrees: float) -> View:
    """The DETR models' recipe with a rotation: a short and a longest side as set, sometimes after a crop."""
    left, top, width, height = 0.0, 0.0, float(size[0]), float(size[1])
    if rng.random() < settings.crop:
        before = rng.uniform(*_CROP_SIDES) / min(size)
        cut = rng.uniform(*_CROP, 2) / before
        width, height = min(width, float(cut[0])), min(height, float(cut[1]))
        left, top = rng.uniform(0, size[0] - width), rng.uniform(0, size[1] - height)
    side = int(rng.choice(np.array(settings.sides)))
    frame = shape_for((width, height), side, settings.longest)
    scale = min(frame[0] / width, frame[1] / height)
    middle = (left + width / 2, top + height / 2)
    return View(similarity(scale, degrees, mirror, middle, (frame[0] / 2, frame[1] / 2)), frame, mirror)


def shape_for(size: tuple[float, float], side: int, longest: int) -> Size:
    """Width and height with a short side of `side`, or less if the longer side would exceed `longest`."""
    scale = min(side / min(size), longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def plain_view(size: Size, settings: Augmentation, frame: Size | None = None) -> View:
    """The whole picture, upright."""
    side = settings.size
    frame = frame or ((side, side) if side else shape_for(size, max(settings.sides), settings.longest))
    return View(letterbox(size, frame), frame, False)


def show(pictures: Pictures, number: int, view: View, settings: Augmentation) -> Sample:
    """The picture `number` in the given view."""
    pool, pixels = pictures.pool, pictures.warped(number, view.matrix, view.frame)
    labels = view.labels(pool.labels(number), settings)
    stated = pool.set_name(number), pool.file(number), pool.style(number)
    return Sample(pixels, labels, *stated, view.matrix, view.mirror, (number,))


def good_view(
    rng: np.random.Generator, pictures: Pictures, number: int, settings: Augmentation, frame: Size | None = None
) -> View:
    """A view that shows one of the picture's objects, if any; the whole picture if no view was found."""
    size, labels = pictures.pool.size(number), pictures.pool.labels(number).real()
    for _ in range(TRIES):
        view = choose_view(rng, size, settings, frame)
        if not len(labels) or not view.labels(labels, settings).crowd.all():
            return view
    return plain_view(size, settings, frame)


def mosaic(rng: np.random.Generator, pictures: Pictures, numbers: list[int], settings: Augmentation) -> Sample:
    """Four pictures in one frame; the first of `numbers` gives the frame's shape and the sample's names."""
    assert len(numbers) == 4
    frame = plain_view(pictures.pool.size(numbers[0]), settings).frame
    column, row = (round(side * rng.uniform(*_SPLIT)) for side in frame)
    corners = [(0, 0, column, row), (column, 0, *frame[:1], row), (0, row, column, frame[1]), (column, row, *frame)]
    canvas = np.empty((frame[1], frame[0], 3), np.uint8)
    parts, samples = [], []
    for number, corner in zip(numbers, rng.permutation(4).tolist(), strict=True):
        left, top, right, bottom = corners[corner]
        cell: Size = (right - left, bottom - top)
        sample = show(pictures, number, good_view(rng, pictures, number, settings, cell), settings)
        canvas[top:bottom, left:right] = sample.pixels
        points = sample.labels.points.copy()
        points[..., :2] += np.where(points[..., 2:] > 0, np.array([left, top], np.float32), np.float32(0))
        boxes = sample.labels.boxes + np.array([left, top] * 2, np.float32)
        parts.append(replace(sample.labels, boxes=boxes, points=points))
        samples.append(replace(sample, matrix=sample.matrix + np.array([[0, 0, left], [0, 0, top]])))
    return replace(samples[0], pixels=canvas, labels=join(parts), pictures=tuple(numbers))


def paste(rng: np.random.Generator, sample: Sample, pictures: Pictures, donor: int, settings: Augmentation) -> Sample:
    """The sample with a suitable object of the picture `donor` pasted into it, if there is one and there is room.

    The piece is the object's box with a small margin and a soft edge. Points that it covers become hidden; it never
    covers much of another object.
    """
    labels = pictures.pool.labels(donor)
    rows = _fit_for_pasting(labels)
    if not len(rows):
        return sample
    row = int(rng.choice(rows))
    box = _piece(labels.boxes[row], pictures.pool.size(donor))
    width, height = float(box[2] - box[0]), float(box[3] - box[1])
    frame: Size = (sample.pixels.shape[1], sample.pixels.shape[0])
    view = good_view(rng, pictures, donor, settings, frame)
    scale = min(scale_of(view.matrix), 0.6 * frame[0] / width, 0.6 * frame[1] / height)
    size: Size = (max(2, round(width * scale)), max(2, round(height * scale)))
    if max(size) < settings.least_side:
        return sample
    corner = _free_place(rng, sample.labels.real(), frame, size)
    if corner is None:
        return sample
    target = (corner[0] + size[0] / 2, corner[1] + size[1] / 2)
    middle = (float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2)
    matrix = similarity(scale, 0.0, view.mirror, middle, target)
    added = View(matrix, frame, view.mirror).labels(labels.take(np.array([row])), settings)
    if not len(added.real()):
        return sample
    piece = pictures.warped(donor, matrix - np.array([[0, 0, corner[0]], [0, 0, corner[1]]]), size)
    points = sample.labels.points.copy()
    covered = _inside(points, np.array((*corner, corner[0] + size[0], corner[1] + size[1])))
    points[..., 2][(points[..., 2] == 2) & covered] = 1
    labels = join([replace(sample.labels, points=points), added])
    canvas = _paste_pixels(sample.pixels, piece, corner)
    return replace(sample, pixels=canvas, labels=labels, pictures=(*sample.pictures, donor))


def _fit_for_pasting(labels: Labels) -> np.ndarray:
    """Objects that are not tiny, show at least half of their points, and do not overlap others."""
    boxes = labels.boxes
    sides = boxes[:, 2:] - boxes[:, :2]
    lengths = np.array([len(kind) for kind in labels.kinds], np.int64)[labels.label]
    seen = (labels.points[..., 2] == 2).sum(1)
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    np.fill_diagonal(shared, 0)
    alone = shared.sum(1) <= _MOST_FOREIGN * sides.prod(1)
    return np.flatnonzero(~labels.crowd & (sides.min(1, initial=1e9) >= _LEAST_PIECE) & (2 * seen >= lengths) & alone)


def _piece(box: np.ndarray, size: Size) -> np.ndarray:
    """The part that is cut out for an object, in whole pixels inside the picture."""
    grow = (box[2:] - box[:2]) * (_MARGIN - 1) / 2
    low = np.floor(np.maximum(box[:2] - grow, 0))
    high = np.ceil(np.minimum(box[2:] + grow, np.array(size, np.float32)))
    return np.concatenate((low, high))


def _free_place(rng: np.random.Generator, others: Labels, frame: Size, size: Size) -> tuple[int, int] | None:
    """A corner at which a piece leaves enough of every object; None if none was found."""
    low, high = others.boxes[:, :2], others.boxes[:, 2:]
    areas = (high - low).prod(1)
    labelled = others.points[..., 2] > 0
    for _ in range(_PASTES):
        left, top = (int(rng.integers(0, f - s + 1)) for f, s in zip(frame, size, strict=True))
        piece = np.array([left, top, left + size[0], top + size[1]], np.float32)
        shared = np.clip(np.minimum(high, piece[2:]) - np.maximum(low, piece[:2]), 0, None).prod(1)
        covered = (labelled & _inside(others.points, piece)).sum(1)
        if (shared <= _MOST_COVERED * areas).all() and (covered <= _MOST_COVERED * labelled.sum(1)).all():
            return left, top
    return None


def _inside(points: np.ndarray, box: np.ndarray) -> np.ndarray:
    places = points[..., :2]
    return np.asarray(((places >= box[:2]) & (places < box[2:])).all(-1))


def _paste_pixels(canvas: np.ndarray, piece: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
    """The canvas with a soft-edged piece."""
    (left, top), (height, width) = corner, piece.shape[:2]
    soft = max(1.0, _SOFT * min(width, height))
    share = np.minimum(_ramp(height, soft)[:, None], _ramp(width, soft)[None])[..., None]
    result = canvas.copy()
    under = result[top : top + height, left : left + width]
    under[:] = np.rint(piece * share + under * (1 - share)).astype(np.uint8)
    return result


def _ramp(side: int, soft: float) -> np.ndarray:
    place = np.arange(side) + 0.5
    return np.clip(np.minimum(place, side - place) / soft, 0, 1).astype(np.float32)


def vary_colours(pixels: np.ndarray, colours: Colours, rng: np.random.Generator) -> np.ndarray:
    """The picture in other colours; the number of draws is fixed, so settings do not affect each other."""
    draws = rng.random(9)
    change, grey, blur = draws[0] < colours.share, draws[1] < colours.grey, draws[2] < colours.blur
    if change or grey:
        matrix = colour_matrix(colours, draws[3:7] if change else np.full(4, 0.5), grey)
        pixels = np.asarray(opencv().transform(pixels, matrix))
    if blur and colours.most_blur > 0:
        pixels = np.asarray(opencv().GaussianBlur(pixels, (0, 0), max(0.3, colours.most_blur * draws[7])))
    return pixels


def colour_matrix(colours: Colours, draws: np.ndarray, grey: bool) -> np.ndarray:
    """The RGB transform [3, 4] for four draws from 0 to 1; draws of 0.5 change nothing."""
    limits = (colours.brightness, colours.contrast, colours.saturation)
    bright, contrast, saturation = ((1 + x) ** (2 * d - 1) for x, d in zip(limits, draws[:3], strict=True))
    saturation = 0.0 if grey else saturation
    angle = math.radians(colours.hue * (2 * draws[3] - 1))
    turn = saturation * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    middle = np.eye(3)
    middle[1:, 1:] = turn
    linear = _BACK @ middle @ _YIQ * bright * contrast
    return np.column_stack((linear, np.full(3, 128 * (1 - contrast) * bright)))
