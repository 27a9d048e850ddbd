"""Calibration: thresholds and temperatures against cases computed by hand, and the command on a tiny network."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluation.cases import DOG, FACE, found, labelled, pose, record
from tests.evaluation.drawn_sets import BIRD, TUBE, thing, write_set
from tests.inference.conftest import own_detector

from xpose import cli
from xpose.errors import CheckpointError, ConfigError
from xpose.evaluation.calibration import (
    CalibrationSample,
    best_f1,
    calibrate,
    collect,
    compared,
    fit_temperature,
    measure,
    sample,
    worse_measures,
)
from xpose.evaluation.data import EvaluationData
from xpose.evaluation.questions import AskedClass, Question
from xpose.inference.postprocess import tempered
from xpose.model.checkpoints.calibration import Calibration, read_calibration, write_calibration
from xpose.model.checkpoints.pretrained import from_pretrained, save_pretrained

ROWS = (
    *("ECE of objects", "precision", "recall", "F1", "wrong poses per picture"),
    *("ECE of points", "AUROC of visible points", "F1 of points", "visible points kept", "absent points hidden"),
)


def test_tempering_by_hand():
    scores = np.array([0.0, 0.2, 0.5, 0.8, 1.0, np.nan], dtype=np.float32)
    assert tempered(scores, 1.0) is scores
    cooled = tempered(scores, 2.0)
    # logit(0.8) is ln 4, half of it is ln 2, whose logistic is 2/3
    np.testing.assert_allclose(cooled, [0, 1 / 3, 0.5, 2 / 3, 1, np.nan], rtol=1e-6)
    assert cooled.dtype == np.float32
    np.testing.assert_allclose(tempered(cooled, 0.5), scores, rtol=1e-5)


def drawn(temperature, count=20_000, seed=0):
    """Scores that were honest before they were made too sure, or too unsure, by a temperature."""
    random = np.random.default_rng(seed)
    honest = random.uniform(0.02, 0.98, count)
    return tempered(honest, 1 / temperature), random.random(count) < honest


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_temperature_that_was_applied_is_found_again(temperature):
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.05)


def test_too_little_to_tell_leaves_the_temperature_alone():
    scores, right = drawn(3.0, 30)
    assert fit_temperature(scores, right) == 1
    assert fit_temperature(scores, np.ones(30, dtype=bool)) == 1
    assert fit_temperature(np.zeros(0), np.zeros(0, dtype=bool)) == 1


def test_the_best_f1_by_hand():
    # Of 3 objects: above 0.8 one hit (F1 2/4), above 0.6 two of two (4/5), above 0.4 two of three (4/6), then 4/7...
    scores, right = np.array([0.9, 0.7, 0.5, 0.3]), np.array([True, True, False, False])
    assert best_f1(scores, right, 3) == pytest.approx(0.6)
    assert best_f1(scores, right, 0) is None
    assert best_f1(scores, ~right & False, 3) is None
    assert best_f1(np.array([0.4]), np.array([True]), 1) == pytest.approx(0.2)


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.30000001, 0.9, 1.0]), st.booleans()), min_size=1, max_size=20),
    st.integers(0, 5),
)
def test_no_threshold_has_a_better_f1(pairs, missed):
    scores = np.array([score for score, _ in pairs], dtype=np.float32).astype(np.float64)
    right = np.array([hit for _, hit in pairs])
    wanted = int(right.sum()) + missed

    def f1(threshold):
        passed = scores.astype(np.float32) > np.float32(threshold)
        return 2 * (passed & right).sum() / (passed.sum() + wanted)

    found_ = best_f1(scores, right, wanted)
    if found_ is None:
        assert not right[scores > 0].any()
    else:
        assert f1(found_) == pytest.approx(max(f1(score) for score in [0, *np.nextafter(scores, 0)]))


def answered(key, labelled_, answers, points=()):
    return CalibrationSample(
        key,
        labelled_,
        tuple(name for name, *_ in answers),
        np.array([score for _, score, _ in answers]),
        np.array([hit for *_, hit in answers], dtype=bool),
        np.array([score for score, _ in points]),
        np.array([seen for _, seen in points], dtype=bool),
    )


def test_thresholds_by_hand():
    samples = [
        answered("a", {"dog": 1, "cat": 0}, [("dog", 0.9, True), ("dog", 0.5, False), ("cat", 0.4, False)]),
        answered("b", {"dog": 1, "cat": 1}, [("dog", 0.7, True), ("cat", 0.3, True), ("cat", 0.2, False)]),
    ]
    own = calibrate(samples, least=1)
    assert own.thresholds["dog"] == pytest.approx(0.6)
    assert own.thresholds["cat"] == pytest.approx(0.25)
    # All together, for 3 objects: 0.9 and 0.7 are right (4/5), with 0.5 4/6, with 0.4 4/7, with 0.3 6/8.
    assert own.thresholds[""] == pytest.approx(0.6)
    assert (own.temperature, own.keypoint_temperature, own.keypoint_threshold) == (1, 1, 0)
    assert set(calibrate(samples, least=2).thresholds) == {"", "dog"}
    assert own.threshold("cat") == own.thresholds["cat"]
    assert own.threshold("zebra") == own.thresholds[""]
    assert Calibration().threshold("zebra") == 0.1


def test_a_wanted_number_of_false_alarms_by_hand():
    samples = [
        answered("a", {"dog": 1}, [("dog", 0.9, True), ("dog", 0.8, False)]),
        answered("b", {"dog": 0}, [("dog", 0.6, False), ("dog", 0.3, False)]),
    ]
    for wanted, threshold in ((0, 0.85), (0.5, 0.7), (1, 0.45), (9, 0.15)):
        found_ = calibrate(samples, false_alarms=wanted, least=1)
        assert found_.thresholds["dog"] == pytest.approx(threshold), wanted
        wrong = measure([(one, found_) for one in samples])["wrong poses per picture"]
        assert wrong <= wanted
    with pytest.raises(ConfigError, match="at least 0"):
        calibrate(samples, false_alarms=-1)


def test_pictures_that_lack_a_class_raise_its_threshold_by_hand():
    samples = [
        answered("a", {"dog": 1}, [("dog", 0.9, True)]),
        answered("b", {"dog": 2}, [("dog", 0.4, True), ("dog", 0.3, True)]),
        answered("c", {"dog": 0}, [("dog", 0.6, False), ("dog", 0.5, False)]),
        answered("d", {"dog": 0}, []),
    ]
    usual = calibrate(samples, least=1).thresholds["dog"]
    assert usual == pytest.approx(0.15)  # F1 of three hits and two faults is 6/8, of the first hit alone 2/4
    for wanted, threshold in ((0, 0.6), (0.5, 0.5), (9, 0)):
        found_ = calibrate(samples, absent_alarms=wanted, least=1)
        assert found_.thresholds["dog"] == pytest.approx(max(usual, threshold), abs=1e-5)
        alarms = sum(score > found_.thresholds["dog"] for one in samples[2:] for score in one.scores)
        assert alarms / 2 <= wanted
    # Two pictures cannot tell a third of a pose per picture from none.
    assert calibrate(samples, absent_alarms=0.3, least=1).thresholds["dog"] == usual
    with pytest.raises(ConfigError, match="at least 0"):
        calibrate(samples, absent_alarms=-0.1)


def test_points_are_told_apart_by_the_best_f1():
    # Visible 0.9, 0.8; absent 0.7, 0.1: between 0.8 and 0.7, in the logits at the temperature that is fitted too.
    visible, absent = [(0.9, True), (0.8, True)] * 10, [(0.7, False), (0.1, False)] * 10
    found_ = calibrate([answered("a", {"dog": 0}, [], visible + absent)])
    edges = tempered(np.array([0.7, 0.8]), found_.keypoint_temperature)
    assert found_.keypoint_threshold == pytest.approx(edges.mean())
    assert found_.thresholds == {}
    stored = Calibration(keypoint_threshold=0.4, keypoint_temperature=0.9)
    for too_few in (visible, absent, visible + absent[:19], []):  # for a threshold between the two
        found_ = calibrate([answered("a", {"dog": 0}, [], too_few)], before=stored)
        assert (found_.keypoint_threshold, found_.keypoint_temperature) == (0.4, 0.9)


def test_classes_that_the_data_do_not_show_keep_their_thresholds():
    scores, right = drawn(3.0, 400)
    answers = [("rabbit", *pair) for pair in zip(scores, right, strict=True)]
    rabbits = answered("a", {"rabbit": 400, "cat": 0}, answers)
    stored = Calibration({"": 0.3, "dog": 0.05, "cat": 0.6}, 0.4, temperature=0.7)
    found_ = calibrate([rabbits], before=stored)
    own = best_f1(tempered(scores, 0.7), right, 400)
    assert found_ == replace(stored, thresholds={**stored.thresholds, "rabbit": own})

    # Of a class with too few objects for a threshold of its own, the same poses pass at another temperature.
    all_classes = answered("a", {"rabbit": 400, "cat": 9, "dog": 9}, answers)
    found_ = calibrate([all_classes], before=stored)
    assert found_.temperature == pytest.approx(3, rel=0.5)
    grid = np.linspace(0.001, 0.999, 999)
    for name in ("dog", "cat"):
        passed, passes = (tempered(grid, each.temperature) > each.threshold(name) for each in (stored, found_))
        np.testing.assert_array_equal(passed, passes)


def test_the_common_threshold_is_fitted_to_data_that_show_every_class():
    answers = [("dog", 0.9, True), ("dog", 0.5, False), ("cat", 0.7, True)]
    both, dogs = answered("a", {"dog": 1, "cat": 1}, answers), answered("b", {"dog": 1}, answers[:2])
    stored = Calibration({"": 0.3, "dog": 0.2, "cat": 0.1})
    assert calibrate([both], before=stored).thresholds == {"": pytest.approx(0.6), "dog": 0.2, "cat": 0.1}
    assert calibrate([both], before=stored, least=1).thresholds["dog"] == pytest.approx(0.7)
    assert calibrate([dogs], before=stored).thresholds == stored.thresholds
    few = calibrate([dogs], before=Calibration({"": 0.3, "cat": 0.1}))
    assert few.thresholds == {"": 0.3, "cat": 0.1, "dog": pytest.approx(0.7)}, "too few share a threshold of the data"


@pytest.mark.parametrize(
    ("after", "fewer_alarms", "worse"),
    [
        ({}, False, []),
        ({"F1": 0.4}, False, ["F1"]),
        ({"F1": 0.4, "F1 of points": 0.8}, False, ["F1", "F1 of points"]),
        ({"F1": 0.4, "wrong poses per picture": 0.1}, False, ["F1"]),
        ({"F1": 0.4, "wrong poses per picture": 0.1}, True, []),
        ({"F1": 0.4}, True, ["F1"]),
        ({"F1 of points": math.nan}, False, []),
    ],
)
def test_what_counts_as_worse(after, fewer_alarms, worse):
    before = {"F1": 0.5, "F1 of points": 0.9, "wrong poses per picture": 0.2}
    rows = {"before": before, "after": before | after}
    assert worse_measures(rows, fewer_alarms=fewer_alarms) == worse


def test_what_a_calibration_looks_like_by_hand():
    one = answered("a", {"dog": 2}, [("dog", 0.8, True), ("dog", 0.6, False)], [(0.9, True), (0.5, False), (0.3, True)])
    numbers = measure([(one, Calibration({"dog": 0.7}, 0.4))])
    assert numbers == {
        "ECE of objects": pytest.approx((0.2 + 0.6) / 2),
        "precision": 1,
        "recall": 0.5,
        "F1": pytest.approx(2 / 3),
        "wrong poses per picture": 0,
        "ECE of points": pytest.approx((0.1 + 0.5 + 0.7) / 3),
        "AUROC of visible points": 0.5,
        "F1 of points": 0.5,
        "visible points kept": 0.5,
        "absent points hidden": 0,
    }
    assert all(math.isnan(value) for value in measure([]).values())


def test_scores_made_honest_have_less_calibration_error():
    scores, right = drawn(0.4, 4000)
    parts = [(scores[n::40], right[n::40]) for n in range(40)]
    samples = [
        answered(str(n), {"dog": int(hits.sum())}, [("dog", *pair) for pair in zip(own, hits, strict=True)])
        for n, (own, hits) in enumerate(parts)
    ]
    rows = compared(samples, Calibration())
    assert tuple(rows["before"]) == tuple(rows["after"]) == ROWS
    assert rows["after"]["ECE of objects"] < rows["before"]["ECE of objects"] / 3
    assert rows["after"]["F1"] > rows["before"]["F1"]


def test_no_temperature_changes_the_order_of_points():
    points = [[(0.9, True), (0.5, False)], [(0.8, True), (0.6, True), (0.7, False)]]
    samples = [answered(str(number), {"dog": 0}, [], each) for number, each in enumerate(points)]
    same, mixed = ([Calibration()] * 2, [Calibration(), Calibration(keypoint_temperature=9.0)])
    rows = [measure([*zip(samples, calibrations, strict=True)]) for calibrations in (same, mixed)]
    assert rows[0]["AUROC of visible points"] == rows[1]["AUROC of visible points"] == pytest.approx(5 / 6)


def test_what_an_answer_teaches():
    truth = record(
        labelled(DOG, (0, 0, 100, 50), nose=(1, 1), left_eye=(2, 2, 1)), labelled(DOG, (0, 100, 300, 90), iscrowd=True)
    )
    question = Question((AskedClass.of(DOG), AskedClass.of(FACE)), truth, None, "set")
    answer = found(
        pose(DOG, (0, 0, 100, 50), 0.9, nose=(1, 1), left_eye=(2, 2), tail_base=(9, 9), scores={"nose": 0.75}),
        pose(DOG, (10, 110, 50, 50), 0.8),  # in the crowd
        pose(FACE, (0, 0, 20, 20), 0.5, chin=(3, 3)),
    )
    one = sample("key", [(question, answer)])
    assert dict(one.labelled) == {"dog": 1, "face": 0}
    assert one.classes == ("dog", "face")
    assert one.right.tolist() == [True, False]
    assert one.visible.tolist() == [True, False]  # nose, tail base; the left eye is hidden, the right eye unscored
    np.testing.assert_allclose(one.confidences, [0.75, 0.9])


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": 0},
        {"keypoint_temperature": math.inf},
        {"temperature": "hot"},
        {"keypoint_threshold": 2},
        {"thresholds": {"dog": -1}},
        {"thresholds": [1]},
        {"rivals": "dog"},
        {"rivals": ("dog", " ")},
    ],
)
def test_a_calibration_refuses_values_that_make_no_sense(values):
    with pytest.raises(ConfigError, match="must"):
        Calibration(**values)


def test_the_detector_uses_its_calibration():
    detector = own_detector()
    picture = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    plain = detector.detect(picture, "dog", threshold=0.0)
    warm = detector.calibrated(Calibration({}, 0.0, 2.0, 0.5)).detect(picture, "dog", threshold=0.0)
    np.testing.assert_allclose(warm.scores, tempered(plain.scores, 2.0), rtol=1e-5)
    np.testing.assert_allclose(warm.keypoint_scores, tempered(plain.keypoint_scores, 0.5), rtol=1e-5)
    assert not np.allclose(warm.scores, plain.scores)
    np.testing.assert_array_equal(warm.xy, plain.xy)


def test_a_calibration_is_written_whole_or_not_at_all(tmp_path):
    folder = save_pretrained(own_detector().model, tmp_path / "tiny")
    wanted = Calibration({"": 0.3, "dog": 0.5}, 0.25, 1.5, 0.75, 0.7, 0.9, ("person", "dog"))
    config = (folder / "config.json").read_bytes()
    write_calibration(folder, wanted)
    assert from_pretrained(folder).calibration == read_calibration(folder) == wanted
    assert (folder / "config.json").read_bytes() == config
    names = ["README.md", "calibration.json", "config.json", "model.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == names
    with pytest.raises(CheckpointError, match="xpose convert"):
        write_calibration(tmp_path, wanted)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Birds and tubes: every picture lacks what the other half of its set shows."""
    root = tmp_path_factory.mktemp("sets")
    bird = lambda: thing((5, 5, 40, 30), (10, 10), (40, 30), (20, 8, 0), (20, 30), category=1)  # noqa: E731
    tube = lambda: thing((30, 20, 30, 20), (31, 21), (58, 38, 1), category=2)  # noqa: E731
    pictures = [[bird()], [tube()], [bird(), tube()], []]
    write_set(root / "mixed", (("bird", BIRD), ("glue tube", TUBE)), {"val": pictures, "train": [[bird()]]})
    return root


