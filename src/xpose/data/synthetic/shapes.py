"""Drawn pictures of hundreds of invented kinds of objects, for learning from examples.

A network trained on a few dozen kinds learns those kinds. To find what an example shows, it must learn to compare
instead, so no kind may occur often enough to be memorised. Each kind has its own shape (a blob, a bar or a body with
limbs), with parts, colours, sometimes a piece of a photograph as its texture (skin), and up to nine points. Every
object is turned, squeezed, bent and lit differently.

    write_shapes("sets/shapes", kinds=400, each=6, behind=["sets"])     # with other sets' photographs behind

The drawings depend on the seed, the photographs and the two numbers; a kind does not depend on the number of kinds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from xpose.data.collection.store import Counts
from xpose.data.synthetic.figure import Colour, box_of_mask, colour, draw_background, ellipse, rotation
from xpose.data.synthetic.scenes import LEAST_SEEN, LICENCE, SMOOTHING, write_drawn
from xpose.errors import DataError, quote
from xpose.pictures import PICTURE_ENDINGS
from xpose.pictures.reading import find_pictures, stored_pixels
from xpose.records import HIDDEN, VISIBLE, Category, Instance, Picture, Record
from xpose.vocabulary import load_skeleton

NAME, SKELETON = "shapes", "drawn_shape"
TITLE = "Drawn shapes of many kinds"
MOST_POINTS = 9
_TRIES = 20  # damaged pictures in a row before failing
_SKIN = 160  # side of a skin's piece of a photograph, in pixels
_SYLLABLES = ["ba", "ce", "di", "fo", "gu", "hy", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "zu"]  # sixteen
_KIND, _PICTURE = 0, 1  # random streams


@dataclass(frozen=True)
class ShapePart:
    """A polygon of a kind. Its frame is turned by `angle`, with its origin at `place` in its parent part."""

    hangs_on: int | None  # an earlier part; None for the object itself
    place: tuple[float, float]
    angle: float
    corners: np.ndarray  # [n, 2]
    paint: Colour
    skinned: bool = False


@dataclass(frozen=True)
class Shape:
    """A kind of object; unturned and without limbs, it fits a square from -1 to 1."""

    name: str
    parts: tuple[ShapePart, ...]
    points: tuple[tuple[int, tuple[float, float]], ...]  # part number, place in its frame
    turn: float  # objects are turned by up to this, in radians
    bend: float  # deviation of a limb's angle
    skin: Image.Image | None


def write_shapes(
    out: str | Path,
    kinds: int = 400,
    each: int = 6,  # pictures per kind; they can also show other kinds
    *,
    seed: int = 0,
    behind: Sequence[str | Path] = (),
    side: int = 288,  # picture size, in pixels
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Counts]:
    """Write `each` pictures of every kind as a prepared set with only the split `train`.

    Photographs in the folders `behind` are used as backgrounds and skins, except those listed in a val.json or
    test.json below them; otherwise, backgrounds are drawn. Pictures with photographs have the photographs' terms.

    Raises:
        DataError: the folder is not empty, one in `behind` has no pictures, or a number is invalid.
    """
    if not 1 <= kinds <= 65536 or each < 1 or side < 32:
        raise DataError(
            f"{kinds} kinds with {each} pictures of {side} pixels each cannot be drawn. Give 1 to 65,536 kinds, at "
            "least one picture, and sides of at least 32 pixels."
        )
    photographs = _photographs(behind)
    streams = [np.random.default_rng([seed, _KIND, number]) for number in range(kinds)]
    shapes = [invent(rng, name_of(number), photographs) for number, rng in enumerate(streams)]
    settings = {"seed": seed, "kinds": kinds, "each": each, "side": side, "behind": [str(folder) for folder in behind]}
    licence = "as the photographs in the background: see the manifest" if behind else LICENCE
    terms = "those of the photographs that `behind` names" if behind else "none"
    words = {"name": NAME, "title": TITLE, "licence": licence, "terms": terms, "left_right": "none"}
    stated = {**words, "skeletons": [SKELETON]}
    drawn = _pictures(shapes, each, seed, photographs, side, licence)
    return write_drawn(Path(out), stated, settings, {"train": (kinds * each, drawn)}, progress)


def _photographs(folders: Sequence[str | Path]) -> list[Path]:
    photographs: list[Path] = []
    for folder in folders:
        kept_back = _listed(Path(folder))
        here = [path for path in find_pictures(Path(folder)) if path.name not in kept_back]
        if not here:
            raise DataError(f"{quote(folder)} has no pictures ({', '.join(PICTURE_ENDINGS)}). Name another folder.")
        photographs += here
    return photographs


def _listed(folder: Path) -> set[str]:
    """The names of the validation and test pictures of the sets in a folder."""
    names: set[str] = set()
    for file in (*folder.rglob("val.json"), *folder.rglob("test.json")):
        try:
            images = json.loads(file.read_text(encoding="utf-8"))["images"]
            names |= {Path(image["file_name"]).name for image in images}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{quote(file)}, which lists which pictures must not be drawn on, cannot be read "
                f"({type(error).__name__}). Correct it, or name other folders."
            ) from None
    return names


def _pictures(
    shapes: Sequence[Shape], each: int, seed: int, photographs: Sequence[Path], side: int, licence: str
) -> Iterator[tuple[np.ndarray, Record]]:
    for number in range(len(shapes) * each):
        rng = np.random.default_rng([seed, _PICTURE, number])
        many = int(rng.choice([1, 1, 1, 2, 3, 5]))
        others = rng.integers(0, len(shapes), int(rng.choice([0, 0, 1, 2])))
        here = [shapes[i] for i in rng.permutation([number // each] * many + others.tolist())]
        pixels, instances = draw(rng, here, photographs, side)
        picture = Picture(f"pictures/{number:06}.jpg", side, side, stored="prepared")
        yield pixels, Record(picture, instances, NAME, "train", licence, "none", "drawing", source_id=picture.file)


def name_of(number: int) -> str:
    """A meaningless word, different for every number below 65,536."""
    mixed = number * 40503 % 65536  # an odd factor, so that none repeats
    return "".join(_SYLLABLES[mixed >> shift & 15] for shift in (12, 8, 4, 0))


def invent(rng: np.random.Generator, name: str, photographs: Sequence[Path] = ()) -> Shape:
    """Invent a kind."""
    skin = _piece(rng, photographs, _SKIN) if photographs and rng.random() < 0.4 else None
    make = (_blob, _bar, _creature)[int(rng.integers(3))]
    parts, points = make(rng, skin is not None)
    body = next(i for i, part in enumerate(parts) if part.place == (0.0, 0.0))
    for _ in range(int(rng.integers(0, 3))):
        spot = ellipse((0, 0), (rng.uniform(0.06, 0.2), rng.uniform(0.06, 0.2)))
        parts.append(ShapePart(body, tuple(rng.uniform(-0.4, 0.4, 2)), 0.0, spot, _paint(rng)))
        if rng.random() < 0.5:
            points.append((len(parts) - 1, (0.0, 0.0)))
    return Shape(
        name=name,
        parts=tuple(parts),
        points=tuple(points[:MOST_POINTS]),
        turn=math.pi if rng.random() < 0.5 else float(rng.uniform(0.1, 0.8)),
        bend=float(rng.uniform(0, 0.5)),
        skin=skin,
    )


Made = tuple[list[ShapePart], list[tuple[int, tuple[float, float]]]]


def _blob(rng: np.random.Generator, skinned: bool) -> Made:
    corners = _star(rng, int(rng.integers(4, 11)), 1.0, 0.6) * [1, rng.uniform(0.35, 1)]
    if rng.random() < 0.6:
        corners = _rounded(corners, int(rng.integers(0, 3)))
    shown = rng.choice(len(corners), min(len(corners), int(rng.integers(2, 7))), replace=False)
    body = ShapePart(None, (0.0, 0.0), 0.0, corners, _paint(rng), skinned)
    return [body], [(0, (float(corners[i, 0]), float(corners[i, 1]))) for i in shown]


def _bar(rng: np.random.Generator, skinned: bool) -> Made:
    near, far = rng.uniform(0.08, 0.35, 2)
    corners = np.array([[-1, -near], [-rng.uniform(0, 0.5), -near], [1, -far], [1, far], [-1, near]])
    body = ShapePart(None, (0.0, 0.0), 0.0, _rounded(corners, int(rng.integers(0, 3))), _paint(rng), skinned)
    parts, points = [body], [(0, (-1.0, 0.0)), (0, (1.0, 0.0))]
    if rng.random() < 0.5:
        points.append((0, (float(rng.uniform(-0.5, 0.5)), 0.0)))
    if rng.random() < 0.5:  # a cross bar
        half, thick = float(rng.uniform(0.3, 0.9)), float(rng.uniform(0.05, 0.15))
        across = np.array([[-thick, -half], [thick, -half], [thick, half], [-thick, half]])
        paint = _paint(rng) if rng.random() < 0.5 else body.paint
        parts.append(ShapePart(0, (float(rng.uniform(-1, 1)), 0.0), 0.0, across, paint))
        points += [(1, (0.0, -half)), (1, (0.0, half))]
    return parts, points


def _creature(rng: np.random.Generator, skinned: bool) -> Made:
    """Limbs, a body over them, and a head, maybe with an eye."""
    flat, paint = float(rng.uniform(0.35, 1)), _paint(rng)
    angles = np.sort(rng.uniform(0, 2 * math.pi, int(rng.integers(2, 6)))).tolist()
    parts: list[ShapePart] = []
    points: list[tuple[int, tuple[float, float]]] = []
    for angle in angles:
        length, start = float(rng.uniform(0.4, 1.3)), float(rng.uniform(0.06, 0.22))
        end = start * float(rng.uniform(0.3, 1.1))
        corners = np.array([[0, -start], [length, -end], [length + 0.7 * end, 0], [length, end], [0, start]])
        place = (0.8 * math.cos(angle), 0.8 * flat * math.sin(angle))
        parts.append(ShapePart(None, place, angle, corners, paint if rng.random() < 0.5 else _paint(rng)))
        points.append((len(parts) - 1, (length, 0.0)))
        if rng.random() < 0.3:
            points.append((len(parts) - 1, (length / 2, 0.0)))
    body = _rounded(_star(rng, 8, 1.0, 0.25), 2) * [1, flat]
    parts.append(ShapePart(None, (0.0, 0.0), 0.0, body, paint, skinned))
    if rng.random() < 0.7:
        points.append((len(parts) - 1, (0.0, 0.0)))
    head, size = angles[0], float(rng.uniform(0.2, 0.45))
    place = (math.cos(head), flat * math.sin(head))
    parts.append(ShapePart(None, place, head, _rounded(_star(rng, 7, size, 0.2), 2), _paint(rng)))
    points.append((len(parts) - 1, (0.6 * size, 0.0)))
    if rng.random() < 0.6:
        eye = ellipse((0, 0), (0.2 * size,) * 2)
        parts.append(ShapePart(len(parts) - 1, (0.3 * size, 0.4 * size), 0.0, eye, _paint(rng)))
        points.append((len(parts) - 1, (0.0, 0.0)))
    return parts, points


def _paint(rng: np.random.Generator) -> Colour:
    return colour(rng, (0.0, 1.0), (0.15, 0.95))


def _star(rng: np.random.Generator, corners: int, radius: float, ragged: float) -> np.ndarray:
    even = np.arange(corners) * 2 * math.pi / corners
    angles = np.sort(rng.uniform(0, 2 * math.pi, corners)) if rng.random() < 0.5 else even
    return np.stack([np.cos(angles), np.sin(angles)], 1) * (radius * rng.uniform(1 - ragged, 1, corners))[:, None]


def _rounded(corners: np.ndarray, times: int) -> np.ndarray:
    """Cut corners off repeatedly (Chaikin)."""
    for _ in range(times):
        after = np.roll(corners, -1, 0)
        corners = np.stack([0.75 * corners + 0.25 * after, 0.25 * corners + 0.75 * after], 1).reshape(-1, 2)
    return corners


def draw(
    rng: np.random.Generator, shapes: Sequence[Shape], photographs: Sequence[Path], side: int
) -> tuple[np.ndarray, tuple[Instance, ...]]:
    """A picture with an object of each of the shapes, later ones in front."""
    large = side * SMOOTHING
    if photographs and rng.random() < 0.85:
        paper = _piece(rng, photographs, large)
    else:
        paper = draw_background(rng, (large, large))
    alone = len(shapes) == 1
    owners = np.zeros((large, large), np.int32)
    stamped = []
    for number, shape in enumerate(shapes, start=1):
        scale = large * float(rng.uniform(0.14, 0.3) if alone else rng.uniform(0.07, 0.18))
        middle = rng.uniform(0.2, 0.8, 2) * large if alone else rng.uniform(0.1, 0.9, 2) * large
        mask, points = _stamp(rng, paper, shape, middle, scale)
        owners[mask] = number
        stamped.append((shape, number, mask, points))
    pixels = np.asarray(paper.resize((side, side), Image.Resampling.BOX), dtype=float)
    pixels = np.clip(pixels + rng.normal(0, rng.uniform(0, 8), pixels.shape), 0, 255).astype(np.uint8)
    return pixels, tuple(filter(None, (_instance(*parts, owners) for parts in stamped)))


def _stamp(
    rng: np.random.Generator, paper: Image.Image, shape: Shape, middle: np.ndarray, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Paint an object; return its pixels [h, w] and points [K, 2] on the paper."""
    angle, light = float(rng.uniform(-1, 1)) * shape.turn, float(rng.uniform(0.75, 1.2))
    squeeze = np.array([[1, rng.normal(0, 0.12)], [0, rng.uniform(0.8, 1.2)]])
    frames: list[tuple[np.ndarray, np.ndarray]] = []
    mask = Image.new("1", paper.size)
    brush, over = ImageDraw.Draw(paper), ImageDraw.Draw(mask)
    for part in shape.parts:
        if part.hangs_on is None:
            matrix, origin = scale * rotation(angle) @ squeeze, middle
            bent = part.angle + (float(rng.normal(0, shape.bend)) if part.angle else 0.0)
        else:
            (matrix, origin), bent = frames[part.hangs_on], part.angle
        frame = (matrix @ rotation(bent), matrix @ np.array(part.place) + origin)
        frames.append(frame)
        # A keypoint is a pixel index, so the middle of pixel 0 is at 0.5 of the paper.
        corners = [(float(x) - 0.5, float(y) - 0.5) for x, y in part.corners @ frame[0].T + frame[1]]
        if part.skinned and shape.skin is not None:
            _lay_skin(paper, shape.skin, corners, frame)
        else:
            brush.polygon(corners, fill=tuple(int(min(255, value * light)) for value in part.paint))
        over.polygon(corners, fill=1)
    points = [frames[number][0] @ np.array(place) + frames[number][1] for number, place in shape.points]
    return np.array(mask), np.array(points).reshape(-1, 2)


