"""The thresholds give what the detector would have given, without running it."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.demo.conftest import Forwards, counting_detector, saved
from tests.inference.conftest import own_detector, telling

from xpose.demo import answers
from xpose.demo.answers import RunCandidates, Thresholds, usual_thresholds
from xpose.demo.pictures import UploadedPicture
from xpose.inference import Detector

SHARES = st.floats(0, 1).map(lambda value: round(value, 3))


def answer_of(
    detector: Detector, words: str, *pictures: UploadedPicture, failed: tuple[str, ...] = ()
) -> RunCandidates:
    encoded = detector.encode_prompts(words)
    candidates = [answers.candidates(detector, encoded, picture) for picture in pictures]
    return RunCandidates(usual_thresholds(detector, encoded), pictures, candidates, failed)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Detector, Forwards, UploadedPicture, RunCandidates]:
    detector, forwards = counting_detector()
    picture = saved(tmp_path_factory.mktemp("pictures"), "one.png")
    return detector, forwards, picture, answer_of(detector, "person, dog", picture)


@given(person=SHARES, dog=SHARES, confidence=st.floats(0, 0.4), overlap=SHARES)
@settings(max_examples=25)
def test_thresholds_are_the_detector_options(asked, person: float, dog: float, confidence: float, overlap: float):
    detector, forwards, picture, answer = asked
    before, limits = forwards.count, {"person": person, "dog": dog}
    (kept,) = answer.keep(Thresholds(limits, confidence, overlap))
    event(f"{len(kept)} objects are kept")
    assert forwards.count == before
    again = detector.detect(picture.pixels, "person, dog", threshold=limits, keypoint_threshold=confidence, nms=overlap)
    assert kept.categories == again.categories
    for mine, its in zip(kept, again, strict=True):
        np.testing.assert_allclose(mine.box, its.box, atol=1e-3)
        np.testing.assert_allclose(mine.xy, its.xy, atol=1e-3)
        np.testing.assert_array_equal(mine.visibility, its.visibility)


def test_sliders_show_as_many_digits_as_can_be_read():
    detector = own_detector(thresholds={"": 0.12345}, keypoint_threshold=0.4449, nms=0.7)
    usual = usual_thresholds(detector, detector.encode_prompts("person"))
    assert (answers.rounded(usual.scores["person"]), usual.confidence, usual.overlap) == (0.123, 0.444, 0.7)


@pytest.fixture
def uneven(picture: UploadedPicture) -> Detector:
    """A network that asks more of a person than of a wren."""
    low, high = np.quantile(telling().detect(picture.pixels, "person", threshold=0.0, nms=1.0).scores, [0.2, 0.6])
    return telling(thresholds={"person": float(high), "wren": float(low), "": 0.5})


def test_each_word_starts_at_its_own_threshold_and_is_moved_alone(uneven: Detector, picture: UploadedPicture):
    answer = answer_of(uneven, "person, wren", picture)
    start = dataclasses.replace(
        answer.usual, scores={name: answers.rounded(limit) for name, limit in answer.usual.scores.items()}
    )
    (kept,) = answer.keep(start)
    again = uneven.detect(picture.pixels, "person, wren", keypoint_threshold=start.confidence)
    assert kept.categories == again.categories
    np.testing.assert_array_equal(kept.scores, again.scores)
    counts = kept.count()
    for name in counts:
        (fewer,) = answer.keep(dataclasses.replace(start, scores={**start.scores, name: 1.0}))
        assert fewer.count() == {other: number for other, number in counts.items() if other != name}
    assert len(counts) > 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("person", "people"), ("people", "people"), ("face", "faces"), ("fly", "flies"), ("bus", "buses")),
        *(("sheep", "sheep"), ("horses", "horses"), ("sea horse", "sea horses"), ("young wolf", "young wolves")),
        *(("boy", "boys"), ("fox", "foxes"), ("y", "ies"), ("", "s")),
    ],
)
def test_plurals(name: str, expected: str):
    assert answers.plural(name) == expected


def test_what_lies_at_a_pixel_has_its_name_and_score(asked):
    *_, answer = asked
    (poses,) = answer.candidates
    pose = next(pose for pose in poses if (pose.visibility > 0).any())
    name, point = next((name, point) for name, point in pose.points.items() if point.v)
    text = answers.name_at(poses, point.x, point.y)
    assert text.endswith(")")
    assert f"{point.score:.2f}" in text or name not in text  # another point may lie just there
    assert answers.name_at(poses, -500, -500) == ""
    without_points = poses.filter(keypoint_threshold=1.0)
    x1, y1, x2, y2 = next(iter(without_points)).box
    assert answers.name_at(without_points, (x1 + x2) / 2, (y1 + y2) / 2).split()[0] in ("person", "dog")


def test_the_table_has_a_row_for_each_point(asked):
    *_, answer = asked
    (kept,) = answer.keep(dataclasses.replace(answer.usual, confidence=1.0))
    rows = answers.table([kept])
    assert len(rows) == sum(len(pose.names) for pose in kept)
    assert {row[5] for row in rows} == {"not found"}
    assert {len(row) for row in rows} == {len(answers.COLUMNS)}


def test_files_hold_what_is_kept(asked, tmp_path: Path):
    *_, answer = asked
    middle = float(np.median(answer.candidates[0].scores))
    kept = answer.keep(Thresholds(dict.fromkeys(answer.usual.scores, middle), 0.0, 1.0))
    assert 0 < len(kept[0]) < len(answer.candidates[0])
    content = json.loads(answers.write_file("poses.json", answer, kept, tmp_path).read_bytes())
    assert [image["file_name"] for image in content["images"]] == ["one.png"]
    assert len(content["annotations"]) == len(kept[0])
    rows = answers.write_file("poses.csv", answer, kept, tmp_path).read_text().splitlines()
    assert len(rows) == 1 + sum(len(pose.names) for pose in kept[0])
    assert Image.open(answers.write_file("drawings", answer, kept, tmp_path)).format == "PNG"


def test_several_pictures_become_one_archive(detector: Detector, tmp_path: Path):
    names = ["a.png", "A.jpg", "ä b.png"]
    pictures = [saved(tmp_path, name, seed) for seed, name in enumerate(names)]
    answer = answer_of(detector, "dog", *pictures, failed=("broken.png is damaged.",))
    path = answers.write_file("drawings", answer, answer.keep(answer.usual), tmp_path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        drawings = ["a_xpose.png", "A-2_xpose.jpg", "ä b_xpose.png"]
        assert sorted(archive.namelist()) == sorted([*drawings, "poses.json", "poses.csv", "failed.txt"])
        content = json.loads(archive.read("poses.json"))
        assert [image["file_name"] for image in content["images"]] == names
        for name, kind in zip(drawings, ("PNG", "JPEG", "PNG"), strict=True):
            assert Image.open(io.BytesIO(archive.read(name))).format == kind
        assert b"broken.png" in archive.read("failed.txt")


@given(st.lists(st.sampled_from(["a.png", "A.png", "a.jpg", "a-2.png", "..", "", "con/nul.png", "\u202egnp.exe"])))
def test_no_two_drawings_have_the_same_name(names: list[str]):
    made = answers.file_stems(names)
    assert len({name.casefold() for name in made}) == len(names)
    assert all(name and "/" not in name and "\\" not in name for name in made)