def test_absent_classes_are_asked_too(sets):
    detector = own_detector(thresholds={"": 0.9}, keypoint_threshold=0.9, temperature=3.0, keypoint_temperature=3.0)
    samples = collect(detector, EvaluationData.at(sets))
    assert [set(one.labelled) for one in samples] == [{"bird", "glue tube"}] * 4
    assert [sum(one.labelled.values()) for one in samples] == [1, 1, 2, 0]
    assert min(len(one.scores) for one in samples) > 0
    assert detector.calibration.temperature == 3  # as it was
    raw = own_detector()
    for one, other in zip(samples, collect(raw, EvaluationData.at(sets)), strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)  # what the weights had does not matter
    alone = collect(raw, EvaluationData.at(sets), absent=0)
    assert [set(one.labelled) for one in alone] == [{"bird"}, {"glue tube"}, {"bird", "glue tube"}]
    for one, present in zip(samples, alone, strict=False):  # the absent class is a question of its own
        own = np.isin(one.classes, sorted(present.labelled))
        np.testing.assert_array_equal(one.scores[own], present.scores)
        assert not one.right[~own].any()
        np.testing.assert_array_equal(one.confidences, present.confidences)


def test_the_command(sets, tmp_path, capsys):
    weights = save_pretrained(own_detector().model, tmp_path / "tiny")
    call = ["calibrate", "--weights", str(weights), "--data", str(sets), "--device", "cpu"]
    call += ["--least", "1", "--false-alarms", "0.5"]
    before = (weights / "calibration.json").read_bytes()
    assert cli.main([*call, "--dry-run"]) == 0
    assert "ECE of objects" in capsys.readouterr().out
    assert (weights / "calibration.json").read_bytes() == before

    assert cli.main([*call, "--json", "--out", str(tmp_path / "copy")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["before"]) == set(told["after"]) == set(ROWS)
    copied = read_calibration(tmp_path / "copy")
    assert copied.thresholds == told["thresholds"] != {}
    assert (weights / "calibration.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "tiny"]

    assert cli.main(call) == 0
    capsys.readouterr()
    assert read_calibration(weights).thresholds != {}
    assert cli.main([*call, "--out", str(tmp_path / "copy")]) == 1
    assert "already there" in capsys.readouterr().err


def test_a_calibration_that_is_worse_is_written_only_by_force(sets, tmp_path, capsys, monkeypatch):
    rows = {"before": dict.fromkeys(ROWS, 0.5), "after": dict.fromkeys(ROWS, 0.5) | {"F1": 0.25}}
    monkeypatch.setattr("xpose.evaluation.calibration.compared", lambda *_, **__: rows)
    weights = save_pretrained(own_detector().model, tmp_path / "tiny")
    call = ["calibrate", "-p", str(weights), "--data", str(sets), "--device", "cpu", "--false-alarms", "0.5"]
    before = (weights / "calibration.json").read_bytes()
    assert cli.main(call) == 1
    out, err = capsys.readouterr()
    assert "0.2500" in out, "the table is shown"
    assert "F1 0.2500 instead of 0.5000" in err
    assert "--force" in err
    assert (weights / "calibration.json").read_bytes() == before
    assert cli.main([*call, "--force"]) == 0
    assert (weights / "calibration.json").read_bytes() != before


def test_rivals_stand_beside_the_questions_and_are_kept(sets, tmp_path, capsys):
    detector = own_detector(rivals=("bird",))  # an untrained network takes all names for one thing
    plain = collect(detector, EvaluationData.at(sets))
    names = np.random.default_rng(0).standard_normal((3, detector.model.config.dim))
    detector.prompts._objects = ("a", "b", "c"), names.astype(np.float32)
    detector.prompts._objects[1][0] = detector.encode_prompts("bird")[0].object_token  # so that birds are known
    rivalled = collect(detector, EvaluationData.at(sets), rivals=("a", "b", "c"))
    assert any(not np.allclose(one.scores, other.scores) for one, other in zip(rivalled, plain, strict=True))
    assert detector.calibration.rivals == ("bird",)

    weights = save_pretrained(own_detector().model, tmp_path / "tiny")
    call = ["calibrate", "--weights", str(weights), "--data", str(sets), "--device", "cpu", "--least", "1"]
    call += ["--false-alarms", "0.5"]

    def kept():
        return read_calibration(weights).rivals

    assert cli.main([*call, "--rivals", "person, dog"]) == 0
    assert "rivals: person, dog" in capsys.readouterr().out
    assert kept() == ("person", "dog")
    assert cli.main([*call, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rivals"] == ["person", "dog"] == list(kept())
    assert cli.main([*call, "--rivals", "none"]) == 0
    assert kept() == ()
    assert cli.main([*call, "--rivals", "person,,dog"]) == 2
    assert "empty name" in capsys.readouterr().err
    assert kept() == ()


def test_weights_that_find_nothing_right_are_left_alone(sets, tmp_path, capsys):
    weights = save_pretrained(own_detector().model, tmp_path / "tiny")
    before = (weights / "calibration.json").read_bytes()
    assert cli.main(["calibrate", "-p", str(weights), "--data", str(sets), "--device", "cpu"]) == 1
    out, err = capsys.readouterr()
    assert "nothing was written" in err
    assert out == "", "no empty tables before the message"
    assert (weights / "calibration.json").read_bytes() == before


def test_a_damaged_picture_is_skipped_and_told(sets, tmp_path, capsys):
    shutil.copytree(sets, tmp_path / "sets")
    (tmp_path / "sets" / "mixed" / "images" / "val-1.png").write_bytes(b"no picture")
    weights = save_pretrained(own_detector().model, tmp_path / "tiny")
    call = ["calibrate", "-p", str(weights), "--data", str(tmp_path / "sets"), "--device", "cpu", "--json", "--dry-run"]
    call += ["--false-alarms", "1"]
    assert cli.main(call) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["pictures"] == 3
    assert "val-1.png" in printed.err


@pytest.mark.parametrize("weights", ["no/such/folder", "file"])
def test_weights_that_are_no_folder_are_refused_at_once(sets, tmp_path, capsys, weights):
    if weights == "file":
        (tmp_path / "file").write_bytes(b"x")
        weights = str(tmp_path / "file")
    assert cli.main(["calibrate", "--weights", weights, "--data", str(sets)]) == 1
    assert "weight folder" in capsys.readouterr().err


def test_data_that_is_not_there_is_named(tmp_path, capsys):
    weights = save_pretrained(own_detector().model, tmp_path / "tiny")
    assert cli.main(["calibrate", "--weights", str(weights), "--data", str(tmp_path / "nothing")]) == 1
    assert "nothing" in capsys.readouterr().err
