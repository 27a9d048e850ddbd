"""The protocol on the sets of a folder: a case computed by hand, its questions, the baseline, the left-out sets."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from tests.evaluation.cases import found, pose
from tests.evaluation.drawn_sets import BIRD, TUBE, Known, repeated, thing, write_set
from tests.inference.conftest import own_detector

from xpose.data.collection.held_out import is_held_out
from xpose.errors import ConfigError, DataError
from xpose.evaluation.data import EvaluationData
from xpose.evaluation.protocols import load_protocol
from xpose.evaluation.protocols.nano_real import baseline
from xpose.evaluation.questions import Settings
from xpose.evaluation.runner import evaluate
from xpose.prompts import CombinedPrompt, TextPrompt, VisualPrompt


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Tubes: two objects in one picture, one in the other. Birds: one that always stands in the same place."""
    root = tmp_path_factory.mktemp("sets")
    tubes = [("glue tube", TUBE)]
    write_set(
        root / "tubes",
        tubes,
        {
            "train": [[thing((0, 0, 40, 20), (10, 10), (30, 10))]],
            "val": [
                [thing((0, 0, 40, 20), (5, 10), (35, 10)), thing((40, 30, 20, 20), (45, 40), (55, 40))],
                [thing((10, 10, 50, 20), (15, 20), (55, 20, 1))],
            ],
        },
    )
    bird = thing((20, 10, 40, 40), (25, 15), (55, 45), (25, 45), (0, 0, 0))
    write_set(root / "birds", [("bird", BIRD)], {"train": [[bird]], "val": [[bird]]})
    return root


def test_by_hand(tree):
    """Picture 1: object 1 has one of two points within 8 (0.2 of 40) and none within 4; object 2 both within 4 and 2.
    Picture 2: nothing is found. The mean pose of the birds is exact, so that only the tubes count."""

    def answer(task, question):
        size = (60, 80)
        if task.key == "tubes/images/val-0.png":
            near = pose(question.asked[0].category, (1, 0, 39, 20), 0.5, cap=(5, 18), crimped_end=(35, 19))
            other = pose(question.asked[0].category, (40, 30, 20, 20), 0.9, cap=(45, 42), crimped_end=(55, 38.5))
            return found(other, near, size=size)
        return found(size=size) if task.key.startswith("tubes") else repeated(task, question)

    result = evaluate("nano-real", Known(answer), tree)
    assert result.summary["PCK@0.2/set/tubes"] == pytest.approx((0.5 + 1.0 + 0.0) / 3)
    assert result.summary["PCK@0.1/set/tubes"] == pytest.approx((0.0 + 1.0 + 0.0) / 3)
    assert result.summary["PCK@0.2/set/birds"] == 1.0
    assert result.value == result.summary["PCK@0.2"] == pytest.approx(0.5), (
        "birds are left out: the mean pose finds them"
    )
    assert result.summary["PCK@0.2/sets with several objects"] == pytest.approx(0.5)
    assert np.isnan(result.summary["PCK@0.2/sets with one object"])
    assert result.summary["easy/set/birds"] == 1.0
    assert result.summary["IoU"] == pytest.approx((39 / 40 + 1 + 0) / 3)
    rows = {one.key: one for one in result.pictures}
    assert [one.values["PCK@0.2"] for one in rows["tubes/images/val-0.png"].objects] == [0.5, 1.0]
    assert "PCK@0.2" not in rows["birds/images/val-0.png"].objects[0].values, "so that no mean counts it"


def test_the_mean_over_the_first_sets_and_precision_beside_the_mean_over_all(tmp_path):
    """Tubes of the first edition are found, people of the second are not; both stand elsewhere in training."""
    train, val = ([thing((x, 0, 40, 20), (x + 5, 10), (x + 35, 10))] for x in (40, 0))
    for name in ("tubes", "coco_people"):
        write_set(tmp_path / name, [("glue tube", TUBE)], {"train": [train], "val": [val]})
    (tmp_path / "index.json").write_text('[{"name": "tubes", "since": 1}, {"name": "coco_people", "since": 2}]')

    def answer(task, question):
        return repeated(task, question) if task.record.source == "tubes" else found(size=(60, 80))

    summary = evaluate("nano-real", Known(answer), tmp_path).summary
    assert summary["PCK@0.2"] == summary["IoU"] == 0.5
    assert summary["PCK@0.2/first sets"] == summary["IoU/first sets"] == 1.0
    assert summary["baseline/PCK@0.2/first sets"] == 0.0
    assert summary["AP/set/coco_people"] == summary["box AP/set/coco_people"] == 0.0
    assert "AP/set/tubes" not in summary