def _lay_skin(
    paper: Image.Image, skin: Image.Image, corners: Sequence[tuple[float, float]], frame: tuple[np.ndarray, np.ndarray]
) -> None:
    stencil = Image.new("L", paper.size)
    ImageDraw.Draw(stencil).polygon(list(corners), fill=255)
    back = np.linalg.inv(frame[0] * 2 / _SKIN)  # the skin is two units wide
    shift = back @ -frame[1] + _SKIN / 2
    values = (back[0, 0], back[0, 1], shift[0], back[1, 0], back[1, 1], shift[1])
    paper.paste(skin.transform(paper.size, Image.Transform.AFFINE, values, Image.Resampling.BILINEAR), (0, 0), stencil)


def _instance(shape: Shape, number: int, mask: np.ndarray, places: np.ndarray, owners: np.ndarray) -> Instance | None:
    seen = owners == number
    if not seen.any():
        return None
    category = category_of(shape)
    # Too small for a training object, too large for background: a region that counts neither for nor against.
    rest = bool(seen.sum() < max(LEAST_SEEN * mask.sum(), 100))
    points = {}
    for name, (x, y) in () if rest else zip(category.keypoints, places.tolist(), strict=True):
        column, row = int(x // 1), int(y // 1)
        if 0 <= column < owners.shape[1] and 0 <= row < owners.shape[0]:
            covered = owners[row, column] not in (0, number)
            points[name] = (x / SMOOTHING - 0.5, y / SMOOTHING - 0.5, HIDDEN if covered else VISIBLE)
    box, area = box_of_mask(mask, SMOOTHING), float(seen.sum()) / SMOOTHING**2
    return Instance(category, box, points, area=area, iscrowd=rest, source_id=str(number))


def category_of(shape: Shape) -> Category:
    """A category named like the kind, with the first points of the skeleton of drawn shapes."""
    skeleton = load_skeleton(SKELETON)
    return Category(shape.name, skeleton.name, skeleton.keypoints[: len(shape.points)], ())


def _piece(rng: np.random.Generator, photographs: Sequence[Path], side: int) -> Image.Image:
    for number in rng.integers(len(photographs), size=_TRIES).tolist():
        picture = _opened(photographs[number])
        if picture is not None:
            break
    else:
        example = quote(photographs[number])
        raise DataError(f"{_TRIES} pictures in turn cannot be read, such as {example}. Give folders of photographs.")
    length = max(1, int(min(picture.size) * rng.uniform(0.3, 1)))
    left, top = (int(rng.integers(0, whole - length + 1)) for whole in picture.size)
    return picture.crop((left, top, left + length, top + length)).resize((side, side), Image.Resampling.BILINEAR)


@lru_cache(maxsize=256)
def _opened(path: Path) -> Image.Image | None:
    try:
        picture = Image.fromarray(stored_pixels(path))
    except Exception:  # decoders raise errors of every kind for damaged files
        return None
    picture.thumbnail((640, 640))
    return picture
