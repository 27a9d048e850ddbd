"""Objects over time: PoseTrack's JSON, MOTChallenge's text, and names of individuals for programs that need them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xpose.errors import DataError
from xpose.geometry import xyxy_to_xywh
from xpose.pictures import PICTURE_ENDINGS
from xpose.results.formats import coco
from xpose.results.formats.json import number, score
from xpose.results.formats.objects import Make, ReadObject, poses_of

if TYPE_CHECKING:
    from xpose.results.poses import Poses

MOT_COLUMNS = 7  # frame, id, left, top, width, height, confidence; further ones are -1
MAX_FRAMES = 10_000_000


def individuals_of(results: Sequence[Poses], track_names: Mapping[int, str] | None) -> list[list[str]]:
    """A name for each pose: that of its track, or its number in the picture."""
    names = track_names or {}
    return [
        [f"individual{row}" for row in range(1, len(poses) + 1)]
        if poses.track_ids is None
        else [names.get(number, str(number)) for number in poses.track_ids.tolist()]
        for poses in results
    ]


def frame_numbers(results: Sequence[Poses]) -> list[int] | None:
    """The numbers at the end of the pictures' names if they are frames of one video; None for single pictures.

    Without names, the pictures are numbered from 0.
    """
    sources = [poses.source for poses in results]
    if not any(sources):
        return list(range(len(sources)))
    matches = [re.fullmatch(r"(.*?)(\d{1,9})(\.\w+)?", source or "") for source in sources]
    numbers = [int(match[2]) for match in matches if match]
    one_video = len({match and (match[1], match[3]) for match in matches}) == 1
    return numbers if one_video and len(set(numbers)) == len(results) else None


def are_pictures(results: Sequence[Poses]) -> bool:
    """Whether the results name files of pictures, and not only frames of a video."""
    return any((poses.source or "").lower().endswith(PICTURE_ENDINGS) for poses in results)


def to_posetrack(results: Sequence[Poses], *, coordinates: bool = True) -> dict[str, Any]:
    """PoseTrack's JSON, which is COCO's with a video and a frame for each picture, and a track for each object."""
    content = coco.instances(results, coordinates=coordinates)
    frames = frame_numbers(results) or list(range(len(results)))
    for image, frame in zip(content["images"], frames, strict=True):
        folder = image["file_name"].rpartition("/")[0]
        image |= {"vid_id": folder or "video", "frame_id": frame, "is_labeled": True, "nframes": len(results)}
    for annotation in content["annotations"]:
        annotation.setdefault("track_id", -1)
    return content


def to_mot(results: Sequence[Poses]) -> str:
    """MOTChallenge's text: a line for each box, with frames and pixels counted from 1; -1 is an untracked object."""
    frames = frame_numbers(results)
    first = 1 if frames and min(frames) == 0 else 0
    lines = []
    for row, poses in enumerate(results):
        frame = row + 1 if frames is None else frames[row] + first
        for pose in poses[~poses.tentative]:
            left, top, width, height = xyxy_to_xywh(pose.box.astype(float)).tolist()
            track = -1 if pose.track_id is None else pose.track_id
            cells = [frame, track, number(left + 1), number(top + 1), number(width), number(height), score(pose.score)]
            lines.append(",".join(map(str, [*cells, -1, -1, -1])))
    return "".join(f"{line}\n" for line in lines)


def from_mot(data: bytes, make: Make) -> list[Poses]:
    """The inverse of `to_mot`: boxes without keypoints; frames without objects are not in the file."""
    frames: dict[int, list[ReadObject]] = {}
    for row, line in enumerate(data.decode("utf-8-sig").splitlines(), start=1):
        cells = line.split(",")
        if not line.strip():
            continue
        if len(cells) < MOT_COLUMNS:
            raise DataError(f"Line {row} has {len(cells)} values. MOTChallenge's lines have {MOT_COLUMNS} or more.")
        frame, track, left, top, width, height, confidence = map(float, cells[:MOT_COLUMNS])
        if not 0 <= frame <= MAX_FRAMES:
            raise DataError(f"Line {row} is of frame {frame:g}. Frames are numbered from 1 to {MAX_FRAMES:,}.")
        box = left - 1, top - 1, left - 1 + width, top - 1 + height
        known = int(track) if track >= 0 else None
        item = ReadObject(category="object", box=box, score=min(max(confidence, 0.0), 1.0), track=known)
        frames.setdefault(int(frame), []).append(item)
    return [poses_of(make, frames[frame], source=f"{frame:06}") for frame in sorted(frames)]
