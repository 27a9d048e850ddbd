"""OpenPose's JSON for ControlNet and ComfyUI: people with body, face and hands, and animals in AP-10K's order.

The layout "body_18" is that of the COCO model, "body_25" OpenPose's own, and "body_135" that of its whole-body model,
which has all points of a person in one list.

Keypoints are looked up by their canonical names, so any prompt for a person works, even for only a face or a left
hand. If the prompt has no neck, the middle of the shoulders is used with the lower of both scores; the same holds for
the middle of the hips. The format drops `keypoint_errors`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from xpose.errors import ConfigError, DataError, XPoseWarning, quote
from xpose.results.formats.json import number, score
from xpose.results.formats.objects import NOWHERE, Make, Place, ReadObject, poses_of
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
_FEET = ("big toe", "small toe", "heel")
BODY_135 = (  # the body of the whole-body model; 20 points of each hand (no wrist) and 70 of the face follow
    *("nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder"),
    *("left elbow", "right elbow", "left wrist", "right wrist", "left hip", "right hip"),
    *("left knee", "right knee", "left ankle", "right ankle", "upper neck", "head top"),
    *(f"left {name}" for name in _FEET),
    *(f"right {name}" for name in _FEET),
)
LAYOUTS: dict[str, tuple[str, ...]] = {"body_18": BODY_18, "body_25": BODY_25, "body_135": BODY_135}
Layout = Literal["body_18", "body_25", "body_135"]
_BETWEEN = {"neck": ("left shoulder", "right shoulder"), "middle of the hips": ("left hip", "right hip")}
_PUPILS = ("right pupil", "left pupil")  # after our 68 points of the face
# A prompt needs at least this many body points to count as a person; an eye and a nose are not enough.
_LEAST_BODY = 5
_NOWHERE = (0.0, 0.0, 0.0)
LISTS = ("pose_keypoints_2d", "face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d")
_ALONE = ("person", "face", "left hand", "right hand")  # the class of a person with only one of these lists
Triple = tuple[float, float, float]


def to_openpose(poses: Poses, layout: Layout = "body_18") -> dict[str, Any]:
    """The people and animals of one picture; see `encode`."""
    return encode([poses], layout)[0]


def encode(results: Sequence[Poses], layout: Layout = "body_18") -> list[dict[str, Any]]:
    """The people and animals of each picture; other objects are omitted with one warning, tentative ones without.

    Raises:
        ConfigError: the layout is not one of `LAYOUTS`; ControlNet takes "body_18".
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"layout is {layout!r}. It must be one of {', '.join(LAYOUTS)}. ControlNet takes body_18.")
    others: list[str] = []
    contents = [_content(poses, layout, others) for poses in results]
    if others:
        warnings.warn(
            f"{len(others)} of {sum(map(len, results))} objects ({quote(others[0])}) are omitted. OpenPose's files "
            "contain people, faces, left or right hands, and animals with AP-10K's 17 points. Use another format for "
            "all others.",
            XPoseWarning,
            stacklevel=4,
        )
    return contents


def decode(data: bytes, make: Make) -> list[Poses]:
    """The pictures in a file of OpenPose, ControlNet or ComfyUI, which may hold a list of frames."""
    content = json.loads(data)
    return [_decoded(frame, make) for frame in (content if isinstance(content, list) else [content])]


def _decoded(content: dict[str, Any], make: Make) -> Poses:
    objects = [_read_person(person) for person in content["people"]]
    names = load_skeleton("ap10k").keypoints
    for animal in content.get("animals") or ():
        points = dict(zip(names, map(_place, animal), strict=True))
        objects.append(ReadObject(category="animal", points=points))
    size = content.get("canvas_height"), content.get("canvas_width")
    return poses_of(make, objects, None if None in size else size)  # type: ignore[arg-type]


