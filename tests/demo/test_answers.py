"""The sliders give what the detector would have given, without running it."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.demo.conftest import Forwards, counting_detector, png
from tests.inference.conftest import own_detector, telling

from xpose.demo import answers
from xpose.demo.answers import Sliders, ask, usual_sliders
from xpose.demo.batch import file_names, run_batch
from xpose.demo.uploads import Limits, Upload, receive
from xpose.errors import PromptError
from xpose.inference import Detector

SHARES = st.floats(0, 1).map(lambda value: round(value, 3))


@pytest.fixture(scope="module")
def asked() -> tuple[Detector, Forwards, Upload, answers.Answer]:
    detector, forwards = counting_detector()
    upload = receive(png(), "one.png", Limits())
    return detector, forwards, upload, ask(detector, "person, dog", [upload])


@given(score=SHARES, confidence=st.floats(0, 0.4), overlap=SHARES)
@settings(max_examples=25)
def test_sliders_are_the_detector_options(asked, score: float, confidence: float, overlap: float):
    detector, forwards, upload, answer = asked
    event(f"{sum(map(len, answer.kept(Sliders(score, confidence, overlap))))} objects are kept")
    before = forwards.count
    (kept,) = answer.kept(Sliders(score, confidence, overlap))
    assert forwards.count == before
    found = detector.detect(upload.pixels, "person, dog", threshold=score, keypoint_threshold=confidence, nms=overlap)
    assert kept.categories == found.categories
    for mine, its in zip(kept, found, strict=True):
        np.testing.assert_allclose(mine.box, its.box, atol=1e-3)
        np.testing.assert_allclose(mine.xy, its.xy, atol=1e-3)
        np.testing.assert_array_equal(mine.visibility, its.visibility)


def test_the_sliders_start_where_the_weights_say(detector: Detector, upload: Upload):
    assert ask(detector, "person", [upload]).usual.sliders.score == 0.0
    assert usual_sliders(detector).score == detector.model.config.thresholds[""]
    odd = usual_sliders(own_detector(thresholds={"": 0.12345}, keypoint_threshold=0.4449, nms=0.7))
    assert (odd.score, odd.confidence, odd.overlap) == (0.123, 0.444, 0.7), "as many digits as can be read"


@pytest.fixture
def uneven(upload: Upload) -> Detector:
    """A network that asks more of a person than of a wren."""
    low, high = np.quantile(telling().detect(upload.pixels, "person", threshold=0.0, nms=None).scores, [0.2, 0.6])
    return telling(thresholds={"person": float(high), "wren": float(low), "": 0.5})


def test_each_word_starts_at_its_own_threshold(uneven: Detector, upload: Upload):
    answer = ask(uneven, "person, wren", [upload])
    start = answer.usual.sliders
    assert start.score == pytest.approx(min(answer.usual.limits.values()), abs=1e-3)
    (kept,) = answer.kept(start)
    found = uneven.detect(upload.pixels, "person, wren", keypoint_threshold=start.confidence)
    assert kept.categories == found.categories
    np.testing.assert_array_equal(kept.scores, found.scores)
    flat = uneven.detect(upload.pixels, "person, wren", threshold=start.score)
    assert len(flat) > len(found), "the control: one threshold for both keeps more"


def test_the_score_slider_moves_all_thresholds(uneven: Detector, upload: Upload):
    answer = ask(uneven, "person, wren", [upload])
    usual = answer.usual.sliders
    counts = [len(answer.kept(dataclasses.replace(usual, score=score))[0]) for score in np.linspace(0, 1, 21).tolist()]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == len(answer.kept(dataclasses.replace(usual, score=0.0))[0]) > len(answer.kept(usual)[0]) > 0
    assert counts[-1] == 0


def test_a_batch_keeps_what_each_word_has_to_pass(uneven: Detector, upload: Upload):
    *_, last = run_batch(uneven, "person, wren", [upload], usual_sliders(uneven))
    assert last.archive is not None
    with last.archive, zipfile.ZipFile(last.archive) as archive:
        content = json.loads(archive.read("poses.json"))
    found = uneven.detect(upload.pixels, "person, wren")
    assert len(content["annotations"]) == len(found) > 0


def test_downloads_hold_what_is_kept(asked):
    _, _, upload, answer = asked
    kept = answer.kept(Sliders(score=float(np.median(answer.found[0].scores)), confidence=0.0))
    assert 0 < len(kept[0]) < len(answer.found[0])
    content = json.loads(answers.coco_json(kept, ["one.png"]))
    assert [image["file_name"] for image in content["images"]] == ["one.png"]
    assert len(content["annotations"]) == len(kept[0])
    rows = answers.csv_table(kept).decode().splitlines()
    assert len(rows) == 1 + sum(len(pose.names) for pose in kept[0])
    picture = Image.open(io.BytesIO(answers.drawing(kept[0], upload)))
    assert picture.format == "PNG"
    assert picture.width >= upload.width


def test_a_batch_is_one_archive_and_a_bad_picture_stops_nothing(detector: Detector, forwards: Forwards):
    limits = Limits()
    pictures = [receive(png(seed), name, limits) for seed, name in enumerate(["a.png", "A.jpg", "c/../ä b.png"])]
    broken = Upload("broken.png", b"nothing", 5, 5, b"")
    before = forwards.count
    reports = list(run_batch(detector, "dog", [*pictures, broken], Sliders(0.0, 0.0)))
    assert forwards.count == before + 3
    assert [report.done for report in reports] == [1, 2, 3, 4, 4]
    assert [name for name, _ in reports[-1].faults] == ["broken.png"]
    assert reports[-1].archive is not None
    with zipfile.ZipFile(reports[-1].archive) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == sorted(
            ["a_xpose.png", "A-2_xpose.jpg", "ä b_xpose.png", "poses.json", "poses.csv", "failed.txt"]
        )
        content = json.loads(archive.read("poses.json"))
        assert [image["file_name"] for image in content["images"]] == ["a.png", "A.jpg", "ä b.png"]
        assert len(content["annotations"]) == reports[-1].objects > 0
        for name in archive.namelist():
            if name.endswith((".png", ".jpg")):
                Image.open(io.BytesIO(archive.read(name))).load()
        assert b"broken.png" in archive.read("failed.txt")


def test_a_batch_that_is_stopped_leaves_no_file(detector: Detector, monkeypatch: pytest.MonkeyPatch):
    made = []
    real = __import__("tempfile").TemporaryFile
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **options: made.append(real(**options)) or made[-1])
    steps = run_batch(detector, "dog", [receive(png(), "a.png", Limits())] * 2, Sliders())
    next(steps)
    steps.close()
    assert [file.closed for file in made] == [True]


def test_a_prompt_that_cannot_be_used_stops_before_any_picture(detector: Detector, forwards: Forwards):
    before = forwards.count
    with pytest.raises(PromptError):
        next(run_batch(detector, "", [receive(png(), "a.png", Limits())], Sliders()))
    assert forwards.count == before


@given(st.lists(st.sampled_from(["a.png", "A.png", "a.jpg", "a-2.png", "..", "", "con/nul.png", "\u202egnp.exe"])))
def test_no_two_results_have_the_same_name(names: list[str]):
    made = file_names([Upload(name, b"", 1, 1, b"") for name in names])
    assert len({name.casefold() for name in made}) == len(names)
    assert all(name and "/" not in name and "\\" not in name for name in made)
