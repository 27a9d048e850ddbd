"""Every file that we write opens in the library of its format, or one of its users, with equal values.

Libraries that no extra installs are skipped; docs/formats.md lists with which versions they passed.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from tests.results.pose_cases import tracked_people

from xpose.results import Poses
from xpose.results.formats.table import encoded, files
from xpose.vocabulary import load_skeleton

PEOPLE = tracked_people()
NAMES = PEOPLE[0].keypoint_names[0]
CENTS = {"atol": 6e-3, "equal_nan": True}  # coordinates are rounded to 0.01 pixels


def places(poses: Poses, row: int) -> np.ndarray:
    """The keypoints [17, 2] of a person, NaN where absent."""
    return np.where((poses.visibility[row] > 0)[:, None], poses.xy[row], np.nan)


def written(name: str, path: Path, results: list[Poses] = PEOPLE) -> Path:
    pictures = [str(poses.source).removesuffix(".png") for poses in results]
    for file, content in files(results, pictures, name):
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        (path / file).write_bytes(content)
    return path / files(results, pictures, name)[0][0]


def frames_without_pictures() -> list[Poses]:
    """The same people in the frames of a video."""
    return [dataclasses.replace(poses, source=None) for poses in PEOPLE]


@pytest.mark.parametrize("name", ["coco", "posetrack"])
def test_pycocotools(name: str, tmp_path: Path) -> None:
    coco_module = pytest.importorskip("pycocotools.coco")
    coco = coco_module.COCO(written(name, tmp_path))
    assert tuple(coco.loadCats(1)[0]["keypoints"]) == NAMES
    for image, poses in zip(coco.loadImgs(coco.getImgIds()), PEOPLE, strict=True):
        assert image["file_name"] == poses.source
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
        assert [annotation["track_id"] for annotation in annotations] == poses.track_ids.tolist()
        for row, annotation in enumerate(annotations):
            flat = np.array(annotation["keypoints"]).reshape(-1, 3)
            np.testing.assert_allclose(flat[:, :2], np.nan_to_num(places(poses, row)), **CENTS)
            assert flat[:, 2].tolist() == poses.visibility[row].tolist()


def test_sleap_io(tmp_path: Path) -> None:
    sleap_io = pytest.importorskip("sleap_io")
    labels = sleap_io.load_slp(str(written("sleap", tmp_path)), open_videos=False)
    (skeleton,), (video,) = labels.skeletons, labels.videos
    assert (skeleton.name, tuple(skeleton.node_names)) == ("person", NAMES)
    assert {tuple(edge) for edge in skeleton.edge_names} == set(PEOPLE[0].edges[0])
    assert video.filename == [poses.source for poses in PEOPLE]
    assert list(video.backend_metadata["shape"]) == [3, 120, 180, 3]
    for frame, poses in zip(labels.labeled_frames, PEOPLE, strict=True):
        assert [instance.track.name for instance in frame.instances] == [str(track) for track in poses.track_ids]
        for row, instance in enumerate(frame.instances):
            np.testing.assert_allclose(instance.numpy(), places(poses, row), **CENTS)
            assert instance.score == pytest.approx(poses.scores[row])
            np.testing.assert_allclose(instance.points["score"], poses.keypoint_scores[row], atol=1e-6)


def test_sleap_io_reads_yolo(tmp_path: Path) -> None:
    sleap_io = pytest.importorskip("sleap_io")
    from PIL import Image

    written("yolo", tmp_path)
    for poses in PEOPLE:
        path = tmp_path / "images" / str(poses.source).rpartition("/")[2]
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", poses.image_size[::-1]).save(path)
        label = tmp_path / "labels" / str(poses.source).replace(".png", ".txt")
        label.rename(tmp_path / "labels" / label.name)  # sleap-io reads no subfolders
    labels = sleap_io.load_ultralytics(str(tmp_path), split="train")
    for frame, poses in zip(
        sorted(labels.labeled_frames, key=lambda frame: str(frame.video.filename)), PEOPLE, strict=False
    ):
        for row, instance in enumerate(frame.instances):
            np.testing.assert_allclose(instance.numpy(), places(poses, row), atol=1e-3, equal_nan=True)


def test_pandas_reads_deeplabcut(tmp_path: Path) -> None:
    """As DeepLabCut itself does."""
    pandas = pytest.importorskip("pandas")
    table = pandas.read_csv(written("deeplabcut", tmp_path), header=[0, 1, 2, 3], index_col=0)
    assert table.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
    assert list(table.index) == [poses.source for poses in PEOPLE]
    for number, poses in enumerate(PEOPLE):
        for row, track in enumerate(poses.track_ids.tolist()):
            person = table.sort_index(axis=1, level=[0, 1], sort_remaining=False).iloc[number]["xpose", str(track)]
            read = person.to_numpy(dtype=float).reshape(-1, 3)
            np.testing.assert_allclose(read[:, :2], places(poses, row), **CENTS)
            there = poses.visibility[row] > 0
            np.testing.assert_allclose(read[there, 2], poses.keypoint_scores[row][there], atol=1e-4)
    labels = dataclasses.replace(PEOPLE[1], track_ids=None, keypoint_scores=np.full((1, 17), np.nan))
    single = pandas.read_csv(written("deeplabcut", tmp_path / "b", [labels]), header=[0, 1, 2], index_col=0)
    np.testing.assert_allclose(single.to_numpy().reshape(-1, 2), places(labels, 0), **CENTS)


def test_pandas_reads_deeplabcuts_h5(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("tables")
    table = pandas.read_hdf(written("deeplabcut-h5", tmp_path))
    text = pandas.read_csv(written("deeplabcut", tmp_path), header=[0, 1, 2, 3], index_col=0)
    pandas.testing.assert_frame_equal(table, text)


def test_movement_reads_deeplabcut_and_nwb(tmp_path: Path) -> None:
    load_poses = pytest.importorskip("movement.io.load_poses")
    video = frames_without_pictures()
    table = written_as(tmp_path / "clip.csv", "deeplabcut", video)
    data = load_poses.from_dlc_file(table, fps=None)
    assert list(data.coords["keypoints"].values) == list(NAMES)
    for row, track in enumerate(("7", "2")):
        read = data.position.sel(individuals=track).isel(time=0).transpose("keypoints", "space").values
        np.testing.assert_allclose(read, places(PEOPLE[0], row), **CENTS)
    person = [poses[[0]] if len(poses) == 1 else poses[[1]] for poses in video[:2]]  # the second, in both frames
    data = load_poses.from_nwb_file(str(written_as(tmp_path / "one.nwb", "nwb", person)))
    for time, poses in enumerate(person):
        points = data.position.isel(time=time, individuals=0).sel(keypoints=list(NAMES))
        np.testing.assert_allclose(points.transpose("keypoints", "space").values, places(poses, 0), **CENTS)


def written_as(path: Path, name: str, results: list[Poses]) -> Path:
    path.write_bytes(encoded(results, name))
    return path


def test_pynwb_and_ndx_pose(tmp_path: Path) -> None:
    pynwb, ndx_pose = pytest.importorskip("pynwb"), pytest.importorskip("ndx_pose")
    path = written_as(tmp_path / "people.nwb", "nwb", frames_without_pictures())
    with pynwb.NWBHDF5IO(str(path), "r", load_namespaces=True) as io:
        assert pynwb.validate(io=io) == []
        module = io.read().processing["behavior"]
        person = module["2"]
        assert isinstance(person, ndx_pose.PoseEstimation)
        assert tuple(person.skeleton.nodes[:]) == NAMES
        assert len(person.skeleton.edges) == len(PEOPLE[0].edges[0])
        for column, name in enumerate(NAMES):
            series = person[name]
            assert series.timestamps[:].tolist() == [0, 1]
            np.testing.assert_allclose(
                series.data[:], [places(PEOPLE[0], 1)[column], places(PEOPLE[1], 0)[column]], **CENTS
            )


def test_pyarrow_and_pandas_read_parquet(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    table = pandas.read_parquet(written("parquet", tmp_path))
    assert len(table) == 3 * 17
    first = table[(table["picture"] == PEOPLE[0].source) & (table["track_id"] == 7)]
    np.testing.assert_allclose(first[["x", "y"]].to_numpy(dtype=float), places(PEOPLE[0], 0), **CENTS)
    assert first["keypoint"].tolist() == list(NAMES)
    assert first["visibility"].tolist() == PEOPLE[0].visibility[0].tolist()


def test_motmetrics(tmp_path: Path) -> None:
    motmetrics = pytest.importorskip("motmetrics")
    table = motmetrics.io.loadtxt(written("mot", tmp_path), fmt="mot15-2D")
    assert list(table.index) == [(1, 2), (1, 7), (2, 2)] or list(table.index) == [(1, 7), (1, 2), (2, 2)]
    x1, y1, x2, y2 = PEOPLE[0].boxes[0]
    np.testing.assert_allclose(table.loc[(1, 7)][["X", "Y", "Width", "Height"]], [x1, y1, x2 - x1, y2 - y1], atol=0.01)


def test_label_studio_accepts_the_predictions() -> None:
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    contents = dict(files(PEOPLE, ["a", "b", "c"], "label-studio"))
    labels = interface.LabelInterface(contents["label-config.xml"].decode())
    tasks = json.loads(contents["tasks.json"])
    for task in tasks:
        for prediction in task["predictions"]:
            assert labels.validate_prediction(prediction)
    box, *points = tasks[0]["predictions"][0]["result"][:3]
    assert {point["parentID"] for point in points} == {box["id"]}


def test_datumaro_reads_cvat(tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro")
    from PIL import Image

    written("cvat", tmp_path)
    for poses in PEOPLE:
        path = tmp_path / "images" / str(poses.source)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", poses.image_size[::-1]).save(path)
    dataset = datumaro.Dataset.import_from(str(tmp_path), "cvat")
    labels = dataset.categories()[datumaro.AnnotationType.label]
    for poses in PEOPLE:
        item = dataset.get(str(poses.source).removesuffix(".png"), next(iter(dataset.subsets())))
        read = sorted((labels[point.label].name, *point.points) for point in item.annotations if any(point.points))
        expected = sorted((name, p.x, p.y) for pose in poses for name, p in pose.points.items() if p.v)
        assert [name for name, *_ in read] == [name for name, *_ in expected]
        np.testing.assert_allclose([row[1:] for row in read], [row[1:] for row in expected], **CENTS)


def test_supervision_takes_the_keypoints() -> None:
    supervision = pytest.importorskip("supervision")
    key_points = PEOPLE[0].to_supervision()
    assert isinstance(key_points, supervision.KeyPoints)
    np.testing.assert_allclose(
        key_points.xy, np.nan_to_num(np.stack([places(PEOPLE[0], row) for row in range(2)])), **CENTS
    )


def test_pose_format_reads_openpose_with_135_points(tmp_path: Path) -> None:
    loader = pytest.importorskip("pose_format.utils.openpose_135")
    skeleton = load_skeleton("person_wholebody")
    xy = np.random.default_rng(1).uniform(1, 99, (1, len(skeleton), 2)).round(2)
    person = Poses(
        boxes=[[0, 0, 100, 100]],
        scores=[1],
        categories=("person",),
        xy=xy,
        keypoint_scores=np.full((1, len(skeleton)), 0.5),
        visibility=np.full((1, len(skeleton)), 2),
        keypoint_names=(skeleton.keypoints,),
        image_size=(100, 100),
    )
    person.save(tmp_path / "clip_000000000000_keypoints.json", "openpose", layout="body_135")
    pose = loader.load_openpose_135_directory(str(tmp_path), fps=25, width=100, height=100)
    read = {
        f"{component.name} {point}": pose.body.data[0, 0, index]
        for index, (component, point) in enumerate(
            (component, point) for component in pose.header.components for point in component.points
        )
    }
    for theirs, ours in {
        "LEye": "left eye",
        "RHeel": "right heel",
        "LThumb1CMC": "left thumb root",
        "RPinky4FingerTip": "right pinky finger tip",
        "FaceContour8": "chin centre",
        "NoseUpper0": "nose bridge top",
    }.items():
        (value,) = [value for name, value in read.items() if name.endswith(f" {theirs}")]
        np.testing.assert_allclose(value[:2], person[0][ours][:2], atol=0.01)