def _read_person(person: dict[str, Any]) -> ReadObject:
    points: dict[str, Place] = {}
    filled = []
    for which, key in enumerate(LISTS):
        flat = person.get(key) or []
        triples = [tuple(flat[start : start + 3]) for start in range(0, len(flat), 3)]
        if not triples:
            continue
        orders = [_whole(), BODY_25, BODY_18] if which == 0 else [(_face(), _hand("left"), _hand("right"))[which - 1]]
        order = next((order for order in orders if len(order) == len(triples)), None)
        if order is None:
            counts = " or ".join(str(len(order)) for order in orders)
            raise DataError(
                f'"{key}" has {len(flat)} numbers. It has three for each of {counts} points. Export it again.'
            )
        filled.append(which)
        points |= {name: _place(triple) for name, triple in zip(order, triples, strict=True)}
    points = {name: place for name, place in points.items() if place[3] or name not in _PUPILS}
    return ReadObject(category=_ALONE[filled[0]] if len(filled) == 1 else "person", points=points)


def _place(triple: Sequence[float]) -> Place:
    x, y, confidence = map(float, triple)
    return (x, y, min(confidence, 1.0), 2) if confidence > 0 else NOWHERE


def known_names() -> set[str]:
    """The canonical names of keypoints that the layout "body_18" has a place for."""
    names = {*BODY_18, *_face(), *load_skeleton("hand").keypoints, *load_skeleton("ap10k").keypoints}
    return names.union(_hand("left"), _hand("right"))


def _face() -> tuple[str, ...]:
    return (*load_skeleton("face").keypoints, *_PUPILS)


def _hand(side: str) -> tuple[str, ...]:
    return f"{side} hand wrist", *(f"{side} {name}" for name in load_skeleton("hand").keypoints[1:])


def _whole() -> tuple[str, ...]:
    return *BODY_135, *_hand("left")[1:], *_hand("right")[1:], *_face()


def _content(poses: Poses, layout: str, others: list[str]) -> dict[str, Any]:
    """The content of one file; the categories of objects without a place in it are added to `others`."""
    people, animals = [], []
    animal_order = load_skeleton("ap10k").keypoints
    for pose in poses[~poses.tentative]:
        points = dict(zip(pose.canonical, pose.points.values(), strict=True))
        if _shared(points, animal_order) == len(animal_order):
            animals.append([list(_triple(points, name)) for name in animal_order])
            continue
        person = person_of(pose, layout)
        if any(person.values()):
            people.append({"person_id": [-1], **person})
        else:
            others.append(pose.category)
    height, width = poses.image_size
    result = {"version": 1.3, "people": people, **({"animals": animals} if animals else {})}
    return {**result, "canvas_width": width, "canvas_height": height}


def person_of(pose: Pose, layout: str) -> dict[str, list[float]]:
    """The four lists of a person; a list is empty if the prompt has none of its keypoints."""
    points, order = dict(zip(pose.canonical, pose.points.values(), strict=True)), LAYOUTS[layout]
    hand, face = load_skeleton("hand").keypoints, _face()
    body = [_triple(points, name) for name in order] if _shared(points, order) >= _LEAST_BODY else []
    faces = [_triple(points, name) for name in face] if _shared(points, face) > len(face) // 2 else []
    lists = {"pose_keypoints_2d": body, "face_keypoints_2d": faces}
    for side in ("left", "right"):
        names = list(_hand(side))
        if not _shared(points, names) and side_of(pose.category) == side:
            names = list(hand)  # the points of a left hand need not say "left"
        triples = [_triple(points, name) for name in names] if _shared(points, names) > 1 else []
        lists[f"hand_{side}_keypoints_2d"] = triples
    person = {name: [value for triple in triples for value in triple] for name, triples in lists.items()}
    return _joined(person) if layout == "body_135" and any(person.values()) else person


def _joined(person: dict[str, list[float]]) -> dict[str, list[float]]:
    """The lists of a person as the only one of the layout "body_135", where hands have no wrists."""
    body, face, left, right = (person[key] for key in LISTS)
    parts = ((body, len(BODY_135)), (left[3:], 20), (right[3:], 20), (face, len(_face())))
    whole = [value for part, count in parts for value in part or [0.0] * 3 * count]
    return {key: whole if key == LISTS[0] else [] for key in LISTS}


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
