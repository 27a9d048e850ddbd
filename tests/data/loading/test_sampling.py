"""Which pictures a step shows, and which categories a picture certainly does not show."""

import json
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.data.pools import bare_pool, category
from tests.data.trees import SHARED

from xpose.data.loading.labelling import Labelling, known_labelling, labelling_beside, labelling_of, related
from xpose.data.loading.loader import Absences
from xpose.data.loading.pool import open_pool
from xpose.data.loading.sampling import Sampling, SamplingPlan, buckets_of, systematic, weights_of
from xpose.errors import ConfigError, DataError
from xpose.evaluation.data import EvaluationData

DOG, CAT, COW = (category(name, "animal_pose") for name in ("dog", "cat", "cow"))
PERSON, FACE, TUBE = category("person", "person"), category("face", "face"), category("glue tube", "glue_tube")
FLAT = Sampling(sets="none", categories="none")


def shown(plan, steps):
    return Counter(picture for number in steps for picture in plan.step(number).pictures)


@pytest.mark.parametrize(
    ("sets", "expected"),
    [("none", (100, 400)), ("sqrt", (10, 20)), ("uniform", (1, 1))],
)
def test_sets_are_balanced_as_asked(sets, expected):
    pool = bare_pool({"a": [[DOG]] * 100, "b": [[PERSON]] * 400})
    counts = weights_of(pool, Sampling(sets=sets, categories="none", most_repeats=99))
    shares = [counts[pool.set_of == number].sum() for number in range(2)]
    assert shares[0] / shares[1] == pytest.approx(expected[0] / expected[1])
    assert sum(shares) == pytest.approx(500)


@pytest.mark.parametrize(("categories", "expected"), [("none", 9), ("sqrt", 3), ("uniform", 1)])
def test_categories_are_balanced_within_a_set(categories, expected):
    pool = bare_pool({"a": [[DOG]] * 90 + [[CAT]] * 10})
    weights = weights_of(pool, Sampling(sets="none", categories=categories))
    assert weights[:90].sum() / weights[90:].sum() == pytest.approx(expected)


def test_a_picture_counts_as_the_rarest_of_its_categories():
    pool = bare_pool({"a": [[DOG]] * 90 + [[DOG, CAT]] * 10})
    weights = weights_of(pool, Sampling(categories="uniform"))
    assert weights[-1] / weights[0] == pytest.approx(10)


def test_set_weights_multiply_and_zero_leaves_out():
    pool = bare_pool({"a": [[DOG]] * 10, "b": [[CAT]] * 10, "c": [[COW]] * 10})
    weights = weights_of(pool, Sampling(set_weights={"a": 3.0, "b": 0.0}))
    assert weights[:10].sum() == pytest.approx(3 * weights[20:].sum())
    assert (weights[10:20] == 0).all()
    plan = SamplingPlan(pool, Sampling(set_weights={"b": 0.0}), 4, 0)
    assert not set(shown(plan, range(3 * plan.steps_per_epoch))) & set(range(10, 20))


def test_no_picture_is_shown_more_than_the_limit():
    pool = bare_pool({"a": [[DOG]] * 2, "b": [[PERSON]] * 998})
    weights = weights_of(pool, Sampling(sets="uniform", most_repeats=5))
    assert weights.max() == pytest.approx(5)
    assert weights.sum() == pytest.approx(1000)


def test_an_epoch_shows_every_picture_as_often_as_its_weight_says():
    pool = bare_pool({"a": [[DOG]] * 40, "b": [[CAT]] * 160})
    plan = SamplingPlan(pool, Sampling(), 10, seed=7)
    for epoch in range(3):
        counts = shown(plan, range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch))
        scale = plan.steps_per_epoch * 10 / plan.weights.sum()
        for picture, weight in enumerate(plan.weights * scale):
            assert abs(counts[picture] - weight) < 1


def test_without_balance_an_epoch_is_a_shuffle():
    plan = SamplingPlan(bare_pool({"a": [[DOG]] * 60}), FLAT, 6, seed=1)
    assert plan.steps_per_epoch == 10
    orders = [[p for s in range(e * 10, e * 10 + 10) for p in plan.step(s).pictures] for e in range(2)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(60))
    assert orders[0] != orders[1] != list(range(60))


def test_repeats_of_a_picture_seldom_meet_in_a_batch():
    pool = bare_pool({"a": [[DOG]] * 10, "b": [[CAT]] * 190})
    plan = SamplingPlan(pool, Sampling(sets="uniform", most_repeats=99), 10, seed=0)
    batches = [plan.step(number).pictures for number in range(plan.steps_per_epoch)]
    assert sum(len(batch) - len(set(batch)) for batch in batches) < 0.1 * 10 * len(batches)