@pytest.mark.parametrize("name", ["nano-real", "as-used"])
def test_expected_errors_are_compared_with_true_ones_where_the_weights_give_them(tree, name):
    def answer(task, question):
        poses = repeated(task, question, shift=(2, 0))
        xy = poses.xy.copy()
        xy[:, 1] += 2
        return replace(poses, xy=xy, keypoint_errors=np.tile(np.arange(xy.shape[1], dtype=float), (len(poses), 1)))

    result = evaluate(name, Known(answer), tree, only=["tubes"])
    assert result.summary["error correlation"] == result.summary["error correlation/set/tubes"] == pytest.approx(1.0)
    assert result.tables[-1].rows[0][:2] == ("tubes", 6)
    assert "error correlation" not in evaluate(name, Known(repeated), tree).summary


def test_the_mean_pose_by_hand(tree):
    """Training: cap at (10.5, 10.5) of 80 x 60, so at pixel (10, 10) again; crimped end at (30, 10). Picture 1,
    object 1 (0.2 of 40 = 8): 5 and 5 away, both in. Object 2 (0.2 of 20 = 4): 30 and more away. Picture 2 (10): cap
    (15, 20) is 11.2 away, the end (55, 20) 26.9."""
    numbers = baseline(EvaluationData.at(tree))
    assert numbers["tubes"]["PCK@0.2"] == pytest.approx((1 + 0 + 0) / 3)
    assert numbers["tubes"]["PCK@0.1"] == 0.0
    assert numbers["birds"] == {"PCK@0.2": 1.0, "PCK@0.1": 1.0}


def test_a_picture_is_asked_once_per_category_with_as_many_answers_as_objects(tmp_path):
    things = [
        thing((0, 0, 40, 20), (5, 10), (35, 10)),
        thing((0, 30, 40, 20), (5, 40), (35, 40), category=2),
        thing((40, 30, 20, 20), (45, 40), (55, 40)),
        thing((50, 0, 20, 20), (55, 10), (65, 10), crowd=1),
    ]
    categories = [("glue tube", TUBE), ("bird", TUBE)]
    write_set(tmp_path / "two", categories, {"train": [things], "val": [things]})
    source = Known(repeated)
    result = evaluate("nano-real", source, tmp_path)
    (task,) = source.tasks
    asked = [(q.asked[0].called, q.most, len(q.truth.instances)) for q in task.questions]
    assert asked == [("glue tube", 2, 3), ("bird", 1, 1)]
    assert result.summary["PCK@0.2/set/two"] == 1.0
    assert len(result.scores.objects) == 3, "crowds are no objects"


def test_only_the_best_answers_may_stand_for_an_object(tree):
    """As many as there are objects: a third answer, however well its box fits, does not count."""

    def answer(task, question):
        good = repeated(task, question)
        poor = pose(question.asked[0].category, (70, 50, 5, 5), 0.99)
        count = question.matched
        return type(good).concatenate([found(*[poor] * count, size=(60, 80)), good])

    assert evaluate("nano-real", Known(answer), tree, only=["tubes"]).value == 0.0


@pytest.mark.parametrize(
    ("kind", "expected"), [("text", TextPrompt), ("visual", VisualPrompt), ("combined", CombinedPrompt)]
)
def test_prompts_of_each_kind_come_from_the_training_split(tree, kind, expected):
    source = Known(repeated)
    result = evaluate("nano-real", source, tree, settings=Settings(prompts=kind))
    for task in source.tasks:
        (asked,) = task.questions[0].asked
        prompt = asked.prompt()
        assert isinstance(prompt, expected)
        assert prompt.resolved.names == asked.category.keypoints
        assert all(example.record.split == "train" for example in asked.examples)
        if kind == "visual" and task.record.source == "tubes":
            assert prompt.points == {"cap": (10.5, 10.5, True), "crimped end": (30.5, 10.5, True)}
            assert prompt.box == (0.0, 0.0, 40.0, 20.0)
            assert prompt.image.shape == (60, 80, 3)
    assert result.value == 1.0
    assert kind in result.statement["prompts"]


def test_examples_are_drawn_by_the_seed(tmp_path):
    pictures = [[thing((0, 0, 70, 20), (5, 10), (35 + n, 10))] for n in range(12)]
    write_set(tmp_path / "tubes", [("glue tube", TUBE)], {"train": pictures, "val": pictures[:1]})
    keys = set()
    for seed in range(6):
        for _ in range(2):
            source = Known(repeated)
            evaluate("nano-real", source, tmp_path, settings=Settings(prompts="visual", shots=3, seed=seed))
            (asked,) = source.tasks[0].questions[0].asked
            keys.add((seed, tuple(example.key for example in asked.examples)))
    assert len(keys) == 6, "the same seed draws the same, another seed something else"
    assert all(len(set(drawn)) == 3 for _, drawn in keys)


