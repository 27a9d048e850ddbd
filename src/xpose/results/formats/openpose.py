"""OpenPose's JSON for ControlNet and ComfyUI: people with body, face and hands, and animals in AP-10K's order.

Keypoints are looked up by their canonical names, so any prompt for a person works, even for only a face or a left
hand. If the prompt has no neck, the middle of the shoulders is used with the lower of both scores; the same holds for
the middle of the hips. The format drops `keypoint_errors`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from xpose.errors import ConfigError, XPoseWarning, quote
from xpose.results.formats.json import number, score
from xpose.vocabulary import load_skeleton, side_of

if TYPE_CHECKING:
    from xpose.results.poses import Point, Pose, Poses

BODY_18 = (
    *("nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist"),
    *("right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle"),
    *("right eye", "left eye", "right ear", "left ear"),
)
BODY_25 = (
    *BODY_18[:8],
    "middle of the hips",
    *BODY_18[8:],
    *("left big toe", "left small toe", "left heel", "right big toe", "right small toe", "right heel"),
)
_BETWEEN = {"neck": ("left shoulder", "right shoulder"), "middle of the hips": ("left hip", "right hip")}
_FACE_PLACES = 70  # our 68 points, then the right and the left pupil
# A prompt needs at least this many body points to count as a person; an eye and a nose are not enough.
_LEAST_BODY = 5
_NOWHERE = (0.0, 0.0, 0.0)
Triple = tuple[float, float, float]


def to_openpose(poses: Poses, layout: Literal["body_18", "body_25"] = "body_18") -> dict[str, Any]:
    """The people and animals of one picture; see `encode`."""
    return encode([poses], layout)[0]


def encode(results: Sequence[Poses], layout: Literal["body_18", "body_25"] = "body_18") -> list[dict[str, Any]]:
    """The people and animals of each picture; other objects are omitted with one warning, tentative ones without.

    Raises:
        ConfigError: the layout is neither "body_18" (that of the COCO model, for ControlNet) nor "body_25".
    """
    if layout not in ("body_18", "body_25"):
        raise ConfigError(f'layout is {layout!r}. It must be "body_18" or "body_25". ControlNet takes "body_18".')
    others: list[str] = []
    contents = [_content(poses, BODY_18 if layout == "body_18" else BODY_25, others) for poses in results]
    if others:
        warnings.warn(
            f"{len(others)} of {sum(map(len, results))} objects ({quote(others[0])}) are omitted. OpenPose's files "
            "contain people, faces, left or right hands, and animals with AP-10K's 17 points. Use another format for "
            "all others.",
            XPoseWarning,
            stacklevel=4,
        )
    return contents


def _content(poses: Poses, order: tuple[str, ...], others: list[str]) -> dict[str, Any]:
    """The content of one file; the categories of objects without a place in it are added to `others`."""
    people, animals = [], []
    animal_order = load_skeleton("ap10k").keypoints
    for pose in poses[~poses.tentative]:
        points = dict(zip(pose.canonical, pose.points.values(), strict=True))
        if _shared(points, animal_order) == len(animal_order):
            animals.append([list(_triple(points, name)) for name in animal_order])
            continue
        person = _person(pose, points, order)
        if any(person.values()):
            people.append({"person_id": [-1], **person})
        else:
            others.append(pose.category)
    height, width = poses.image_size
    result = {"version": 1.3, "people": people, **({"animals": animals} if animals else {})}
    return {**result, "canvas_width": width, "canvas_height": height}


def _person(pose: Pose, points: dict[str, Point], order: tuple[str, ...]) -> dict[str, list[float]]:
    """The four lists of a person; a list is empty if the prompt has none of its keypoints."""
    hand = load_skeleton("hand").keypoints
    face = load_skeleton("face").keypoints
    body = [_triple(points, name) for name in order] if _shared(points, order) >= _LEAST_BODY else []
    faces = [_triple(points, name) for name in face] if _shared(points, face) > len(face) // 2 else []
    faces += [_NOWHERE] * (_FACE_PLACES - len(face)) if faces else []
    lists = {"pose_keypoints_2d": body, "face_keypoints_2d": faces}
    for side in ("left", "right"):
        names = [f"{side} hand wrist", *(f"{side} {name}" for name in hand[1:])]
        if not _shared(points, names) and side_of(pose.category) == side:
            names = list(hand)  # the points of a left hand need not say "left"
        triples = [_triple(points, name) for name in names] if _shared(points, names) > 1 else []
        lists[f"hand_{side}_keypoints_2d"] = triples
    return {name: [value for triple in triples for value in triple] for name, triples in lists.items()}


def _shared(points: dict[str, Point], names: tuple[str, ...] | list[str]) -> int:
    return sum(name in points for name in names)


def _triple(points: dict[str, Point], name: str) -> Triple:
    point = points.get(name)
    if point is None and name in _BETWEEN:
        ends = [_triple(points, end) for end in _BETWEEN[name]]
        if any(end[2] == 0 for end in ends):
            return _NOWHERE
        return number((ends[0][0] + ends[1][0]) / 2), number((ends[0][1] + ends[1][1]) / 2), min(e[2] for e in ends)
    if point is None or point.v == 0:
        return _NOWHERE
    confidence = score(point.score)
    # In this format a confidence of 0 means that the point is absent.
    return number(point.x), number(point.y), max(1.0 if confidence is None else confidence, 1e-4)
