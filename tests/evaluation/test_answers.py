"""Answers on disk: the same comes back, an interrupted run goes on, another run is refused, a failure is told."""

import json
import os
from functools import partial

import numpy as np
import pytest
from tests.evaluation.cases import random_pictures
from tests.evaluation.drawn_sets import TUBE, Known, repeated, thing, write_set

from xpose.errors import ConfigError, XPoseError
from xpose.evaluation.answers import Journal
from xpose.evaluation.data import Data
from xpose.evaluation.parallel import Work, answer_in_parallel
from xpose.evaluation.runner import evaluate
from xpose.evaluation.settings import Settings
from xpose.evaluation.sources import open_detector
from xpose.poses import Poses

ASKED = {"weights": "one", "prompts": "text"}


def test_what_is_written_comes_back(tmp_path):
    pictures = [answer for _, answer in random_pictures(3)] + [Poses.empty((20, 30))]
    with Journal(tmp_path, ASKED) as journal:
        for number, answer in enumerate(pictures):
            journal.put(str(number), (answer, pictures[0]))
        early = journal.get("1")
    assert len(early) == 2
    with Journal(tmp_path, ASKED, part=1) as journal:
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


@pytest.mark.parametrize("cut", [1, 30, 400])
def test_a_line_that_was_cut_short_is_asked_again(tmp_path, cut):
    answers = [answer for _, answer in random_pictures(5)]
    with Journal(tmp_path, ASKED) as journal:
        for number, answer in enumerate(answers):
            journal.put(str(number), (answer,))
    path = journal.path
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with Journal(tmp_path, ASKED) as journal:
        lost = [number for number in range(len(answers)) if str(number) not in journal]
        assert lost
        assert lost[-1] == len(answers) - 1
        for number in lost:
            journal.put(str(number), (answers[number],))
    assert path.read_bytes() == whole


def test_answers_of_another_run_are_refused(tmp_path):
    with Journal(tmp_path, ASKED) as journal:
        journal.put("a", ())
    with pytest.raises(ConfigError, match=r"other prompts.*--fresh"):
        Journal(tmp_path, {**ASKED, "prompts": "visual"})
    (tmp_path / "answers/000.jsonl").write_text("[1]\n")
    with pytest.raises(ConfigError, match="another run"):
        Journal(tmp_path, ASKED)


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

    with Journal(tmp_path, ASKED) as journal, pytest.raises(KeyboardInterrupt):
        evaluate("nano-real", Broken(repeated, batch=1), tree, journal=journal)
    rest = Known(partial(repeated, shift=(1, 0)))
    with Journal(tmp_path, ASKED) as journal:
        result = evaluate("nano-real", rest, tree, journal=journal)
    assert len(rest.tasks) == 3
    errors = [one.errors["cap"] for one in result.scores.objects]
    assert errors == pytest.approx([0, 0, 1 / 40, 1 / 40, 1 / 40], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "message"),
    [(partial(open_detector, "/no/such/weights"), "no/such/weights"), (partial(os._exit, 3), "exit code 3")],
)
def test_a_process_that_fails_is_told(tree, tmp_path, make, message):
    work = Work("nano-real", Data.at(tree), Settings(), str(tmp_path), ASKED, make)
    with pytest.raises(XPoseError, match=message):
        answer_in_parallel(work, 1)


def test_the_file_says_what_was_asked(tree, tmp_path):
    with Journal(tmp_path, ASKED) as journal:
        evaluate("nano-real", Known(repeated), tree, journal=journal)
    first, *rest = (tmp_path / "answers/000.jsonl").read_text().splitlines()
    assert json.loads(first) == {"format": "xpose-answers-1", "run": ASKED}
    assert [json.loads(line)["key"] for line in rest] == [f"tubes/images/val-{n}.png" for n in range(5)]
