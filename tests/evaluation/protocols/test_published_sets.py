"""Protocols on whole published sets: miniature originals, prepared and measured, against numbers computed by hand."""

from functools import partial

import numpy as np
import pytest
from tests.evaluation.cases import found, pose
from tests.evaluation.drawn_sets import Known, repeated
from tests.evaluation.prepared_sets import prepare_drawn
from tests.inference.conftest import own_detector

from xpose.errors import DataError
from xpose.evaluation.protocols import PROTOCOLS, load_protocol, published_tables
from xpose.evaluation.questions import Settings
from xpose.evaluation.runner import evaluate


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    sets = ("coco", "humanart", "ap10k", "apt36k", "macaquepose", "animal-kingdom", "animalweb", "300w", "onehand10k")
    more = ("vinegar-fly", "desert-locust", "keypoint-5", "animalpose")
    return prepare_drawn(tmp_path_factory.mktemp("sets"), *sets, *more)


def table(result, number=0):
    columns = result.tables[number].columns
    return {row[0]: dict(zip(columns, row, strict=True)) for row in result.tables[number].rows}


def test_unikpt_measures_every_set_on_its_own_split(prepared):
    rows = table(evaluate("unikpt", Known(repeated), prepared))
    expected = {"coco", "humanart", "ap10k", "apt36k", "macaquepose", "animal-kingdom", "animalweb", "300w"}
    assert set(rows) == expected | {"onehand10k", "vinegar-fly", "desert-locust", "keypoint-5"}
    measured = {name for name, row in rows.items() if row["objects"]}
    assert measured >= set(rows) - {"animalweb", "apt36k"}, "their held-out tenth may be empty in miniature"
    for name in measured:
        assert rows[name]["PCK@0.2"] == 100.0
    assert rows["coco"]["AP"] == rows["ap10k"]["AP"] == 100.0
    assert rows["onehand10k"]["EPE"] == rows["300w"]["NME"] == 0.0
    assert rows["300w"]["split"] == "common, challenge"
    assert rows["vinegar-fly"]["AP"] is None, "no row shows a number that the papers do not report for it"


def test_animal_kingdom_by_hand(prepared):
    """Every point 0.1 of the box's longer side away: none within 0.05, all within 0.2."""

    def answer(task, question):
        rows = []
        for one in question.truth.instances:
            far = 0.1 * max(one.box[2:])
            points = {n.replace(" ", "_"): (x + far, y) for n, (x, y, _) in one.keypoints.items()}
            rows.append(pose(one.category, one.box, 0.9, **points))
        return found(*rows, size=(task.record.picture.height, task.record.picture.width))

    result = evaluate("animal-kingdom", Known(answer), prepared)
    row = table(result)["animal-kingdom"]
    assert (row["PCK@0.05"], row["PCK@0.2"]) == (0.0, 100.0)
    assert result.tables[1].title.startswith("Published")
    assert [cells[1] for cells in result.tables[1].rows] == [67.8, 95.3]


def test_distances_of_hands_by_hand(prepared):
    """All points 3 and 4 pixels away: an EPE of 5; of the thresholds 0, 1.5, 3 ... 28.5 the sixteen from 6 on reach."""
    row = table(evaluate("unikpt", Known(partial(repeated, shift=(3, 4))), prepared, only=["onehand10k"]))["onehand10k"]
    assert row["EPE"] == pytest.approx(5.0, abs=1e-4)
    assert row["AUC@30"] == pytest.approx(100 * 16 / 20)


def test_humanart_is_asked_for_the_points_of_coco_alone_and_shown_by_style(prepared):
    source = Known(repeated)
    result = evaluate("humanart", source, prepared)
    for task in source.tasks:
        (asked,) = task.questions[0].asked
        assert len(asked.names) == 17
        assert set(asked.names) <= set(task.record.instances[0].category.keypoints)
    styles = {row[0] for row in result.tables[1].rows}
    assert styles == {task.record.style for task in source.tasks if task.record.instances}


def test_every_picture_of_a_set_with_one_category_is_asked_also_empty_ones(prepared):
    """COCO's measure counts what is found in pictures without persons. One false answer with the highest score of the
    run: precision is 1/2 at the first object and 3/4 at the last of three, and COCO takes the best from there on."""
    source = Known(repeated)
    whole = evaluate("coco", source, prepared)
    empty = [task for task in source.tasks if not task.record.instances]
    assert empty
    assert table(whole)["coco"]["AP"] == 100.0

    def answer(task, question):
        if task.record.instances:
            return repeated(task, question)
        made_up = {name.replace(" ", "_"): (20.0, 20.0) for name in question.asked[0].names}
        return found(pose(question.asked[0].category, (10, 10, 40, 40), 0.95, **made_up), size=(90, 120))

    assert table(evaluate("coco", Known(answer), prepared))["coco"]["AP"] == pytest.approx(75.0, abs=0.1)


def test_families_are_parted_for_clamp(prepared):
    source = Known(repeated)
    rows = table(evaluate("clamp", source, prepared))
    families = {}
    for task in source.tasks:
        row = task.questions[0].group
        families.setdefault(row, set()).update(one.category.taxonomy.family for one in task.record.instances)
    assert families == {"Bovidae → Canidae": {"Canidae"}, "Canidae → Felidae": {"Felidae"}}
    assert all(row["AP"] == 100.0 for row in rows.values())
    published = evaluate("clamp", Known(repeated), prepared).tables[1]
    assert [row[-1] for row in published.rows] == [53.8, 46.9]


def test_a_missing_set_is_told(prepared, tmp_path):
    result = evaluate("unikpt", Known(repeated), prepared / "coco")
    assert any("onehand10k" in note for note in result.tables[0].notes)
    with pytest.raises(DataError, match="No picture could be asked"):
        evaluate("animalpose", Known(repeated), prepared / "coco")


def test_visual_prompts_take_examples_of_the_training_split(prepared):
    source = Known(repeated)
    evaluate("ap10k", source, prepared, settings=Settings(prompts="visual"), only=["ap10k"])
    assert {one.record.split for t in source.tasks for q in t.questions for one in q.asked[0].examples} == {"train"}


def test_a_detector_runs_through_every_protocol_of_sets(prepared):
    result = evaluate("unikpt", own_detector(), prepared, settings=Settings(limit=1))
    assert np.isfinite(result.summary["PCK@0.2/coco"])
    assert not result.faults


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_states_its_rules(name):
    protocol = load_protocol(name)
    assert protocol.name == name
    for value in (protocol.title, protocol.source, protocol.data, protocol.boxes, protocol.prompts, protocol.pck):
        assert value.strip()
    assert protocol.metrics
    assert set(protocol.published) <= set(published_tables())


def test_published_numbers_have_a_source():
    for one in published_tables().values():
        assert one.notes[0].startswith("Source: ")
        assert all(len(row) == len(one.columns) for row in one.rows)
