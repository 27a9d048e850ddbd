"""From `Poses` to a drawing: finds the picture, and gives `xpose.drawing` plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from xpose.drawing.overlay import Figure, Style, draw_figures
from xpose.drawing.palette import Colour
from xpose.errors import ConfigError, ImageError
from xpose.pictures.reading import read_picture

if TYPE_CHECKING:
    from xpose.results.poses import Pose, Poses

SHEET: Colour = (64, 66, 70)
_MOST = 16_384  # pixels on a side; a sheet or an enlarged picture beyond it would fill the memory


def draw(poses: Poses, image: Any, style: Style, *, background: Colour | None, enlarge_to: int) -> Image.Image:
    """See `Poses.draw`."""
    height, width = poses.image_size
    if style.errors and poses.keypoint_errors is None:
        raise ConfigError(
            "errors=True, but these poses have no keypoint_errors. Only some weights predict them. Leave errors out."
        )
    if background is None and image is None and poses.source is None:
        background = SHEET
    if background is None:
        picture = _picture(poses.source if image is None else image)
    else:
        _check_side("The picture", max(width, height))
        picture = Image.new("RGB", (width, height), tuple(background))
    _check_shape(picture, width, height)
    if enlarge_to:
        picture = _enlarged(picture, enlarge_to)
    scale = np.array([picture.width / width, picture.height / height])
    return draw_figures(picture, [_figure(pose, scale) for pose in poses], style)


def _picture(image: Any) -> Image.Image:
    try:
        return Image.fromarray(read_picture(image)[0])
    except ImageError as error:
        raise ImageError(f"{error} A drawing needs the picture itself: poses.draw(image).") from None


def _figure(pose: Pose, scale: np.ndarray) -> Figure:
    return Figure(
        box=tuple((pose.box * np.tile(scale, 2)).tolist()),
        title=pose.category,
        score=pose.score,
        names=pose.names,
        sides=pose.sides,
        xy=pose.xy.astype(np.float64) * scale,
        confidence=np.nan_to_num(pose.keypoint_scores.astype(np.float64), nan=1.0),
        visibility=pose.visibility,
        edges=pose.edges,
        errors=None if pose.keypoint_errors is None else pose.keypoint_errors.astype(np.float64) * scale.mean(),
    )


def _check_shape(picture: Image.Image, width: int, height: int) -> None:
    """The poses' own picture in any size: both sides by the same factor, but for rounding."""
    if abs(picture.width * height - picture.height * width) > sum(picture.size) + width + height:
        raise ImageError(
            f"The picture has {picture.width} x {picture.height} pixels, the poses are from one of {width} x {height}. "
            "It may have another size but must have the same shape. Give the upright picture that was detected in."
        )


def _enlarged(picture: Image.Image, least: int) -> Image.Image:
    if not isinstance(least, int) or least < 0:
        raise ConfigError(f"enlarge_to is {least!r}. It must be a number of pixels. Leave it out to keep the size.")
    _check_side("enlarge_to", least)
    factor = least / max(picture.size)
    if factor <= 1:
        return picture
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.BICUBIC)


def _check_side(what: str, side: int) -> None:
    if side > _MOST:
        raise ConfigError(f"{what} has a side of {side} pixels. At most {_MOST} are drawn. Give a smaller picture.")
