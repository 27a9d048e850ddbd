"""Pictures made of several: four in a mosaic, and objects of one pasted into another.

Only pictures of one set (and one bucket) are mixed, because only those label the same categories: a person without a
label in a picture of birds must not appear beside labelled people.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xpose.data.loading.pictures import Pictures, Size, scale_of, similarity
from xpose.data.loading.samples import Labels, Sample, join
from xpose.data.loading.transforms import Augmentation, View, good_view, plain_view, show

_SPLIT = (0.35, 0.65)  # where the lines of a mosaic run, in sides of the frame
_PASTES = 8  # places tried for an object
_MOST_COVERED = 0.3  # of another object's box, or of its points
_MOST_FOREIGN = 0.1  # of a pasted piece that other objects of its picture may cover
_MARGIN = 1.1  # sides of the piece in sides of the object's box
_SOFT = 0.04  # width of the piece's soft edge in its shorter sides
_LEAST_PIECE = 16.0  # pixels in the stored picture


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
    """Objects that are not tiny, show at least half of their points, and stand alone."""
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
    """A corner for a piece where it leaves enough of every object; None if none was found."""
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
    """The canvas with a piece whose edges are soft."""
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
