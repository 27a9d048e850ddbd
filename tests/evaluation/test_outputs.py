"""Every protocol from a miniature original to its files: tables with all rules, run file, report with pictures."""

import json

import numpy as np
import pytest
from tests.data.small_sets import record, write_prepared
from tests.evaluation.drawn_sets import BIRD, TUBE, Known, repeated, thing, write_set
from tests.evaluation.prepared_sets import prepare_drawn

from xpose.evaluation.answers import AnswerJournal
from xpose.evaluation.data import EvaluationData
from xpose.evaluation.outputs import choose, polyline, write_outputs
from xpose.evaluation.protocols import PROTOCOLS, Table, load_protocol
from xpose.evaluation.run_file import read_run
from xpose.evaluation.runner import Evaluation, evaluate
from xpose.evaluation.scores import ObjectScore
from xpose.pages import render
from xpose.records import Category

SETS = ("coco", "humanart", "ap10k", "animal-kingdom", "300w", "animalpose", "mp100")
OF_FOLDERS = ("as-used", "nano-real", "similarity", "class-point", "robustness", "negatives")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare_drawn(tmp_path_factory.mktemp("originals"), *SETS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    tubes = [thing((0, 0, 40, 20), (5, 10), (35, 10)), thing((10, 30, 60, 25), (15, 40), (65, 40, 1))]
    write_set(root / "tubes", [("glue tube", TUBE)], {"train": [tubes], "val": [tubes]})
    bird = [thing((20, 10, 40, 40), (25, 15), (55, 45), (25, 45), (55, 15))]
    write_set(root / "coco_person", [("bird", BIRD)], {"train": [bird], "val": [bird]})
    bee = [thing((20, 10, 40, 40), (25, 15), (55, 45))]
    write_set(root / "bees", [("honey bee", ("head", "thorax"))], {"train": [bee], "val": [bee]})
    return root


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """MP-100 with enough objects of one category for five examples and a query."""
    root = tmp_path_factory.mktemp("mp100")
    kind = Category("bed", "bed", ("left headboard post top", "right headboard post top"))
    pictures = {f"{n}.png": n for n in range(7)}
    records = [record("mp100", "split2-test", file, [kind]) for file in pictures]
    return write_prepared(root, "mp100", records, pictures).parent


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_full_run_of(name, prepared, folders, many, tmp_path):
    protocol = load_protocol(name)
    split = "train" if name == "faces68" else protocol.split
    place = folders if name in OF_FOLDERS else many if name == "mp100-5shot" else prepared
    data = EvaluationData.at(place, split, ("300w",) if name == "faces68" else ())
    with AnswerJournal(tmp_path, {"run": name}) as journal:
        result = evaluate(protocol, Known(repeated), data, settings=protocol.usual, journal=journal)
        written = write_outputs(tmp_path, result, protocol, data, protocol.usual, journal)
    assert all(path.is_file() for path in written)
    tables = (tmp_path / "tables.md").read_text()
    for word in ("data", "split", "boxes", "prompts", "flip test", "seed", "PCK", "threshold", "metrics"):
        assert f"- {word}: " in tables
    assert all(f"### {table.title}" in tables for table in result.tables)
    page = (tmp_path / "report.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert ("data:image/jpeg" in page) == bool(protocol.thresholds)
    assert ("Precision against recall" in page) == any("AP" in measure for measure in protocol.metrics)
    run = read_run(tmp_path / "run.json")
    assert run.summary.keys() == result.summary.keys()
    assert len(run.pictures) == len({picture.key for picture in run.pictures})
    assert sum(len(one.objects) for one in run.pictures) == len(result.scores.objects)


def test_coco_files_hold_every_answer_in_the_labels_own_ids(folders, tmp_path):
    protocol = load_protocol("nano-real")
    data = EvaluationData.at(folders)
    with AnswerJournal(tmp_path, {}) as journal:
        result = evaluate(protocol, Known(repeated), data, journal=journal)
        write_outputs(tmp_path, result, protocol, data, protocol.usual, journal)
    labels = json.loads((folders / "tubes/val.json").read_text())
    found = json.loads((tmp_path / "coco/tubes.val.keypoints.json").read_text())
    boxes = json.loads((tmp_path / "coco/tubes.val.boxes.json").read_text())
    for one, box, label in zip(found, boxes, labels["annotations"], strict=True):
        assert (one["image_id"], one["category_id"]) == (label["image_id"], label["category_id"])
        assert box["bbox"] == label["bbox"]
        assert one["keypoints"][0::3] == label["keypoints"][0::3]
        assert one["keypoints"][1::3] == label["keypoints"][1::3]


def row(task, values, group="set"):
    names = tuple("abcdef"[: len(values)])
    return ObjectScore(task, group, "", "thing", 0, names, np.array(values, float), frozenset(), 50.0, 1.0, 0.9)


def test_best_and_worst_are_chosen_by_share_then_error_and_few_per_group():
    rows = [row("good", [0.1, 0.1]), row("better", [0.0, 0.0]), row("half", [0.1, 0.9]), row("bad", [0.9, np.inf])]
    rows += [row("other", [0.5, 0.5], "other"), row("good", [0.3, 0.1])]
    assert [one.task for one in choose(rows, 0.2, best=True)] == ["better", "good", "other"]
    assert [one.task for one in choose(rows, 0.2, best=False)] == ["bad", "other", "half"]
    assert choose([], 0.2, best=True) == []
    assert choose(rows, 0.2, best=True)[1].share == 0.75, "the mean over the objects of the picture"


def test_charts_take_names_as_they_come_and_leave_out_what_is_not_a_number():
    assert polyline([0, 1, 2], [0.5, np.nan, 1]) == "48.0,117.0 406.0,14.0", "clipped to the chart"
    name = '<i>&"quoted"</i>'
    chart = {"title": name, "x": name, "y": name, "curves": [(name, "#000", "1,2")]}
    table = Table(name, (name,), ((name,),), (name,))
    values = {
        "title": name,
        "result": Evaluation(protocol=name, settings={}, weights=name, summary={}, tables=(table,)),
    }
    values |= {"headline": name, "headline_name": name, "statement": [(name, name)], "threshold": 0.2}
    values |= {"precision": [chart], "errors": [(name, [(name, (0.5,))])], "distances": chart, "best": [], "worst": []}
    page = render("evaluation_report.html", **values)
    assert "<i>" not in page
    assert page.count("&lt;i&gt;&amp;&#34;quoted&#34;&lt;/i&gt;") > 15
    assert page.count("<svg") == page.count("</svg>") == 2