@given(st.lists(st.floats(0.01, 50), min_size=1, max_size=40), st.integers(1, 300), st.integers(0, 99))
def test_systematic_draws_are_rounded_shares(weights, count, seed):
    weights = np.array(weights)
    drawn = systematic(np.random.default_rng(seed), weights, count)
    expected = weights / weights.sum() * count
    found = np.bincount(drawn, minlength=len(weights))
    assert len(drawn) == count
    assert (np.abs(found - expected) < 1 + 1e-6).all()


def test_batches_hold_one_bucket():
    pool = bare_pool({"a": [[TUBE]] * 20 + [[DOG]] * 20, "b": [[PERSON]] * 20 + [[PERSON, FACE]] * 20})
    plan = SamplingPlan(pool, Sampling(), 4, 0)
    seen = set()
    for number in range(plan.steps_per_epoch):
        step = plan.step(number)
        most = {max(pool.lengths[list(pool.kinds_in(picture))]) for picture in step.pictures}
        assert {plan.bucket_of[picture] for picture in step.pictures} == {step.bucket}
        below = plan.limits[step.bucket - 1] if step.bucket else 0
        assert all(below < count <= step.limit for count in most)
        seen.add(step.limit)
    assert seen == {8, 20, 68}


def test_more_points_than_the_last_bucket_make_one_more():
    pool = bare_pool({"a": [[TUBE], [FACE], []]})
    numbers, limits = buckets_of(pool, (8, 20))
    assert limits == (8, 20, 68)
    assert numbers.tolist() == [0, 2, 0]
    assert buckets_of(pool, ())[1] == (68,)


def test_the_order_depends_on_the_seed_and_the_step_alone():
    pool = bare_pool({"a": [[DOG], [CAT], [FACE]] * 30})
    plan = SamplingPlan(pool, Sampling(), 8, seed=3)
    forwards = [plan.step(number) for number in range(40)]
    backwards = [SamplingPlan(pool, Sampling(), 8, seed=3).step(number) for number in reversed(range(40))]
    assert forwards == backwards[::-1]
    assert pickle.loads(pickle.dumps(plan)).step(17) == forwards[17]
    assert [SamplingPlan(pool, Sampling(), 8, seed=4).step(number) for number in range(40)] != forwards


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sets": "cubic"}, "cubic"),
        ({"buckets": (20, 8)}, "buckets"),
        ({"most_repeats": 0.5}, "most_repeats"),
        ({"epoch": 0}, "epoch"),
        ({"set_weights": {"a": -1.0}}, "set_weights"),
    ],
)
def test_wrong_settings_are_named(wrong, message):
    with pytest.raises(ConfigError, match=message):
        Sampling(**wrong)


def test_weights_for_sets_that_are_not_there_are_refused():
    pool = bare_pool({"animals": [[DOG]]})
    with pytest.raises(ConfigError, match='Did you mean "animals"'):
        weights_of(pool, Sampling(set_weights={"animal": 2.0}))
    with pytest.raises(ConfigError, match="above 0"):
        weights_of(pool, Sampling(set_weights={"animals": 0.0}))
    with pytest.raises(ConfigError, match="batch of 0"):
        SamplingPlan(pool, Sampling(), 0, 0)


# --- federated negatives -------------------------------------------------------------------------------------------

SETS = {
    "animals": [[DOG], [CAT, COW], []],
    "people": [[PERSON]],
    "lab": [[TUBE]],
    "herd": [[COW], [category("horse", "animal_pose")]],
}
ALL = ["dog", "cat", "cow", "horse", "person", "glue tube"]


def absent(pool, absences, file, source):
    number = next(i for i in range(len(pool)) if (pool.file(i), pool.set_name(i)) == (file, source))
    return set(absences.absent(number, ALL))


def test_only_what_a_set_labels_can_be_absent():
    pool = bare_pool(SETS, {"lab": Labelling(closed=True), "herd": Labelling(exhaustive=False)})
    absences = Absences(pool)
    assert absent(pool, absences, "0.jpg", "animals") == {"cat", "cow"}
    assert absent(pool, absences, "1.jpg", "animals") == {"dog"}
    assert absent(pool, absences, "2.jpg", "animals") == {"dog", "cat", "cow"}
    assert absent(pool, absences, "0.jpg", "people") == set()  # nobody looked for dogs there
    assert absent(pool, absences, "0.jpg", "lab") == {"dog", "cat", "cow", "horse", "person"}
    assert absent(pool, absences, "0.jpg", "herd") == set()  # a horse may stand behind the cow


