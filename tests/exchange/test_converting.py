"""Every format: what is written is read again, what it cannot express is said; samples of other programs are read."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.results.pose_cases import tracked_people, two_dogs_and_a_box

from xpose.cli import main
from xpose.errors import ConfigError, DataError
from xpose.exchange import convert_labels, read_labels
from xpose.results import Poses
from xpose.results.formats.table import ASPECTS, FORMATS, encoded

PEOPLE = tracked_people()
# Formats with an extra; the others need nothing or pyyaml.
NEEDS = {
    "parquet": "pyarrow",
    "deeplabcut-h5": "tables",
    "sleap": "sleap_io",
    "nwb": "ndx_pose",
    "yolo": "yaml",
    "cvat": "defusedxml",
}
READABLE = [name for name, row in FORMATS.items() if row.readable]
SAMPLES = Path(__file__).parents[2] / ".." / "shared" / "data" / "format_samples"


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """The people as a COCO file beside their pictures."""
    for poses in PEOPLE:
        height, width = poses.image_size
        path = tmp_path / "data" / "images" / str(poses.source)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (width, height)).save(path)
    path = tmp_path / "data" / "people.json"
    path.write_bytes(encoded(PEOPLE, "coco"))
    return path


def in_format(coco: Path, name: str) -> Path:
    """The people in this format: what `read_labels` takes."""
    pytest.importorskip(NEEDS.get(name, "numpy"))
    out = coco.parent / name if FORMATS[name].single and name != "yolo" else coco.parent
    done = convert_labels(coco, out, name)
    return done.files[-1] if name == "yolo" else out if FORMATS[name].single else done.files[0]


def objects(poses: Poses) -> list:
    return sorted(poses, key=lambda pose: float(pose.xy[np.flatnonzero(pose.visibility)[0]].sum()))


@pytest.mark.parametrize("name", [name for name in READABLE if name != "mot"])
def test_what_is_written_is_read(name: str, coco: Path) -> None:
    """To 0.01 pixels; the rest as `keeps` states."""
    keeps = FORMATS[name].keeps
    labels = read_labels(in_format(coco, name))
    assert labels.format == name
    expected = PEOPLE if "empty pictures" in keeps else PEOPLE[:2]
    assert len(labels.results) == len(expected)
    for read, written in zip(labels.results, expected, strict=True):
        if "picture names" in keeps:
            assert str(written.source).startswith(str(read.source).removeprefix("images/"))
        if "picture sizes" in labels.known:
            assert read.image_size == written.image_size
        for after, before in zip(objects(read), objects(written), strict=True):
            assert after.category == (before.category if "classes" in keeps or name == "openpose" else "object")
            points = {n: p for n, p in before.points.items() if p.v}
            assert {n for n, p in after.points.items() if p.v} - {"neck"} == set(points)
            for point, (x, y, score, v) in points.items():
                assert after[point][:2] == pytest.approx((x, y), abs=6e-3), "rounded to 0.01 pixels"
                assert after[point].v == (v if "hidden" in keeps else 2)
                if "confidences" in keeps:
                    assert after[point].score == pytest.approx(score, abs=1e-4)
            if "boxes" in keeps:
                edge = [*written.image_size[::-1]] * 2 if "boxes outside" not in keeps else np.inf
                assert after.box == pytest.approx(np.minimum(before.box, edge), abs=6e-3)
            if "scores" in keeps:
                assert after.score == pytest.approx(before.score, abs=1e-4)
            assert (after.track_id == before.track_id) == ("tracks" in keeps)
            assert {*after.edges} == ({*before.edges} if "edges" in keeps else set())
            assert after.canonical == after.names


@pytest.mark.parametrize("name", ["json", "coco", "csv", "parquet"])
def test_expected_errors_and_tentative_objects_come_back(name: str, tmp_path: Path) -> None:
    pytest.importorskip(NEEDS.get(name, "numpy"))
    dogs = two_dogs_and_a_box(keypoint_errors=np.full((3, 3), 2.5), tentative=[False, True, False])[:2]
    path = tmp_path / Path(FORMATS[name].file.format(picture="dogs")).name
    path.write_bytes(encoded([dogs], name))
    (read,) = read_labels(path).results
    assert read.tentative.tolist() == [False, True]
    np.testing.assert_array_equal(read.keypoint_errors, dogs.keypoint_errors)
    if name == "coco":  # has one list of names
        return
    assert read.canonical_names == dogs.canonical_names


def test_boxes_over_time_as_mot(coco: Path) -> None:
    read = read_labels(in_format(coco, "mot")).results
    for after, before in zip(read, PEOPLE[:2], strict=True):
        assert after.track_ids.tolist() == before.track_ids.tolist()
        np.testing.assert_allclose(after.boxes, before.boxes, atol=0.01)
        np.testing.assert_allclose(after.scores, before.scores, atol=1e-4)


@pytest.mark.parametrize("name", READABLE)
def test_every_format_becomes_every_other_or_says_why_not(name: str, coco: Path, tmp_path: Path) -> None:
    """Sizes that a format does not state come from the pictures. Writing what needs an extra is tested elsewhere."""
    source = in_format(coco, name)
    for to in ("csv", "coco") if name == "nwb" else [to for to in FORMATS if to not in NEEDS]:  # NWB is slow
        if name in ("nwb", "mot") and FORMATS[to].needs_sizes:  # they name no pictures
            with pytest.raises(DataError, match="does not state the sizes"):
                convert_labels(source, tmp_path / to, to)
            continue
        if (name, to) == ("mot", "deeplabcut"):
            with pytest.raises(ConfigError, match="No object has keypoints"):
                convert_labels(source, tmp_path / to, to)
            continue
        pictures = coco.parent / "images" if name in ("csv", "parquet") else None
        pictures = coco.parent / "images" if name.startswith("deeplabcut") else pictures
        done = convert_labels(source, tmp_path / f"{name}-{to}", to, pictures=pictures)
        assert sum(map(len, done.labels.results)) == 3, to
        assert all(path.is_file() for path in done.files)


def test_what_a_format_cannot_express_is_said_by_name_and_count(coco: Path, tmp_path: Path) -> None:
    points = sum(int((poses.visibility > 0).sum()) for poses in PEOPLE)
    assert convert_labels(coco, tmp_path / "a.txt", "mot").losses == [
        f"{points} keypoints",
        "the classes of 3 objects",
        f"{len(PEOPLE[0].edges[0])} edges of skeletons",
        "the names of 3 pictures",
        "the sizes of 3 pictures",
        "1 picture without objects",
    ]
    assert convert_labels(coco, tmp_path / "b.json", "coco").losses == []


def test_every_aspect_can_be_lost() -> None:
    """Each counts what it says; none is never reported."""
    dogs = two_dogs_and_a_box(tentative=[False, False, True], keypoint_errors=np.full((3, 3), 2.0), track_ids=[1, 2, 3])
    dogs = dataclasses.replace(dogs, image_size=(100, 105), boxes=np.minimum(dogs.boxes, 105))
    results = [dogs, Poses.empty((5, 5))]
    counts = {name: count(results) for name, (count, *_) in ASPECTS.items()}
    assert counts == {
        "keypoints": 5,
        "boxes": 3,
        "boxes without keypoints": 1,
        "classes": 3,
        "scores": 3,
        "confidences": 5,
        "hidden": 1,
        "outside": 0,
        "boxes outside": 0,
        "expected errors": 5,
        "tentative": 1,
        "tracks": 3,
        "edges": 2,
        "picture names": 1,
        "picture sizes": 2,
        "empty pictures": 1,
    }
    small = dataclasses.replace(dogs, image_size=(50, 90))
    assert (ASPECTS["outside"][0]([small]), ASPECTS["boxes outside"][0]([small])) == (1, 2)
    assert {name for name in ASPECTS if all(name in row.keeps for row in FORMATS.values())} == set()


def test_foreign_fields_that_are_not_read_are_counted(tmp_path: Path) -> None:
    content = (
        '{"images": [{"id": 1, "file_name": "a.jpg", "width": 50, "height": 50}], "categories": [{"id": 1, "name": '
        '"cow", "keypoints": ["Nose"], "skeleton": []}], "annotations": [{"id": 1, "image_id": 1, "category_id": '
        '1, "bbox": [1, 2, 3, 4], "keypoints": [2.5, 3.125, 2], "segmentation": [[1, 2, 3, 4, 5, 6]], "iscrowd": 0}]}'
    )
    (tmp_path / "cow.json").write_text(content)
    done = convert_labels(tmp_path / "cow.json", tmp_path / "out.json", "coco")
    assert done.notes == ['"segmentation" of 1 object is not read']
    again = read_labels(tmp_path / "out.json")
    (pose,) = again.results[0]
    assert (pose.names, pose.canonical) == (("Nose",), ("nose",)), "names stay, and the vocabulary's are known"
    assert pose["nose"][:2] == pytest.approx((2.5, 3.12), abs=0.006), "no half pixel is added"
    assert not again.continuous


def test_names_of_a_skeleton_and_its_aliases(tmp_path: Path) -> None:
    header = ["scorer,x,x,x,x", "bodyparts,Nose,Nose,L_EarBase,L_EarBase", "coords,x,y,x,y"]
    (tmp_path / "CollectedData_x.csv").write_text("\n".join([*header, "a.png,1,2,3,4", "b.png,5,6,,"]) + "\n")
    done = convert_labels(
        tmp_path / "CollectedData_x.csv", tmp_path / "a.csv", "csv", skeleton="animal_pose", category="mouse"
    )
    first, second = done.labels.results
    assert first.keypoint_names == (("nose", "left ear"),)
    assert first.categories == ("mouse",)
    assert second[0]["nose"] == pytest.approx((5, 6, np.nan, 2), nan_ok=True), "one keypoint is enough"
    assert second[0]["left ear"].v == 0


def test_frames_of_a_video_are_numbered(tmp_path: Path) -> None:
    """As `xpose video` names them."""
    frames = [dataclasses.replace(poses, source=f"clip.mp4#{9 + 2 * row}") for row, poses in enumerate(PEOPLE)]
    (tmp_path / "clip_tracks.json").write_bytes(encoded(frames, "coco"))
    done = convert_labels(tmp_path / "clip_tracks.json", tmp_path / "clip.csv", "deeplabcut")
    rows = done.files[0].read_text().splitlines()[4:]
    assert [row.partition(",")[0] for row in rows] == ["9", "11", "13"]
    done = convert_labels(tmp_path / "clip_tracks.json", tmp_path / "mot.txt", "mot")
    assert [line.partition(",")[0] for line in done.files[0].read_text().splitlines()] == ["9", "9", "11"]
    done = convert_labels(tmp_path / "clip_tracks.json", tmp_path / "json", "json")
    assert [file.name for file in done.files] == ["clip.mp4#9.json", "clip.mp4#11.json", "clip.mp4#13.json"]


def test_tracks_keep_their_names_where_they_have_some(tmp_path: Path) -> None:
    head = ["scorer,x,x,x,x,x,x", "individuals,Bo,Bo,Bo,Ann,Ann,Ann", "bodyparts" + ",nose" * 6]
    rows = ["coords" + ",x,y,likelihood" * 2, "0,1,2,0.5,3,4,0.25", "1,1,2,0.5,,,"]
    (tmp_path / "clip.csv").write_text("\n".join([*head, *rows]) + "\n")
    done = convert_labels(tmp_path / "clip.csv", tmp_path / "again.csv", "deeplabcut")
    assert done.labels.track_names == {1: "Bo", 2: "Ann"}
    again = (tmp_path / "again.csv").read_text().splitlines()
    assert again[1] == head[1]
    assert again[4:] == ["0,1.0,2.0,0.5,3.0,4.0,0.25", "1,1.0,2.0,0.5,,,"]
    done = convert_labels(tmp_path / "clip.csv", tmp_path / "tracks.csv", "csv")
    assert "the names of 2 tracks (they are numbered)" in done.losses


def test_the_command_says_what_it_did(coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert-labels", str(coco), str(tmp_path / "a.csv"), "--to", "deeplabcut"]) == 0
    said = capsys.readouterr()
    assert "Converted 3 objects in 3 pictures from coco to deeplabcut" in " ".join(said.out.split())
    assert "deeplabcut cannot express the boxes of 3 objects." in " ".join(said.err.split())
    assert main(["convert-labels", str(next(coco.parent.rglob("*.png"))), "b.json", "--to", "coco"]) == 1
    assert "is a picture" in " ".join(capsys.readouterr().err.split())
    assert main(["convert-labels", str(coco), str(tmp_path / "a.docx"), "--to", "coco"]) == 1
    assert "ends in .json" in " ".join(capsys.readouterr().err.split())
    assert main(["convert-labels", str(coco), str(tmp_path / "a"), "--to", "cocoa"]) == 1
    assert 'Did you mean "coco"' in capsys.readouterr().err


# Sample -> format, pictures and objects in it.
SAMPLE_CONTENTS = {
    "300vw/anno_300vw.json": ("coco", 3, 3),
    "300w/test_300w.json": ("coco", 2, 2),
    "300wlp/test_300wlp.json": ("coco", 2, 2),
    "aflw/test_aflw.json": ("coco", 2, 2),
    "aic/test_aic.json": ("coco", 3, 9),
    "animal_kingdom_raw/annotation_coco/ak_P3_fish/test.json": ("coco", 3, 3),
    "animalpose/test_animalpose.json": ("coco", 2, 2),
    "ap10k/test_ap10k.json": ("coco", 2, 2),
    "atrw/test_atrw.json": ("coco", 2, 2),
    "carfusion/annotations.json": ("coco", 6, 11),
    "coco/test_coco.json": ("coco", 4, 14),
    "coco/test_coco_wholebody.json": ("coco", 4, 14),
    "cofw/test_cofw.json": ("coco", 2, 2),
    "crowdpose/test_crowdpose.json": ("coco", 2, 5),
    "deepfashion2/deepfasion2.json": ("coco", 2, 2),
    "deeplabcut/labeled-data/m4s1/CollectedData_Pranav.csv": ("deeplabcut", 2, 2),
    "deeplabcut_multianimal/labeled-data/montblanc/CollectedData_Daniel.csv": ("deeplabcut", 30, 115),
    "fld/test_fld.json": ("coco", 2, 2),
    "fly/test_fly.json": ("coco", 2, 2),
    "freihand/test_freihand.json": ("coco", 8, 8),
    "halpe/test_halpe.json": ("coco", 4, 14),
    "horse10/test_horse10.json": ("coco", 3, 3),
    "jhmdb/test_jhmdb_sub1.json": ("posetrack", 3, 3),
    "lapa/test_lapa.json": ("coco", 2, 2),
    "locust/test_locust.json": ("coco", 2, 2),
    "macaque/test_macaque.json": ("coco", 2, 2),
    "mhp/test_mhp.json": ("coco", 2, 4),
    "mpii/test_mpii_trb.json": ("coco", 5, 5),
    "ochuman/test_ochuman.json": ("coco", 3, 5),
    "onehand10k/test_onehand10k.json": ("coco", 4, 4),
    "panoptic/test_panoptic.json": ("coco", 4, 4),
    "posetrack18/annotations/test_posetrack18_val.json": ("posetrack", 3, 14),
    "posetrack18/annotations/val/012834_mpii_test.json": ("posetrack", 1, 11),
    "wflw/test_wflw.json": ("coco", 2, 4),
    "zebra/test_zebra.json": ("coco", 2, 2),
}


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples of other programs' files are not on this machine")
def test_samples_of_other_programs_are_read() -> None:
    read = {name: read_labels(SAMPLES / name) for name in SAMPLE_CONTENTS}
    counts = {
        name: (labels.format, len(labels.results), sum(map(len, labels.results))) for name, labels in read.items()
    }
    assert counts == SAMPLE_CONTENTS
    tracks = read["posetrack18/annotations/val/012834_mpii_test.json"].results[0].track_ids
    assert len(set(tracks.tolist())) == 11


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples of other programs' files are not on this machine")
def test_yolo_labels_of_another_program(tmp_path: Path) -> None:
    """Three label files of the YOLO authors' COCO set; their pictures and data.yaml are ours."""
    pytest.importorskip("yaml")
    lines = 0
    for label in (SAMPLES / "coco_yolo_pose/labels/train2017").iterdir():
        lines += len(label.read_text().splitlines())
        for folder, name in (("labels", label.name), ("images", f"{label.stem}.png")):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / name).write_bytes(label.read_bytes())
        Image.new("L", (640, 480)).save(tmp_path / "images" / f"{label.stem}.png")
    (tmp_path / "data.yaml").write_text("train: images\nkpt_shape: [17, 3]\nnames: [person]\n")
    done = convert_labels(tmp_path, tmp_path / "out.json", "coco", skeleton="person")
    assert sum(map(len, done.labels.results)) == lines > 0
    assert done.labels.results[0][0].names[0] == "nose"
