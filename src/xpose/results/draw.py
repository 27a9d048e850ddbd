"""Draws and crops `Poses`: reads the picture and passes plain values to `xpose.drawing`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from xpose.drawing.overlay import Figure, FigureClass, Style, draw_figures
from xpose.drawing.pose_map import MapPerson, draw_pose_map
from xpose.errors import ConfigError, ImageError
from xpose.pictures.reading import read_picture
from xpose.prompts import Prompt, as_prompts
from xpose.results.formats.openpose import LISTS, person_of
from xpose.results.whole_body import CLASSES, PERSON, join_whole_body
from xpose.vocabulary import load_skeleton, side_of

if TYPE_CHECKING:
    from xpose.pictures.reading import PictureSource
    from xpose.results.poses import Pose, Poses

_SHEET = (64, 66, 70)
_MOST = 16_384  # pixels per side of a plain sheet


def draw(poses: Poses, image: PictureSource | None, prompts: object, style: Style) -> Image.Image:
    """See `Poses.draw`."""
    height, width = poses.image_size
    if style.errors and poses.keypoint_errors is None:
        raise ConfigError("errors=True, but these poses have no keypoint_errors. Only some weights predict them.")
    if image is None and poses.source is None:
        if max(width, height) > _MOST:
            raise ConfigError(
                f"At most {_MOST} pixels per side are drawn without the picture itself. Give it: poses.draw(image)."
            )
        picture = Image.new("RGB", (width, height), _SHEET)
    else:
        picture = _picture(poses, image)
    scale = _scale(poses, picture)
    figures = [figure_of(pose, scale) for pose in poses]
    return draw_figures(picture, figures, style, None if prompts is None else _classes(prompts))


def figure_of(pose: Pose, scale: np.ndarray | float = 1.0) -> Figure:
    """A pose as it is drawn on a picture of another size, relative to which `scale` is given for x and y."""
    scale = np.broadcast_to(scale, 2)
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
        dashed=pose.tentative,
    )


def pose_map(poses: Poses) -> Image.Image:
    """See `Poses.pose_map`."""
    if PERSON in poses.categories:
        others = [pose for pose in poses if pose.category not in CLASSES]
        people = [*others, *join_whole_body(poses, type(poses))]
    else:
        people = list(poses)
    return draw_pose_map([_map_person(pose) for pose in people if not pose.tentative], poses.image_size)


def _map_person(pose: Pose) -> MapPerson:
    person = person_of(pose, "body_18")
    body, face, *sided = (_places(person[key]) for key in LISTS)
    unsided = load_skeleton("hand").keypoints
    hands = [hand for hand in sided if hand is not None]
    if not hands and set(unsided) <= set(pose.canonical):  # the side is not drawn
        points = dict(zip(pose.canonical, pose.points.values(), strict=True))
        hands = [np.array([points[name][:2] if points[name].v else (np.nan, np.nan) for name in unsided])]
    return MapPerson(body, hands, face)


def _places(flat: list[float]) -> np.ndarray | None:
    """OpenPose's numbers as places, NaN where absent; None for an empty list."""
    triples = np.array(flat).reshape(-1, 3)
    return np.where(triples[:, 2:] > 0, triples[:, :2], np.nan) if flat else None


def crops(poses: Poses, image: PictureSource | None) -> list[Image.Image]:
    """See `Poses.crops`."""
    if image is None and poses.source is None:
        raise ConfigError("These poses do not know their picture. Give it: poses.crops(image).")
    picture = _picture(poses, image)
    boxes = poses.boxes.astype(np.float64) * np.tile(_scale(poses, picture), 2)
    starts = np.floor(boxes[:, :2]).clip(0, np.array(picture.size) - 1)  # at least one pixel, also outside the picture
    ends = np.ceil(boxes[:, 2:]).clip(starts + 1, picture.size)
    return [picture.crop(tuple(corners)) for corners in np.hstack((starts, ends)).astype(int).tolist()]


def _classes(prompts: object) -> list[FigureClass]:
    """The classes of prompts, as `detect` takes them."""
    resolved = [entry.resolved if isinstance(entry, Prompt) else entry.names for entry in as_prompts(prompts)]
    return [FigureClass(names.label, names.names, tuple(map(side_of, names.canonical))) for names in resolved]


def _picture(poses: Poses, image: PictureSource | None) -> Image.Image:
    source = poses.source if image is None else image
    assert source is not None
    try:
        return Image.fromarray(read_picture(source)[0])
    except ImageError as error:
        raise ImageError(f"{error} The picture itself is needed here: poses.draw(image).") from None


def _scale(poses: Poses, picture: Image.Image) -> np.ndarray:
    """The size of a picture relative to the one of the poses; ImageError if their shapes differ."""
    height, width = poses.image_size
    # Both sides are scaled by the same factor, except for rounding.
    if abs(picture.width * height - picture.height * width) > sum(picture.size) + width + height:
        raise ImageError(
            f"The picture has {picture.width} x {picture.height} pixels, the poses are from one of {width} x {height}. "
            "It may have another size but must have the same shape. Give the upright picture that was detected in."
        )
    return np.array([picture.width / width, picture.height / height])