def test_a_class_without_any_example_is_told_and_not_asked(tmp_path):
    hidden = [thing((0, 0, 40, 20), (5, 10, 1), (35, 10, 1))]
    write_set(tmp_path / "tubes", [("glue tube", TUBE)], {"train": [hidden], "val": [hidden]})
    with pytest.raises(DataError, match="No picture could be asked"):
        evaluate("nano-real", Known(repeated), tmp_path, settings=Settings(prompts="visual"))
    visible = [thing((0, 0, 40, 20), (5, 10), (35, 10))]
    write_set(tmp_path / "birds", [("bird", TUBE)], {"train": [visible], "val": [visible]})
    result = evaluate("nano-real", Known(repeated), tmp_path, settings=Settings(prompts="visual"))
    assert "glue tube" in result.statement["not asked"]


def test_held_out_pictures_come_from_train_and_their_examples_from_the_rest(tmp_path):
    pictures = [[thing((0, 0, 40, 20), (5, 10), (35, 10))] for _ in range(40)]
    write_set(tmp_path / "tubes", [("glue tube", TUBE)], {"train": pictures})
    source = Known(repeated)
    evaluate("nano-real", source, tmp_path, split="held-out", settings=Settings(prompts="visual"))
    evaluated = {task.record.picture.file for task in source.tasks}
    names = {f"images/train-{n}.png" for n in range(40)}
    assert evaluated == {name for name in names if is_held_out("tubes", name)}
    assert 0 < len(evaluated) < 12
    examples = {one.record.picture.file for t in source.tasks for one in t.questions[0].asked[0].examples}
    assert not examples & evaluated


def test_the_limit_takes_the_same_few_pictures_of_every_set(tree):
    sources = [Known(repeated, batch=batch) for batch in (1, 3)]
    for source in sources:
        evaluate("nano-real", source, tree, settings=Settings(limit=1))
    assert [t.key for t in sources[0].tasks] == [t.key for t in sources[1].tasks]
    assert sorted(t.record.source for t in sources[0].tasks) == ["birds", "tubes"]


def test_damaged_and_missing_pictures_are_named_and_skipped(tree, tmp_path):
    shutil.copytree(tree, tmp_path / "sets")
    folder = tmp_path / "sets/tubes/images"
    whole = (folder / "val-1.png").read_bytes()
    (folder / "val-1.png").write_bytes(whole[: len(whole) // 2])
    told = []
    result = evaluate("nano-real", Known(repeated), tmp_path / "sets", fault=told.append)
    assert [fault.key for fault in told] == [fault.key for fault in result.faults] == ["tubes/images/val-1.png"]
    assert result.summary["PCK@0.2/set/tubes"] == 1.0, "the rest of the set is measured"
    (folder / "val-0.png").unlink()
    with pytest.raises(DataError, match="No picture could be asked"):
        evaluate("nano-real", Known(repeated), tmp_path / "sets", only=["tubes"])


def test_a_picture_that_breaks_after_it_was_listed_is_named_and_skipped(tree, tmp_path):
    shutil.copytree(tree, tmp_path / "sets")
    data = EvaluationData.at(tmp_path / "sets", only=["tubes"])
    protocol = load_protocol("nano-real")
    tasks = list(protocol.tasks(data, protocol.usual))
    (tmp_path / "sets/tubes/images/val-1.png").write_bytes(b"no picture")
    result = evaluate(replace(protocol, tasks=lambda data, settings: iter(tasks)), Known(repeated), data)
    assert [fault.key for fault in result.faults][:1] == ["tubes/images/val-1.png"]
    assert "damaged" in result.faults[0].message


def test_a_detector_answers_alike_alone_and_in_a_batch(tree):
    detector = own_detector()
    numbers = [
        evaluate("nano-real", detector, tree, batch=batch, settings=Settings(prompts=kind)).scores.objects
        for batch in (1, 4)
        for kind in ("text", "visual")
    ]
    for one, other in ((0, 2), (1, 3)):
        assert [o.task for o in numbers[one]] == [o.task for o in numbers[other]]
        for a, b in zip(numbers[one], numbers[other], strict=True):
            assert a.errors == pytest.approx(b.errors, abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ["tube"]}, "Did you mean"),
        ({"split": "tset"}, "split"),
        ({"protocol": "nano-reel"}, 'Did you mean "nano-real"'),
    ],
)
def test_mistakes_get_a_message(tree, options, message):
    with pytest.raises((ConfigError, DataError), match=message):
        evaluate(options.pop("protocol", "nano-real"), Known(repeated), tree, **options)


def test_settings_name_all_their_faults():
    with pytest.raises(ConfigError) as error:
        Settings(prompts="txt", shots=9, limit=0, threshold=2.0)  # type: ignore[arg-type]
    assert all(
        word in str(error.value) for word in ('Did you mean "text"', "shots is 9", "limit is 0", "threshold is 2")
    )
