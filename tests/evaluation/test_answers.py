"""Answers on disk: the same comes back, an interrupted run goes on, another run is refused, a failure is told."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from tests.evaluation.cases import random_pictures
from tests.evaluation.drawn_sets import TUBE, Known, repeated, thing, write_set

from xpose.errors import ConfigError, XPoseError
from xpose.evaluation.answers import AnswerJournal
from xpose.evaluation.runner import evaluate
from xpose.evaluation.sources import ParallelSource, open_detector
from xpose.results import Poses

ASKED = {"weights": "one", "prompts": "text"}


def test_what_is_written_comes_back(tmp_path):
    pictures = [answer for _, answer in random_pictures(3)] + [Poses.empty((20, 30))]
    with AnswerJournal(tmp_path, ASKED) as journal:
        for number, answer in enumerate(pictures):
            journal.put(str(number), (answer, pictures[0]))
        early = journal.get("1")
    assert len(early) == 2
    with AnswerJournal(tmp_path, ASKED) as journal:
        assert len(journal) == len(pictures)
        for number, answer in enumerate(pictures):
            (back, _) = journal.get(str(number))
            assert back.categories == answer.categories
            assert back.keypoint_names == answer.keypoint_names
            assert back.image_size == answer.image_size
            np.testing.assert_allclose(back.boxes, answer.boxes, atol=6e-4)
            np.testing.assert_allclose(back.xy[:, : answer.xy.shape[1]], answer.xy, atol=6e-4)
            np.testing.assert_allclose(back.scores, answer.scores, atol=1e-6)
            np.testing.assert_array_equal(back.visibility, answer.visibility)


def test_expected_errors_come_back(tmp_path):
    poses = next(answer for _, answer in random_pictures(3) if len(answer) > 1)
    errors = np.arange(poses.keypoint_scores.size, dtype=np.float32).reshape(poses.keypoint_scores.shape)
    poses = replace(poses, keypoint_errors=errors)
    with AnswerJournal(tmp_path, ASKED) as journal:
        journal.put("a", (poses, Poses.empty((20, 30))))
        back, empty = journal.get("a")
    np.testing.assert_array_equal(back.keypoint_errors, poses.keypoint_errors)
    assert empty.keypoint_errors is None


@pytest.mark.parametrize("cut", [1, 30, 400])
def test_a_line_that_was_cut_short_is_asked_again(tmp_path, cut):
    answers = [answer for _, answer in random_pictures(5)]
    with AnswerJournal(tmp_path, ASKED) as journal:
        for number, answer in enumerate(answers):
            journal.put(str(number), (answer,))
    path = journal.path
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with AnswerJournal(tmp_path, ASKED) as journal:
        lost = [number for number in range(len(answers)) if str(number) not in journal]
        assert lost
        assert lost[-1] == len(answers) - 1
        for number in lost:
            journal.put(str(number), (answers[number],))
    assert path.read_bytes() == whole


def test_answers_of_another_run_are_refused(tmp_path):
    with AnswerJournal(tmp_path, ASKED) as journal:
        journal.put("a", ())
    with pytest.raises(ConfigError, match=r'other prompts \("text" there, "visual" now\).*--fresh'):
        AnswerJournal(tmp_path, {**ASKED, "prompts": "visual"})
    (tmp_path / "answers/000.jsonl").write_text("[1]\n")
    with pytest.raises(ConfigError, match="damaged"):
        AnswerJournal(tmp_path, ASKED)


def test_settings_that_differ_are_named_one_by_one(tmp_path):
    told = {"source": "a", "settings": {"prompts": "text", "seed": 0, "flip": False}}
    with AnswerJournal(tmp_path, told) as journal:
        journal.put("a", ())
    asked = {"source": "b", "settings": {"prompts": "text", "seed": 1, "flip": True}}
    with pytest.raises(
        ConfigError, match=r"other weights.*; flip is false there and true now; seed is 0 there and 1 now"
    ):
        AnswerJournal(tmp_path, asked)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    pictures = [[thing((0, 0, 40, 20), (5, 10), (35, 10 + n))] for n in range(5)]
    write_set(root / "tubes", [("glue tube", TUBE)], {"train": pictures[:1], "val": pictures})
    return root


def test_an_interrupted_run_goes_on_where_it_stopped(tree, tmp_path):
    class Broken(Known):
        def answer(self, tasks, pixels, settings):
            if len(self.tasks) >= 2:
                raise KeyboardInterrupt
            return super().answer(tasks, pixels, settings)

    with AnswerJournal(tmp_path, ASKED) as journal, pytest.raises(KeyboardInterrupt):
        evaluate("nano-real", Broken(repeated, batch=1), tree, journal=journal)
    rest = Known(partial(repeated, shift=(1, 0)))
    with AnswerJournal(tmp_path, ASKED) as journal:
        result = evaluate("nano-real", rest, tree, journal=journal)
    assert len(rest.tasks) == 3
    errors = [one.errors["cap"] for one in result.scores.objects]
    assert errors == pytest.approx([0, 0, 1 / 40, 1 / 40, 1 / 40], abs=1e-4)


def test_answers_about_other_labels_are_refused_while_a_run_goes_on(tree, tmp_path):
    with AnswerJournal(tmp_path / "run", ASKED) as journal:
        evaluate("nano-real", Known(repeated), tree, journal=journal)
    moved = [[thing((0, 0, 40, 20), (5, 10), (35, 10 + n))] for n in range(4)]
    moved.append([thing((0, 0, 41, 20), (5, 10), (35, 14))])
    write_set(tmp_path / "sets/tubes", [("glue tube", TUBE)], {"train": moved[:1], "val": moved})
    for n in range(5):  # the pictures stay what they were
        name = f"tubes/images/val-{n}.png"
        (tmp_path / "sets" / name).write_bytes((tree / name).read_bytes())
    with (
        AnswerJournal(tmp_path / "run", ASKED) as journal,
        pytest.raises(ConfigError, match=r"val-4\.png.*other labels"),
    ):
        evaluate("nano-real", Known(repeated), tmp_path / "sets", journal=journal)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "message"),
    [(partial(open_detector, "/no/such/weights"), "no/such/weights"), (partial(os._exit, 3), "ended unexpectedly")],
)
def test_a_process_that_fails_is_told(tree, make, message):
    with closing(ParallelSource(Known(repeated), make, 1)) as source, pytest.raises(XPoseError, match=message):
        evaluate("nano-real", source, tree)


def test_processes_get_the_batches_of_a_single_process(tree, monkeypatch):
    sizes = []

    class Counting(Known):
        def answer(self, tasks, pixels, settings):
            sizes.append(len(tasks))
            return super().answer(tasks, pixels, settings)

    monkeypatch.setattr("xpose.evaluation.sources._in_process", [])
    moved = partial(repeated, shift=(3, 0))
    with closing(ParallelSource(Known(moved), partial(Counting, moved), 2)) as source:
        source._pool = ThreadPoolExecutor(1)
        result = evaluate("nano-real", source, tree)
    assert sizes == [2, 2, 1]
    assert result.summary == pytest.approx(evaluate("nano-real", Known(moved), tree).summary, nan_ok=True)


def test_the_file_says_what_was_asked(tree, tmp_path):
    with AnswerJournal(tmp_path, ASKED) as journal:
        evaluate("nano-real", Known(repeated), tree, journal=journal)
    first, *rest = (tmp_path / "answers/000.jsonl").read_text().splitlines()
    assert json.loads(first) == {"format": "xpose-answers-2", "run": ASKED}
    assert [json.loads(line)["key"] for line in rest] == [f"tubes/images/val-{n}.png" for n in range(5)]
