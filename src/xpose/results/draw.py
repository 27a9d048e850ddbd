"""Draws `Poses`: reads the picture and passes plain values to `xpose.drawing`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from xpose.drawing.overlay import Figure, Style, draw_figures
from xpose.errors import ConfigError, ImageError
from xpose.pictures.reading import read_picture

if TYPE_CHECKING:
    from xpose.pictures.reading import PictureSource
    from xpose.results.poses import Poses

_SHEET = (64, 66, 70)
_MOST = 16_384  # pixels per side of a plain sheet


def draw(poses: Poses, image: PictureSource | None, style: Style) -> Image.Image:
    """See `Poses.draw`."""
    height, width = poses.image_size
    if style.errors and poses.keypoint_errors is None:
        raise ConfigError("errors=True, but these poses have no keypoint_errors. Only some weights predict them.")
    source = poses.source if image is None else image
    if source is None:
        if max(width, height) > _MOST:
            raise ConfigError(
                f"At most {_MOST} pixels per side are drawn without the picture itself. Give it: poses.draw(image)."
            )
        picture = Image.new("RGB", (width, height), _SHEET)
    else:
        try:
            picture = Image.fromarray(read_picture(source)[0])
        except ImageError as error:
            raise ImageError(f"{error} A drawing needs the picture itself: poses.draw(image).") from None
    # Both sides are scaled by the same factor, except for rounding.
    if abs(picture.width * height - picture.height * width) > sum(picture.size) + width + height:
        raise ImageError(
            f"The picture has {picture.width} x {picture.height} pixels, the poses are from one of {width} x {height}. "
            "It may have another size but must have the same shape. Give the upright picture that was detected in."
        )
    scale = np.array([picture.width / width, picture.height / height])
    figures = [
        Figure(
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
            dashed=pose.tentative,
        )
        for pose in poses
    ]
    return draw_figures(picture, figures, style)
