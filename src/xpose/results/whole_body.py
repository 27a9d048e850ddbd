"""Whole people of 133 keypoints, joined from the people, faces and hands that were detected in one picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from xpose.results.formats.objects import Make, Place, ReadObject, poses_of
from xpose.vocabulary import load_skeleton

if TYPE_CHECKING:
    from xpose.results.poses import Pose, Poses

PERSON, FACE, HAND = CLASSES = ("person", "face", "hand")
SKELETON = "person_wholebody"
HEAD = ("nose", "left eye", "right eye")
SIDES = ("left", "right")
# The largest distance between a part and its place on the person, relative to the diagonal of the part's box.
FARTHEST = 1.0


def join_whole_body(poses: Poses, make: Make) -> Poses:
    """A person for each detected one, with the nearest face and hands, and one for each face that belongs to nobody.

    Hands that belong to nobody are omitted, because their side is unknown. Feet have no source and are absent, and so
    are the parts that were not detected.
    """
    people = [pose for pose in poses[PERSON] if not pose.tentative]
    parts = [(name, pose) for name in (FACE, HAND) for pose in poses[name] if not pose.tentative]
    joined: list[dict[str, tuple[Pose, str]]] = [dict(_named(pose, pose.names)) for pose in people]
    used: set[int] = set()
    taken: set[tuple[int, str]] = set()
    for _, part, row, place in sorted(_pairs(people, parts)):
        if part not in used and (row, place) not in taken:
            used.add(part)
            taken.add((row, place))
            pose = parts[part][1]
            joined[row] |= _named(pose, _names(pose, place))
    alone = [pose for number, (name, pose) in enumerate(parts) if name == FACE and number not in used]
    owners = [*people, *alone]
    joined += [dict(_named(pose, pose.canonical)) for pose in alone]
    objects = [_person(owner, points) for owner, points in zip(owners, joined, strict=True)]
    return poses_of(make, objects, poses.image_size, poses.source, poses.exif_applied)


def _pairs(people: list[Pose], parts: list[tuple[str, Pose]]) -> Iterator[tuple[float, int, int, str]]:
    """The distance of each part to each place on a person that it may have: distance, part, person, place."""
    for number, (name, part) in enumerate(parts):
        diagonal = max(float(np.hypot(*(part.box[2:] - part.box[:2]))), 1.0)
        centre = part.box.reshape(2, 2).mean(0)
        wrist = part.get("wrist")
        start = np.array(wrist[:2]) if name == HAND and wrist is not None and wrist.v else centre
        for row, person in enumerate(people):
            for place in (FACE,) if name == FACE else SIDES:
                ends = _there(person, HEAD if name == FACE else (f"{place} wrist",))
                if len(ends) and (far := float(np.hypot(*(ends.mean(0) - start))) / diagonal) <= FARTHEST:
                    yield far, number, row, place


def _there(person: Pose, names: Iterable[str]) -> np.ndarray:
    points = [person.get(name) for name in names]
    return np.array([point[:2] for point in points if point is not None and point.v]).reshape(-1, 2)


def _names(pose: Pose, place: str) -> list[str]:
    """The names of a part's keypoints on the whole person."""
    if place == FACE:
        return list(pose.canonical)
    return [f"{place} hand wrist" if name == "wrist" else f"{place} {name}" for name in pose.canonical]


def _named(pose: Pose, names: Iterable[str]) -> Iterator[tuple[str, tuple[Pose, str]]]:
    return ((whole, (pose, name)) for whole, name in zip(names, pose.names, strict=True))


def _person(owner: Pose, points: dict[str, tuple[Pose, str]]) -> ReadObject:
    skeleton = load_skeleton(SKELETON)
    places: dict[str, Place] = {}
    errors: dict[str, float] = {}
    for name in skeleton.keypoints:
        pose, source = points.get(name, (None, ""))
        if pose is None:
            places[name] = np.nan, np.nan, np.nan, 0
            continue
        places[name] = pose[source]
        if pose.keypoint_errors is not None:
            errors[name] = float(pose.keypoint_errors[pose.names.index(source)])
    return ReadObject(
        category=PERSON,
        points=places,
        box=owner.box.tolist(),
        score=owner.score,
        edges=skeleton.edges,
        errors=errors,
    )