def test_a_set_that_labels_one_category_knows_nothing_of_others():
    pool = bare_pool(SETS)
    absences = Absences(pool)
    assert absences.rule(3).labelled == {"person"}
    assert absences.absent(3, ["dog", "cat"]) == []
    assert absences.absent(0, ["cat", "cow"], present=["cow"]) == ["cat"]


def test_a_set_may_be_known_not_to_show_what_it_does_not_label():
    sets = {**SETS, "people": [[PERSON], [PERSON]]}
    rules = {"people": Labelling(absent=("animal", "glue tube"), unsure=frozenset({"1.jpg"}))}
    pool = bare_pool(sets, rules)
    absences = Absences(pool)
    assert absent(pool, absences, "0.jpg", "people") == {"dog", "cat", "cow", "horse", "glue tube"}
    assert absent(pool, absences, "1.jpg", "people") == set()
    pool = bare_pool(sets, {"people": Labelling(absent=("person",))})
    assert "person" not in absent(pool, Absences(pool), "0.jpg", "people")


def test_wider_words_and_related_things_are_never_absent():
    fox, arctic = category("fox", "animal"), category("arctic fox", "animal")
    absences = Absences(bare_pool({"animals": [[fox], [arctic], [DOG]]}))
    assert absences.absent(1, ["fox", "dog"]) == ["dog"]
    assert absences.absent(0, ["arctic fox", "dog"]) == ["dog"]
    fly, other = category("vinegar fly", "fly"), category("fruit fly", "fly_pair")
    lab = Absences(bare_pool({"lab": [[fly]], "other": [[other]]}, {"lab": Labelling(closed=True)}))
    assert lab.absent(0, ["fruit fly"]) == []
    assert related("mouse", "mouse hand at joystick")
    assert related("face", "dog")  # a dog has one
    assert not related("glue tube", "dog")


def test_what_is_known_of_sets_is_stated_with_its_reason():
    known = known_labelling()
    assert not known["lspet"].exhaustive
    assert not known["livestock"].exhaustive
    assert all(entry.why != "not stated" for entry in known.values())
    assert known["animal_pose"].points
    assert not known["mp100"].points


def test_a_folder_says_of_its_own_sets_what_they_label(tmp_path):
    """Its entry replaces the package's."""
    for name in ("lspet", "mine"):
        write_labelled_set(tmp_path / name, ["person", "dog"])
    assert not labelling_beside([tmp_path])
    pool = open_pool([tmp_path])
    assert {name: Absences(pool).rules[i].labelling.exhaustive for i, name in enumerate(pool.sets)} == {
        "lspet": False,
        "mine": True,
    }
    (tmp_path / "labelling.toml").write_text('[mine]\nexhaustive = false\nabsent = ["cat"]\nwhy = "told"\n[lspet]\n')
    pool = open_pool([tmp_path])
    rules = dict(zip(pool.sets, Absences(pool).rules, strict=True))
    assert rules["mine"].labelling == Labelling(exhaustive=False, absent=("cat",), why="told")
    assert rules["lspet"].labelling == Labelling()
    assert labelling_of("mine", labelling_beside([tmp_path])) == rules["mine"].labelling
    assert EvaluationData.at(tmp_path, "train").labelling() == labelling_beside([tmp_path])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[mine", "as TOML"),
        ("mine = 3", "has a table"),
        ("[mine]\nclosd = true", 'Did you mean "closed"'),
        ('[mine]\nclosed = "yes"', "true or false"),
        ("[mine]\nabsent = [1]", "a list of strings"),
        ("[mien]\nclosed = true", 'Did you mean "mine"'),
    ],
)
def test_a_damaged_labelling_file_is_refused(tmp_path, text, message):
    write_labelled_set(tmp_path / "mine", ["person"])
    (tmp_path / "labelling.toml").write_text(text)
    with pytest.raises(DataError, match=message):
        open_pool([tmp_path])


def write_labelled_set(folder, categories):
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(folder / "images" / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(categories)],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 0, "bbox": [1, 1, 20, 20]}],
    }
    (folder / "train.json").write_text(json.dumps(content))


def test_every_set_of_the_collection_has_an_entry():
    index = SHARED / "index.json"
    if not index.is_file():
        pytest.skip(f"the data collection is not at {SHARED}: nothing is tested")
    new = {one["name"] for one in json.loads(index.read_text()) if one["since"] == 2}
    assert len(new) == 47
    assert new <= set(known_labelling())
    street = ("license_plate", "coco_people", "coco_faces", "dog_leash", "qr_code")
    assert not any(known_labelling()[name].closed for name in street)
