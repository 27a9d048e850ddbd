"""SLEAP label files that sleap-io writes: embedded pictures, picture sequences, predictions, damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.data.trees import Truth, _check_record, check_pycocotools, draw, records_of, snapshot, spread

from xpose.data.datasets.importers import import_set, imported_skeletons
from xpose.data.datasets.report import read_report
from xpose.errors import DataError, MissingExtraError

sleap_io = pytest.importorskip("sleap_io", reason="needs sleap-io, which the extra `data` brings")

NODES = ("head", "wing_L", "wing_R", "abdomen")
FREE = ("head", "wing L", "wing R", "abdomen")
SIZE = (120, 90)
FRAMES = {0: [spread(FREE, 12, 12)], 2: [spread(FREE[:3], 12, 12), spread(FREE, 70, 40)]}


def truth_of(video: int = 0) -> dict[str, Truth]:
    return {f"pictures/video{video}/{index:06}.png": Truth(objects, "all") for index, objects in FRAMES.items()}


def labels_of(pictures: list[str], predicted: bool = False):
    """The labels of three pictures, of which the middle one has none (or only predicted ones)."""
    nodes = [sleap_io.Node(name) for name in NODES]
    skeleton = sleap_io.Skeleton(nodes, name="fly")
    skeleton.add_edge("head", "abdomen")
    skeleton.add_symmetry("wing_L", "wing_R")
    video = sleap_io.Video.from_filename(pictures)
    frames = []
    for index, objects in FRAMES.items():
        instances = [
            sleap_io.Instance.from_numpy(
                np.array([points.get(name, (np.nan, np.nan)) for name in FREE], dtype=float), skeleton=skeleton
            )
            for points in objects
        ]
        frames.append(sleap_io.LabeledFrame(video=video, frame_idx=index, instances=instances))
    if predicted:
        guess = sleap_io.PredictedInstance.from_numpy(np.full((4, 2), 20.0), skeleton=skeleton)
        frames.append(sleap_io.LabeledFrame(video=video, frame_idx=1, instances=[guess]))
        frames[0].instances.append(guess)
    return sleap_io.Labels(frames)


def write_tree(root: Path, *, embedded: bool, predicted: bool = False) -> Path:
    names = []
    for index in range(3):
        names.append(str(root / f"frames/{index}.png"))
        draw(Path(names[-1]), SIZE, FRAMES.get(index, []))
    path = root / ("flies.pkg.slp" if embedded else "flies.slp")
    labels_of(names, predicted).save(str(path), embed="user" if embedded else False, verbose=False)
    return path


@pytest.mark.parametrize("embedded", [True, False])
def test_imported(embedded: bool, tmp_path: Path) -> None:
    path = write_tree(tmp_path / "original", embedded=embedded)
    if embedded:
        (tmp_path / "original/frames").rename(tmp_path / "gone")
    before = snapshot(path.parent)
    done = import_set("sleap", path, tmp_path / "out", category="fly")
    assert snapshot(path.parent) == before
    folder = done.prepared.folder
    assert folder.name == "flies"
    assert done.prepared.skipped == {}
    records = records_of(folder)
    assert set(records) == set(truth_of())
    for name, truth in truth_of().items():
        assert records[name].picture.stored == "prepared"
        _check_record(records[name], truth, folder)
    check_pycocotools(folder)
    (skeleton,) = imported_skeletons(folder).values()
    assert skeleton.name == "fly of flies"
    assert skeleton.edges == (("head", "abdomen"),)
    assert skeleton.flips["wing L"] == "wing R"
    again = import_set("sleap", path, tmp_path / "again", category="fly").prepared.folder
    for file in ("all.json", "report.json", "manifest.json", "skeleton.toml"):
        assert (folder / file).read_bytes() == (again / file).read_bytes()


def test_predictions_are_no_labels(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "original", embedded=False, predicted=True)
    done = import_set("sleap", path, tmp_path / "out")
    assert set(records_of(done.prepared.folder)) == set(truth_of())
    reasons = {entry["file"]: entry["reason"] for entry in read_report(done.prepared.folder / "report.json")}
    assert reasons == {
        "video0/000000.png": "1 predicted objects in it are not labels",
        "video0/000001.png": "its 1 objects are predicted, none is labelled",
    }


def test_frames_that_lie_elsewhere_are_found_with_pictures_only(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "original", embedded=False)
    (tmp_path / "original/frames").rename(tmp_path / "frames")
    done = import_set("sleap", path, tmp_path / "a")
    assert done.prepared.counts["all"].images == 0
    reasons = [entry["reason"] for entry in read_report(done.prepared.folder / "report.json")]
    assert all("put it beside the label file, or give its folder with --pictures" in reason for reason in reasons)
    done = import_set("sleap", path, tmp_path / "b", pictures=tmp_path / "frames")
    assert set(records_of(done.prepared.folder)) == set(truth_of())


def test_a_label_file_cannot_make_us_open_files_elsewhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    for index in range(3):
        draw(secret / f"{index}.png", SIZE, [])
    path = tmp_path / "original/flies.slp"
    path.parent.mkdir()
    labels_of([str(secret / f"{index}.png") for index in range(3)]).save(str(path), verbose=False)
    done = import_set("sleap", path, tmp_path / "out")
    assert done.prepared.counts["all"].images == 0
    assert not (done.prepared.folder / "pictures").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.97])
def test_a_cut_file_is_refused_or_reported(share: float, tmp_path: Path) -> None:
    path = write_tree(tmp_path / "original", embedded=True)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"cannot be read as a SLEAP file .*Open it in SLEAP and save it again\."):
        import_set("sleap", path, tmp_path / "out")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.slp"
    path.write_text('{"skeletons": []}')
    with pytest.raises(DataError, match="cannot be read as a SLEAP file"):
        import_set("sleap", path, tmp_path / "out")


def test_without_sleap_io_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tree(tmp_path / "original", embedded=False)
    monkeypatch.setitem(__import__("sys").modules, "sleap_io", None)
    with pytest.raises(MissingExtraError, match=r'pip install "xpose\[data\]"'):
        import_set("sleap", path, tmp_path / "out")
