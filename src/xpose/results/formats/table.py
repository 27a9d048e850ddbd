"""The table of formats: what each one can express, and what writes and reads it.

`Poses.save`, the command line, `xpose.exchange` and docs/formats.md use this table. Formats of labelling programs are
read by the importer of that name in `xpose.data.datasets.importers`, which training uses, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xpose.errors import ConfigError, counted, did_you_mean, quote
from xpose.results.formats import (
    coco,
    csv,
    cvat,
    deeplabcut,
    human36m,
    json,
    label_studio,
    nwb,
    openpose,
    sleap,
    tracks,
    yolo,
)

if TYPE_CHECKING:
    from xpose.results.poses import Point, Pose, Poses


Results = Sequence["Poses"]


def _points(results: Results, where: Callable[[Poses], np.ndarray]) -> int:
    return sum(int((where(poses) & (poses.visibility > 0)).sum()) for poses in results)


def _outside(poses: Poses) -> np.ndarray:
    height, width = poses.image_size
    return np.asarray(((poses.xy < 0) | (poses.xy > (width, height))).any(-1))


def _boxes_outside(results: Results) -> int:
    ends = [(poses.boxes, poses.image_size[::-1] * 2) for poses in results]
    return sum(int(((boxes < 0) | (boxes > np.array(size))).any(1).sum()) for boxes, size in ends)


def _expected(poses: Poses) -> np.ndarray:
    errors = poses.keypoint_errors
    return np.zeros_like(poses.visibility, bool) if errors is None else ~np.isnan(errors)


def _canonical(pose: Pose) -> Iterator[tuple[str, Point]]:
    return zip(pose.canonical, pose.points.values(), strict=True)


def _edges(results: Results) -> int:
    kinds = {(pose.category, edge) for poses in results for pose in poses for edge in pose.edges}
    return len(kinds)


# What results can hold besides the places of keypoints: how to count it, and how a message says what is lost.
ASPECTS: dict[str, tuple[Callable[[Results], int], str, str]] = {
    "keypoints": (lambda results: _points(results, lambda poses: poses.visibility > 0), "{}", "keypoint"),
    "boxes": (lambda results: sum(map(len, results)), "the boxes of {}", "object"),
    "boxes without keypoints": (
        lambda results: sum(not names for poses in results for names in poses.keypoint_names),
        "{} without keypoints",
        "object",
    ),
    "classes": (
        lambda results: sum(name != "object" for poses in results for name in poses.categories),
        "the classes of {}",
        "object",
    ),
    "scores": (lambda results: sum(int((poses.scores < 1).sum()) for poses in results), "the scores of {}", "object"),
    "confidences": (
        lambda results: _points(results, lambda poses: ~np.isnan(poses.keypoint_scores)),
        "the confidences of {}",
        "keypoint",
    ),
    "hidden": (
        lambda results: _points(results, lambda poses: poses.visibility == 1),
        "that {} are hidden",
        "keypoint",
    ),
    "outside": (lambda results: _points(results, _outside), "{} outside the picture", "keypoint"),
    "boxes outside": (_boxes_outside, "what lies outside the picture in the boxes of {}", "object"),
    "expected errors": (lambda results: _points(results, _expected), "the expected errors of {}", "keypoint"),
    "tentative": (lambda results: sum(int(poses.tentative.sum()) for poses in results), "{}", "tentative object"),
    "tracks": (
        lambda results: sum(len(poses) for poses in results if poses.track_ids is not None),
        "the tracks of {}",
        "object",
    ),
    "edges": (_edges, "{} of skeletons", "edge"),
    "picture names": (lambda results: sum(p.source is not None for p in results), "the names of {}", "picture"),
    "picture sizes": (len, "the sizes of {}", "picture"),
    "empty pictures": (lambda results: sum(not len(poses) for poses in results), "{} without objects", "picture"),
}
ALL = frozenset(ASPECTS)
# Aspects that are lost with another one, which is reported.
PARTS = {"boxes outside": "boxes", "confidences": "keypoints", "hidden": "keypoints", "outside": "keypoints"}


@dataclass(frozen=True, kw_only=True)
class ResultFormat:
    """One format.

    `encode` makes the content of a file, as text, bytes or values for JSON, from the results of several pictures and
    the format's own options; or a list of contents, if each picture has its own file. `decode` is the inverse.
    """

    name: str  # as in `poses.save(path, name)` and `xpose convert-labels --to`, and of the option of `xpose detect`
    used_by: str  # programs and people who read it
    file: str  # its path in a folder of results; "{picture}" stands for the name of each picture
    encode: Callable[..., object]
    keeps: frozenset[str]  # of `ASPECTS`
    shared: Callable[..., dict[str, str]] | None = None  # the further files of a folder
    decode: Callable[..., list[Poses]] | None = None  # takes the content, `Poses`, and perhaps `track_names`
    importer: str | None = None  # reads the format in place of `decode`
    options: tuple[str, ...] = ()  # those of `encode` that a conversion of labels passes
    needs_sizes: bool = True  # whether the sizes of the pictures must be known
    keypoints: Callable[[], Set[str]] | None = None  # the canonical names that it has a place for; None: any

    @property
    def single(self) -> bool:
        """Whether a file holds only one picture."""
        return "{picture}" in self.file

    @property
    def readable(self) -> bool:
        """Whether `xpose convert-labels` reads it."""
        return self.decode is not None or self.importer is not None

    def losses(self, results: Sequence[Poses], known: frozenset[str] = ALL) -> list[str]:
        """What of these results the format cannot express, by name and count; `known` is what they really hold."""
        lost = known - self.keeps
        lost -= {name for name, whole in PARTS.items() if whole in lost}
        rows = [ASPECTS[name] for name in ASPECTS if name in lost]
        counts = [(count(results), text, noun) for count, text, noun in rows]
        losses = [text.format(counted(number, noun)) for number, text, noun in counts if number]
        if self.keypoints is not None:
            names = self.keypoints()
            lost_points = [
                n for poses in results for pose in poses for n, p in _canonical(pose) if p.v and n not in names
            ]
            if lost_points:
                shown = ", ".join(list(dict.fromkeys(lost_points))[:5])
                losses.insert(0, f"{counted(len(lost_points), 'keypoint')} that it has no place for ({shown})")
        return losses


FORMATS = {
    row.name: row
    for row in (
        ResultFormat(
            name="json",
            used_by="programs",
            file="{picture}.json",
            encode=json.encode,
            keeps=ALL,
            decode=json.decode,
        ),
        ResultFormat(
            name="coco",
            used_by="COCO tools, annotation programs, FiftyOne",
            file="poses.json",
            encode=coco.instances,
            keeps=ALL,
            importer="coco",
            options=("coordinates",),
        ),
        ResultFormat(
            name="coco-results",
            used_by="COCO evaluators",
            file="poses-results.json",
            encode=coco.results,
            keeps=frozenset({"keypoints", "scores", "confidences", "hidden", "outside", "expected errors"}),
            needs_sizes=False,
        ),
        ResultFormat(
            name="csv",
            used_by="spreadsheets",
            file="poses.csv",
            encode=csv.to_csv,
            keeps=ALL - {"edges", "empty pictures", "picture sizes"},
            decode=csv.from_csv,
            needs_sizes=False,
        ),
        ResultFormat(
            name="parquet",
            used_by="pandas, Polars, R, databases",
            file="poses.parquet",
            encode=csv.to_parquet,
            keeps=ALL - {"edges", "empty pictures", "picture sizes"},
            decode=csv.from_parquet,
            needs_sizes=False,
        ),
        ResultFormat(
            name="openpose",
            used_by="ControlNet, ComfyUI",
            file="{picture}_keypoints.json",
            encode=openpose.encode,
            keeps=frozenset(
                {"keypoints", "confidences", "outside", "picture names", "picture sizes", "empty pictures"}
            ),
            keypoints=openpose.known_names,
            decode=openpose.decode,
        ),
        ResultFormat(
            name="yolo",
            used_by="YOLO-pose training",
            file="labels/{picture}.txt",
            encode=yolo.encode,
            keeps=frozenset(
                {"keypoints", "boxes", "boxes without keypoints", "classes", "hidden", "picture names", "picture sizes"}
            )
            | {"empty pictures"},
            shared=yolo.shared,
            importer="yolo-pose",
        ),
        ResultFormat(
            name="deeplabcut",
            used_by="DeepLabCut, SimBA, movement",
            file="CollectedData_xpose.csv",
            encode=deeplabcut.to_deeplabcut,
            keeps=frozenset({"keypoints", "confidences", "outside", "tracks", "picture names", "empty pictures"}),
            importer="deeplabcut",
            options=("track_names",),
            needs_sizes=False,
        ),
        ResultFormat(
            name="deeplabcut-h5",
            used_by="DeepLabCut",
            file="CollectedData_xpose.h5",
            encode=deeplabcut.to_h5,
            keeps=frozenset({"keypoints", "confidences", "outside", "tracks", "picture names", "empty pictures"}),
            importer="deeplabcut",
            options=("track_names",),
            needs_sizes=False,
        ),
        ResultFormat(
            name="sleap",
            used_by="SLEAP",
            file="poses.slp",
            encode=sleap.to_slp,
            keeps=ALL - {"boxes", "boxes outside", "boxes without keypoints", "hidden", "expected errors", "tentative"},
            importer="sleap",
            options=("track_names",),
            needs_sizes=False,
        ),
        ResultFormat(
            name="nwb",
            used_by="NWB, DANDI",
            file="poses.nwb",
            encode=nwb.to_nwb,
            keeps=frozenset({"keypoints", "classes", "confidences", "outside", "tracks", "edges"}),
            decode=nwb.decode,
            options=("track_names",),
            needs_sizes=False,
        ),
        ResultFormat(
            name="label-studio",
            used_by="Label Studio",
            file="tasks.json",
            encode=label_studio.to_label_studio,
            keeps=ALL - {"hidden", "expected errors", "tentative", "tracks", "edges"},
            shared=label_studio.configuration,
            importer="label-studio",
        ),
        ResultFormat(
            name="cvat",
            used_by="CVAT",
            file="annotations.xml",
            encode=cvat.to_cvat,
            keeps=ALL - {"boxes", "boxes outside", "scores", "confidences", "expected errors", "tentative", "tracks"},
            shared=cvat.labels,
            importer="cvat",
        ),
        ResultFormat(
            name="posetrack",
            used_by="PoseTrack's evaluation",
            file="posetrack.json",
            encode=tracks.to_posetrack,
            keeps=ALL,
            importer="coco",
            options=("coordinates",),
        ),
        ResultFormat(
            name="human36m",
            used_by="3-D lifting (MotionBERT)",
            file="people.npz",
            encode=human36m.to_human36m,
            keeps=frozenset({"keypoints", "confidences", "outside", "tracks", "picture sizes", "empty pictures"}),
            keypoints=lambda: human36m.KNOWN,
        ),
        ResultFormat(
            name="mot",
            used_by="MOTChallenge's evaluation",
            file="mot.txt",
            encode=tracks.to_mot,
            keeps=frozenset({"boxes", "boxes outside", "boxes without keypoints", "scores", "tracks", "outside"}),
            decode=tracks.from_mot,
            needs_sizes=False,
        ),
    )
}


def encoded(results: Sequence[Poses], name: str, **options: object) -> bytes:
    """The content of a file with the results of several pictures; ConfigError if the format cannot hold them."""
    row = row_of(name)
    if row.single and len(results) != 1:
        raise ConfigError(f"Got {len(results)} results for one {name} file, which holds exactly one picture.")
    content = row.encode(results, **options)
    return _bytes(content[0] if row.single and isinstance(content, list) else content)


def files(results: Sequence[Poses], pictures: Sequence[str], name: str, **options: object) -> list[tuple[str, bytes]]:
    """The path and content of each file in a folder of results, in the order of the pictures, whose names are given."""
    row = row_of(name)
    content = row.encode(results, **options)
    contents = content if row.single and isinstance(content, list) else [content]
    paths = [row.file.format(picture=picture) for picture in pictures] if row.single else [row.file]
    shared = {} if row.shared is None else row.shared(results, **options)
    return [(path, _bytes(value)) for path, value in [*zip(paths, contents, strict=True), *shared.items()]]


def row_of(name: str) -> ResultFormat:
    """The format of this name."""
    if name not in FORMATS:
        raise ConfigError(
            f"Unknown format {quote(name)}.{did_you_mean(name, FORMATS)} Known formats are {', '.join(FORMATS)}."
        )
    return FORMATS[name]


def _bytes(content: object) -> bytes:
    if isinstance(content, bytes):
        return content
    text = content if isinstance(content, str) else json.json_text(content, indent=1)
    return text.encode("utf-8", "replace")  # replaces lone surrogates
