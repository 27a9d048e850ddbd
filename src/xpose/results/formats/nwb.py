"""NWB files with poses in the extension ndx-pose: a container for each individual, in the module "behavior".

The files are written and read with pynwb, because sleap-io's reader (0.9.5) loses the names of individuals and skips
frames.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from xpose.errors import ConfigError, DataError, missing_extra, quote
from xpose.results.formats.objects import Make, ReadObject, poses_of
from xpose.results.formats.tracks import frame_numbers, individuals_of

if TYPE_CHECKING:
    from xpose.results.poses import Pose, Poses

SOFTWARE = "xpose"
ALONE = "PoseEstimation"  # the usual name of a container that is the only one
MAX_BYTES = 4 << 30  # of an unpacked table


def to_nwb(results: Sequence[Poses], *, track_names: Mapping[int, str] | None = None) -> bytes:
    """An NWB file. Its times are the numbers of the frames, as the rate of the video is unknown."""
    pynwb, ndx_pose = _libraries()
    results = [poses[~poses.tentative] for poses in results]
    frames = frame_numbers(results) or list(range(len(results)))
    rows: dict[tuple[str, str], list[tuple[int, Pose]]] = {}  # by individual and class
    for frame, poses, names in zip(frames, results, individuals_of(results, track_names), strict=True):
        for pose, name in zip(poses, names, strict=True):
            if pose.names:
                rows.setdefault((name, pose.category), []).append((frame, pose))
    if not rows:
        raise ConfigError("No object has keypoints, and NWB files hold nothing else. Choose another format.")
    skeletons = _skeletons(ndx_pose, results)
    start = datetime.now(UTC)
    file = pynwb.NWBFile(session_description="poses", identifier=str(uuid4()), session_start_time=start)
    module = file.create_processing_module(name="behavior", description="poses")
    module.add(ndx_pose.Skeletons(skeletons=list(skeletons.values())))
    taken: set[str] = set()
    for (name, category), found in rows.items():
        shown = ALONE if len(rows) == 1 else _free(_plain(name), _plain(category), taken)
        taken.add(shown)
        module.add(_container(ndx_pose, shown, skeletons[category], found))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "poses.nwb"
        with pynwb.NWBHDF5IO(str(path), "w") as io:
            io.write(file)
        return path.read_bytes()


def decode(data: bytes, make: Make, *, track_names: dict[int, str]) -> list[Poses]:
    """The poses in any NWB file with ndx-pose: a picture for each time; names of individuals go to `track_names`."""
    pynwb, ndx_pose = _libraries()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "poses.nwb"
        path.write_bytes(data)
        try:
            _refuse_huge(path)
            with pynwb.NWBHDF5IO(str(path), "r", load_namespaces=True) as io:
                file = io.read()
                found = [item for item in file.objects.values() if isinstance(item, ndx_pose.PoseEstimation)]
                tracks = [_track(item, _number(item.name, track_names)) for item in found]
        except DataError:
            raise
        except Exception as error:  # a damaged file can raise any kind of error
            raise DataError(f"The file is no NWB file with poses: {str(error)[:100]}. Export it again.") from None
    times = sorted({time for track in tracks for time in track})
    whole = all(float(time).is_integer() for time in times)
    frames = {time: int(time) if whole else number for number, time in enumerate(times)}
    return [
        poses_of(make, [track[time] for track in tracks if time in track], source=f"{frames[time]:06}")
        for time in times
    ]


def _skeletons(ndx_pose: Any, results: Sequence[Poses]) -> dict[str, Any]:
    """A skeleton for each class, with the points and edges of all its objects."""
    names: dict[str, dict[str, None]] = {}
    edges: dict[str, dict[tuple[str, str], None]] = {}
    for pose in (pose for poses in results for pose in poses if pose.names):
        names.setdefault(pose.category, {}).update(dict.fromkeys(pose.names))
        edges.setdefault(pose.category, {}).update(dict.fromkeys(pose.edges))
    skeletons = {}
    for category, nodes in names.items():
        order = list(nodes)
        pairs = np.array([[order.index(end) for end in edge] for edge in edges[category]], dtype="uint16").reshape(
            -1, 2
        )
        skeletons[category] = ndx_pose.Skeleton(name=_plain(category), nodes=order, edges=pairs)
    return skeletons


def _container(ndx_pose: Any, name: str, skeleton: Any, found: list[tuple[int, Pose]]) -> Any:
    times = np.array([frame for frame, _ in found], dtype=np.float64)
    series = []
    for node in skeleton.nodes:
        points = [pose.get(node) for _, pose in found]
        there = [point if point is not None and point.v else None for point in points]
        values = [(np.nan, np.nan) if point is None else (point.x, point.y) for point in there]
        scores = [np.nan if point is None else np.nan_to_num(point.score, nan=1.0) for point in there]
        series.append(
            ndx_pose.PoseEstimationSeries(
                name=_plain(node),
                description=node,
                data=np.array(values, dtype=np.float64),
                unit="pixels",
                reference_frame="x to the right and y down, from the upper left corner of the picture",
                timestamps=times,
                confidence=np.array(scores, dtype=np.float64),
                confidence_definition="confidence of the network",
            )
        )
    return ndx_pose.PoseEstimation(
        name=name,
        pose_estimation_series=series,
        description=f"one {skeleton.name}",
        source_software=SOFTWARE,
        skeleton=skeleton,
    )


def _track(item: Any, number: int) -> dict[float, ReadObject]:
    """The objects of a container by time."""
    skeleton = item.skeleton
    series = dict(item.pose_estimation_series)
    names = {_plain(str(name)): str(name) for name in skeleton.nodes[:]} if skeleton is not None else {}
    order = [name for name in names if name in series] or list(series)
    shown = [names.get(name, name) for name in order]
    pairs = skeleton.edges[:].tolist() if skeleton is not None and skeleton.edges is not None else []
    nodes = list(names.values())
    edges = tuple((nodes[start], nodes[end]) for start, end in pairs if nodes[start] in shown and nodes[end] in shown)
    points: dict[float, dict[str, tuple[float, float, float, int]]] = {}
    for name, label in zip(order, shown, strict=True):
        values = np.asarray(series[name].data[:], dtype=float)
        scores = series[name].confidence
        scores = np.full(len(values), np.nan) if scores is None else np.asarray(scores[:], dtype=float)
        for time, (x, y), score in zip(_times(series[name], len(values)), values[:, :2], scores, strict=True):
            there = bool(np.isfinite([x, y]).all())
            points.setdefault(time, {})[label] = (x, y, score, 2) if there else (np.nan, np.nan, score, 0)
    category = "object" if skeleton is None else skeleton.name
    blank = dict.fromkeys(shown, (np.nan, np.nan, np.nan, 0))
    return {
        time: ReadObject(category=category, points=blank | places, edges=edges, track=number)
        for time, places in points.items()
        if any(place[3] for place in places.values())
    }


def _number(name: str, track_names: dict[int, str]) -> int:
    if name.isdecimal() and len(name) < 16:
        return int(name)
    number = 1 + max(track_names, default=0)
    if name != ALONE:
        track_names[number] = name
    return number


def _times(series: Any, count: int) -> list[float]:
    if series.timestamps is not None:
        return [float(time) for time in series.timestamps[:]]
    return [float(series.starting_time or 0) + number / series.rate for number in range(count)]


def _plain(name: str) -> str:
    """A name as HDF5 takes it."""
    return name.replace("/", "_").replace(":", "_") or "_"


def _free(name: str, category: str, taken: set[str]) -> str:
    return name if name not in taken else f"{name} ({category})"


def _refuse_huge(path: Path) -> None:
    import h5py

    def check(name: str, data: Any) -> None:
        if isinstance(data, h5py.Dataset) and data.nbytes > MAX_BYTES:
            raise DataError(f"The file declares {data.nbytes >> 30} GiB in {quote(name)}. It may be damaged.")

    with h5py.File(path, "r", locking=False) as file:
        file.visititems(check)


def _libraries() -> tuple[Any, Any]:
    try:
        import ndx_pose
        import pynwb
    except ImportError:
        raise missing_extra("NWB", "ndx-pose", "data") from None
    return pynwb, ndx_pose
