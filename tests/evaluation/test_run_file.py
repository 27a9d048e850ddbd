"""The file of a run: what is written comes back, and a damaged one is named."""

import dataclasses
import json
import math

import pytest

from xpose.errors import DataError
from xpose.evaluation.run_file import EvaluationRun, RunObject, RunPicture, read_run, write_run

RUN = EvaluationRun(
    protocol="nano-real",
    settings={"boxes": "best box", "flip": False, "seed": 0},
    weights="xpose-nano",
    summary={"PCK@0.2": 0.5, "NME": math.nan},
    means={"PCK@0.2": "sets"},
    pictures=(
        RunPicture("a/1.jpg", "a", (RunObject("7", "dog", 4, {"PCK@0.2": 0.5, "NME": math.nan}),)),
        RunPicture("a/2.jpg", "a"),
    ),
    version="0.1.0",
    made="2025-01-01T00:00:00",
)


def test_what_is_written_comes_back(tmp_path):
    write_run(tmp_path / "deep" / "run.json", RUN)
    read = read_run(tmp_path / "deep" / "run.json")
    assert math.isnan(read.summary["NME"])
    assert math.isnan(read.pictures[0].objects[0].values["NME"])
    write_run(tmp_path / "again.json", read)
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "deep" / "run.json").read_bytes()
    assert read.pictures[1] == RUN.pictures[1]
    assert dataclasses.replace(read, summary={}, pictures=()) == dataclasses.replace(RUN, summary={}, pictures=())


def broken(change):
    def make(path):
        write_run(path, RUN)
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return make


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: None, "There is no file"),
        (lambda path: path.write_text("{"), "not a JSON"),
        (lambda path: path.write_bytes(b"\xff\xfe{}"), "not UTF-8"),
        (lambda path: path.write_text("[" * 100_000), "not a JSON file"),
        ((lambda path: path.mkdir()), "There is no file"),
        (lambda path: path.write_text("[]"), "xpose-run-1"),
        (broken(lambda run: run.pop("protocol")), "'protocol' is missing"),
        (
            broken(lambda run: run["pictures"][0]["objects"][0].pop("points")),
            "'points' is missing",
        ),
        (broken(lambda run: run["pictures"][0]["objects"][0].update(points=-1)), "fewer than 0"),
        (broken(lambda run: run["pictures"][1].update(objects=3)), "cut or edited"),
        (
            broken(lambda run: run["pictures"].append(run["pictures"][0])),
            "two pictures have the same key",
        ),
        (broken(lambda run: run["summary"].update(AP="high")), '"AP" is "high"'),
        (broken(lambda run: run["summary"].update(AP=math.inf)), '"AP" is "inf"'),
        (broken(lambda run: run["means"].update(AP="median")), "cut or edited"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, spoil, told):
    spoil(tmp_path / "run.json")
    with pytest.raises(DataError, match=told):
        read_run(tmp_path / "run.json")
