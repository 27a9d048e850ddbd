"""SLEAP's label files (.slp), written by sleap-io.

Objects with confidences become predictions, others labels, as in SLEAP itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xpose.errors import missing_extra
from xpose.results.formats.objects import UNKNOWN
from xpose.results.formats.tracks import individuals_of

if TYPE_CHECKING:
    from xpose.results.poses import Pose, Poses

Kind = tuple[str, tuple[str, ...]]


def to_slp(results: Sequence[Poses], *, track_names: Mapping[int, str] | None = None) -> bytes:
    """A label file. Pictures of one size form a video of pictures; no pixels are stored."""
    sleap_io = _sleap_io()
    results = [poses[~poses.tentative] for poses in results]
    builder = _Builder(sleap_io, results, track_names)
    sizes: dict[tuple[int, int], list[int]] = {}
    for row, poses in enumerate(results):
        sizes.setdefault(poses.image_size, []).append(row)
    frames = []
    for size, rows in sizes.items():
        names = [results[row].source or f"picture-{row + 1}" for row in rows]
        video = sleap_io.Video(filename=names, open_backend=False)
        video.backend_metadata |= {"type": "ImageVideo", "filename": names[0], "filenames": names, "grayscale": False}
        if size != UNKNOWN:
            video.backend_metadata["shape"] = (len(rows), *size, 3)
        for index, row in enumerate(rows):
            instances = builder.instances(row, tracked=results[row].track_ids is not None)
            frames.append((row, sleap_io.LabeledFrame(video=video, frame_idx=index, instances=instances)))
    ordered = [frame for _, frame in sorted(frames, key=lambda item: item[0])]
    labels = sleap_io.Labels(ordered, skeletons=list(builder.skeletons.values()))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.slp"
        sleap_io.save_slp(labels, str(path), embed=False, verbose=False)
        return path.read_bytes()


class _Builder:
    """Makes sleap-io's skeletons, tracks and instances."""

    def __init__(self, sleap_io: Any, results: Sequence[Poses], track_names: Mapping[int, str] | None) -> None:
        self.sleap_io, self.results = sleap_io, results
        self.names = individuals_of(results, track_names)
        self.tracks: dict[str, Any] = {}
        self.skeletons: dict[Kind, Any] = {}
        for pose in (pose for poses in results for pose in poses if pose.names):
            self.skeletons.setdefault((pose.category, pose.names), None)
        for (category, names), edges in self._edges().items():
            skeleton = sleap_io.Skeleton([sleap_io.Node(name) for name in names], name=category)
            for start, end in edges:
                skeleton.add_edge(start, end)
            self.skeletons[category, names] = skeleton

    def _edges(self) -> dict[Kind, tuple[tuple[str, str], ...]]:
        return {(p.category, p.names): p.edges for poses in self.results for p in poses if p.names}

    def instances(self, row: int, *, tracked: bool) -> list[Any]:
        """The objects of a picture that have keypoints."""
        named = zip(self.results[row], self.names[row], strict=True)
        return [self._instance(pose, name if tracked else None) for pose, name in named if pose.names]

    def _instance(self, pose: Pose, name: str | None) -> Any:
        track = None if name is None else self.tracks.setdefault(name, self.sleap_io.Track(name))
        values: dict[str, Any] = {"skeleton": self.skeletons[pose.category, pose.names], "track": track}
        places = np.where((pose.visibility > 0)[:, None], pose.xy, np.nan).astype(np.float64)
        if np.isnan(pose.keypoint_scores).all():
            return self.sleap_io.Instance.from_numpy(places, **values)
        scores = np.nan_to_num(pose.keypoint_scores, nan=1.0).astype(np.float64)
        return self.sleap_io.PredictedInstance.from_numpy(places, point_scores=scores, score=pose.score, **values)


def _sleap_io() -> Any:
    try:
        import sleap_io
    except ImportError:
        raise missing_extra("Writing SLEAP files", "sleap-io", "data") from None
    return sleap_io
