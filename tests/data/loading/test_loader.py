"""The loader: the same batches for the same seed on any workers and ranks, from files and memory."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.data.pools import category, dot_pool, dotted, record, spread
from tests.data.trees import SHARED

from xpose.data.collection.store import CocoSet
from xpose.data.loading.examples import ExampleFinder, ExampleSettings
from xpose.data.loading.labelling import Labelling
from xpose.data.loading.loader import Loader, Prompting
from xpose.data.loading.pictures import Pictures
from xpose.data.loading.pool import Pool, open_pool
from xpose.data.loading.sampling import Sampling
from xpose.data.loading.transforms import Augmentation
from xpose.data.synthetic.scenes import write_synthetic
from xpose.errors import ConfigError, DataError
from xpose.records import Instance

pytest.importorskip("cv2", reason="the extra 'data' is not installed")

RICH = Augmentation(size=64, mosaic=0.4, copy_paste=0.4)
SMALL_EXAMPLES = ExampleSettings(side=48, least_side=20, shots=(1, 3))
PROMPTS = Prompting(visual=0.4, combined=0.2, examples=SMALL_EXAMPLES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets") / "synthetic"
    write_synthetic(folder, 40, seed=1, size=(160, 120))
    return folder


@pytest.fixture(scope="module")
def pool(folder):
    return open_pool([folder], "train")


def loader_of(pool, **more):
    return Loader(pool, **{"batch": 4, "seed": 5, "augmentation": RICH, "prompting": PROMPTS} | more)


def same(one, other):
    """Whether two batches are equal to the last bit."""
    assert (one.step, one.mode, one.limit) == (other.step, other.mode, other.limit)
    for name in ("images", "sizes", "crops"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    for a, b in zip(one.targets, other.targets, strict=True):
        assert (a.asked, a.source, a.file, a.pictures) == (b.asked, b.source, b.file, b.pictures)
        for name in ("labels", "boxes", "points", "ignored", "ignored_labels", "matrix"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name
    assert one.shots.keys() == other.shots.keys()
    for key in one.shots:
        pairs = zip(one.shots[key], other.shots[key], strict=True)
        assert all(a.instance == b.instance and torch.equal(a.points, b.points) for a, b in pairs)
    return True


# --- determinism ---------------------------------------------------------------------------------------------------


def test_a_loader_can_be_sent_to_another_process(pool):
    """Where processes are not forked, workers get a pickled copy."""
    loader = loader_of(pool)
    first = loader.batch(0)
    assert same(first, pickle.loads(pickle.dumps(loader)).batch(0))


@pytest.mark.parametrize("how", [{"workers": 2}, {"threads": 2}], ids=str)
def test_workers_and_threads_change_nothing(pool, how):
    alone = [loader_of(pool).batch(number) for number in range(6)]
    together = list(loader_of(pool, **how).steps(0, 6))
    assert len(together) == 6
    assert all(same(a, b) for a, b in zip(alone, together, strict=True))


def test_a_resumed_run_sees_what_it_would_have_seen(pool):
    whole = list(loader_of(pool).steps(0, 12))
    again = list(loader_of(pool).steps(7, 12))
    assert all(same(a, b) for a, b in zip(whole[7:], again, strict=True))
    assert len({tuple(t.pictures for t in batch.targets) for batch in whole}) > 6


def test_another_seed_is_another_run(pool):
    assert not torch.equal(loader_of(pool).batch(0).images, loader_of(pool, seed=6).batch(0).images)


def test_ranks_share_the_whole_batch(pool):
    whole, parts = loader_of(pool, batch=6), [loader_of(pool, batch=3, rank=rank, ranks=2) for rank in range(2)]
    assert whole.steps_per_epoch == parts[0].steps_per_epoch
    for number in range(5):
        expected, found = whole.batch(number), [part.batch(number) for part in parts]
        assert {part.mode for part in found} == {expected.mode}
        assert torch.equal(torch.cat([part.images for part in found]), expected.images)
        for a, b in zip((*found[0].targets, *found[1].targets), expected.targets, strict=True):
            assert a.asked == b.asked
            assert torch.equal(a.points, b.points)


def test_modes_come_as_often_as_asked(pool):
    modes = [loader_of(pool).mode(number) for number in range(400)]
    assert 120 <= modes.count("visual") <= 200
    assert 50 <= modes.count("combined") <= 110


# --- what a batch holds --------------------------------------------------------------------------------------------


def test_batches_hold_what_they_say(pool):
    for batch in loader_of(pool).steps(0, 30):
        assert batch.images.dtype == torch.uint8
        assert batch.images.shape == (4, 3, 64, 64)
        assert len(batch) == 4
        assert not batch.padding.any()
        for target in batch.targets:
            widths = [len(entry.kind) for entry in target.asked]
            assert max(widths) <= batch.limit
            assert target.points.shape[1] <= batch.limit
            categories = [entry.kind.category for entry in target.asked]
            assert len(set(categories)) == len(categories)
            present = {row for row, entry in enumerate(target.asked) if entry.present}
            assert set(target.labels.tolist()) == present
            assert (target.boxes[:, 2:] > target.boxes[:, :2]).all()
            assert (target.boxes >= 0).all()
            assert (target.boxes <= 64).all()
            for row in range(len(target.labels)):
                assert set(target.keypoints(row)) <= set(target.asked[int(target.labels[row])].kind.names)
                assert all(0 <= x < 64 and 0 <= y < 64 for x, y, _ in target.keypoints(row).values())


def test_absent_kinds_are_not_in_the_picture(pool):
    shown = {pool.file(n): {pool.kinds[k].category for k in pool.kinds_in(n)} for n in range(len(pool))}
    some = 0
    for batch in loader_of(pool, prompting=Prompting(visual=0, absent=(0, 3))).steps(0, 20):
        for target in batch.targets:
            there = set().union(*(shown[pool.file(number)] for number in target.pictures))
            absent = [entry for entry in target.asked if not entry.present]
            assert len(absent) <= 3
            assert all(entry.complete for entry in absent)
            assert not {entry.kind.category for entry in absent} & there
            some += len(absent)
    assert some > 20


def test_a_set_that_is_not_exhaustive_brings_no_negatives(tmp_path):
    dots = dot_pool(tmp_path, [(64, 64)] * 3)
    items = [(record(dots.file(n), (64, 64), [Instance(category(name, "person"), (0.0, 0.0, 64.0, 64.0))], "lspet"),
              Path(dots.path(n))) for n, name in enumerate(("person", "child", "baby"))]  # fmt: skip
    for batch in loader_of(Pool(items), prompting=Prompting(visual=0)).steps(0, 4):
        for target in batch.targets:
            assert all(entry.present and not entry.complete for entry in target.asked)


def test_examples_come_from_other_pictures_and_show_their_points(pool):
    some = 0
    for batch in loader_of(pool, prompting=Prompting(visual=1.0, examples=SMALL_EXAMPLES)).steps(0, 10):
        assert batch.mode == "visual"
        own = {number for target in batch.targets for number in target.pictures}
        keys = {entry.kind.key for target in batch.targets for entry in target.asked}
        assert set(batch.shots) <= keys
        assert sorted(shot.row for shots in batch.shots.values() for shot in shots) == list(range(len(batch.crops)))
        for key, shots in batch.shots.items():
            assert 1 <= len(shots) <= 3
            assert len({shot.picture for shot in shots}) == len(shots)
            for shot in shots:
                some += 1
                assert shot.picture not in own
                assert shot.kind.key == key
                original = pool.labels(shot.picture).points[shot.instance - int(pool.first[shot.picture])]
                assert 2 * (original[:, 2] == 2).sum() >= len(shot.kind)
                points = shot.points[shot.points[:, 2] > 0][:, :2]
                assert len(points)
                assert (points >= 0).all()
                assert (points < 48).all()
    assert some > 30


def test_words_alone_decode_no_examples(pool):
    batch = loader_of(pool, prompting=Prompting(visual=0)).batch(0)
    assert batch.mode == "text"
    assert len(batch.crops) == len(batch.shots) == 0


def test_small_objects_serve_as_examples_where_there_are_no_larger_ones(tmp_path):
    pool = dot_pool(tmp_path, [(40, 40), (40, 40), (200, 200)])
    finder = ExampleFinder(Pictures(pool), ExampleSettings(least_side=64))
    assert len(finder.fit[0]) == 3
    assert (
        len(ExampleFinder(Pictures(dot_pool(tmp_path, [(40, 40), (99, 99), (200, 200)])), ExampleSettings()).fit[0])
        == 2
    )
    rng = np.random.default_rng(0)
    assert sorted(finder.find(rng, 0, 5, without={1})) == [0, 2]
    assert finder.find(rng, 0, 2, without={0, 1, 2}) == []


def test_cut_outs_hold_the_object_with_its_margin(tmp_path):
    person = category("person", "person")
    points = {name: (x + 100, y + 50) for name, (x, y) in spread(person.keypoints, (80, 60)).items()}
    dotted((300, 200), points, 3).save(tmp_path / "a.png")
    labelled = {name: (float(x), float(y), 2) for name, (x, y) in points.items()}
    instance = Instance(person, (100.0, 50.0, 80.0, 60.0), labelled)
    pool = Pool([(record("a.png", (300, 200), [instance]), tmp_path / "a.png")])
    settings = ExampleSettings(
        side=100, rotation=0, flip=0, colours=replace(ExampleSettings().colours, share=0, grey=0)
    )
    example = ExampleFinder(Pictures(pool), settings).cut(np.random.default_rng(0), 0)
    np.testing.assert_allclose(example.box, [10, 20, 90, 80], atol=1e-4)  # 100 / (1.25 * 80) = 1 pixel per pixel
    for name, (x, y, v) in example.keypoints.items():
        assert (x, y, v) == (points[name][0] + 0.5 - 90, points[name][1] + 0.5 - 30, 2)
        assert example.pixels[int(y), int(x)].max() > 200


def test_pictures_of_different_shapes_are_padded(tmp_path):
    pool = dot_pool(tmp_path, [(120, 80), (80, 120), (100, 100)])
    settings = Augmentation(size=None, sides=(64,), longest=90).plain()
    batch = loader_of(pool, augmentation=settings, batch=3, prompting=Prompting(visual=0)).batch(0)
    assert batch.images.shape[2:] == (90, 90)
    assert sorted(map(tuple, batch.sizes.tolist())) == [(60, 90), (64, 64), (90, 60)]
    for image, (height, width), padding in zip(batch.images, batch.sizes.tolist(), batch.padding, strict=True):
        below = image[:, height:].reshape(3, -1).T
        assert (below == torch.tensor([124, 116, 104])).all()
        assert (~padding).sum() == height * width
        assert not padding[:height, :width].any()


def test_pictures_without_objects_are_asked_for_something(tmp_path):
    dots = dot_pool(tmp_path, [(64, 64)] * 2)
    person = Instance(category("person", "person"), (0.0, 0.0, 64.0, 64.0))
    items = [(record(dots.file(n), (64, 64), [person][:n]), Path(dots.path(n))) for n in range(2)]
    loader = loader_of(Pool(items), prompting=Prompting(visual=0, absent=(1, 1)), sampling=Sampling(buckets=(20,)))
    empty = [t for batch in loader.steps(0, 4) for t in batch.targets if t.pictures == (0,)]
    assert empty
    assert all([(e.kind.category, e.present, e.complete) for e in t.asked] == [("person", False, True)] for t in empty)
    assert all(t.boxes.shape == (0, 4) and t.points.shape == (0, 0, 3) for t in empty)


def test_some_pictures_are_asked_only_for_what_they_do_not_show(pool):
    def only_absent(share):
        prompting = Prompting(visual=0, absent=(0, 3), only_absent=share)
        targets = [t for batch in loader_of(pool, prompting=prompting).steps(0, 40) for t in batch.targets]
        return [t for t in targets if not any(entry.present for entry in t.asked)], len(targets)

    assert not only_absent(0.0)[0]
    found, count = only_absent(0.5)
    assert 0.2 * count < len(found) < 0.6 * count  # some pictures lack nothing that could be asked
    for target in found:
        assert target.asked
        assert all(entry.complete for entry in target.asked)
        assert len(target.labels) == len(target.boxes) == len(target.points) == 0
        assert not set(target.ignored_labels.tolist()) - {-1}


def test_points_without_a_label_are_absent_only_where_the_set_says_so(tmp_path):
    person = category("person", "person")
    size = (64, 64)
    points = {name: (float(x), float(y), 2) for name, (x, y) in spread(person.keypoints, size).items()}
    del points["nose"]
    box = (0.0, 0.0, 64.0, 64.0)
    dots = dot_pool(tmp_path, [size])
    shown = [Instance(person, box, points), Instance(person, box)]  # of the second nothing is labelled
    items = [(record(dots.file(0), size, shown), Path(dots.path(0)))]

    for labelling, whole in ({}, False), ({"dots": Labelling(points=True)}, True):
        pool = Pool(items, labelling=labelling)
        plain = Augmentation(size=64).plain()
        loader = loader_of(pool, batch=1, prompting=Prompting(visual=0), augmentation=plain)
        (target,) = next(loader.steps(0, 1)).targets
        assert target.whole == whole
        assert set(person.keypoints) - set(target.keypoints(0)) == {"nose"}
        assert not target.keypoints(1)
    turned = loader_of(pool, augmentation=Augmentation(size=64, scale=(2.0, 2.0), least_share=0.01))
    targets = [target for batch in turned.steps(0, 3) for target in batch.targets]
    assert all(target.whole for target in targets), "what a crop cuts off is absent too"
    assert any(0 < len(target.keypoints(row)) < 16 for target in targets for row in range(len(target.labels)))


def test_mixed_pictures_of_a_one_sided_kind_know_nothing_of_absent_points(tmp_path):
    """Mirrored it has right points; in a mosaic of both a class has left and right ones, of which each shows one."""
    sided = category("person", "person", ("left_eye", "left_ear"))
    size = (64, 64)
    points = {name: (float(x), float(y), 2) for name, (x, y) in spread(sided.keypoints, size).items()}
    dots = dot_pool(tmp_path, [size])
    items = [(record(dots.file(0), size, [Instance(sided, (0, 0, 64, 64), points)]), Path(dots.path(0)))] * 4
    mixed = Augmentation(size=64, mosaic=1.0)
    loader = loader_of(Pool(items, labelling={"dots": Labelling(points=True)}), augmentation=mixed)
    both = [t for batch in loader.steps(0, 9) for t in batch.targets if any(len(e.kind) == 4 for e in t.asked)]
    assert both
    assert not any(target.whole for target in both)


def test_batches_move_and_pin(pool):
    batch = loader_of(pool).batch(1)
    assert same(batch, batch.to("cpu"))
    assert batch.to("meta").targets[0].boxes.device.type == "meta"
    assert batch.to("meta").padding.device.type == "meta"


# --- sources -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1])
def test_a_lost_picture_is_named(tmp_path, workers):
    pool = dot_pool(tmp_path, [(64, 64)] * 3)
    for path in tmp_path.glob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"The picture .*\d\.png"):
        list(loader_of(pool, workers=workers).steps(0, 2))


def test_pools_tell_what_is_not_there(folder, tmp_path):
    with pytest.raises(DataError, match="no split"):
        open_pool([folder], "trian")
    with pytest.raises(DataError, match="no labelled pictures"):
        open_pool([tmp_path])
    with pytest.raises(DataError, match='no set "synthetics"'):
        open_pool([folder], only=["synthetics"])
    with pytest.raises(DataError, match="left out"):
        open_pool([folder], keep=lambda record: None)
    with pytest.raises(DataError, match="no labelled picture"):
        Pool([])


def test_records_can_be_chosen_and_changed(folder, pool):
    def without_people(one):
        rest = tuple(i for i in one.instances if i.category.name != "toy face")
        return replace(one, instances=rest) if len(rest) > 1 else None

    found = open_pool([folder], keep=without_people)
    assert "toy face" in {kind.category for kind in pool.kinds}
    assert "toy face" not in {kind.category for kind in found.kinds}
    assert 0 < len(found) < len(pool)


def test_a_pool_holds_what_its_records_say(folder, pool):
    for number, one in enumerate(CocoSet(folder / "train.json")):
        labels = pool.labels(number)
        assert pool.file(number) == one.picture.file
        assert pool.size(number) == (one.picture.width, one.picture.height)
        assert (pool.set_name(number), pool.style(number)) == (one.source, one.style)
        assert len(labels) == len(one.instances)
        for row, instance in enumerate(one.instances):
            x, y, width, height = instance.box
            np.testing.assert_allclose(labels.boxes[row], (x, y, x + width, y + height), rtol=1e-5)
            assert labels.kinds[labels.label[row]].category == instance.category.name
            expected = {name: (px + 0.5, py + 0.5, v) for name, (px, py, v) in instance.keypoints.items()}
            found = labels.keypoints(row)
            assert found.keys() == expected.keys()
            assert all(found[name] == pytest.approx(expected[name], rel=1e-5) for name in found)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"workers": -1}, "workers"),
        ({"rank": 2, "ranks": 2}, "rank"),
        ({"batch": 0}, "batch of 0"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_numbers_are_named(pool, wrong, message):
    with pytest.raises(ConfigError, match=message):
        loader_of(pool, **wrong)


def test_points_between_the_labelled_ones_are_the_same_in_pictures_and_examples(pool):
    plain = loader_of(pool, prompting=replace(PROMPTS, visual=1.0, combined=0.0))
    between = loader_of(pool, prompting=replace(PROMPTS, visual=1.0, combined=0.0, between=1.0))
    moved = kept = 0
    for number in range(12):
        before, after = plain.batch(number), between.batch(number)
        for name in ("images", "sizes", "crops"):
            assert torch.equal(getattr(before, name), getattr(after, name)), name
        # By kind and point: the points of an object before, and where the named one went.
        seen: dict[tuple, list[tuple[dict, tuple]]] = {}
        for key, shots in before.shots.items():
            for old, new in zip(shots, after.shots[key], strict=True):
                named = {n: p for n, p in zip(old.kind.names, old.points.tolist(), strict=True) if p[2]}
                for n, point in zip(new.kind.names, new.points.tolist(), strict=True):
                    seen.setdefault((key, n), []).append((named, tuple(point)))
        shown = {key for key, rows in seen.items() if any(point[2] for _, point in rows)}
        for old, new in zip(before.targets, after.targets, strict=True):
            assert (old.asked, new.whole) == (new.asked, False)
            assert torch.equal(old.boxes, new.boxes)
            for row in range(len(old.labels)):
                key = old.asked[int(old.labels[row])].kind.key
                found = new.keypoints(row)
                assert {(key, n) for n in found} <= shown, "where no example shows it, nobody can know it"
                for n in old.asked[int(old.labels[row])].kind.names:
                    if (key, n) in shown:
                        seen[key, n].append((old.keypoints(row), found.get(n, (0, 0, 0))))
        for (key, n), rows in seen.items():
            every = {m for shot in before.shots[key] for m in shot.kind.names}
            assert any(on_one_line(rows, n, other) for other in every), n
            kept += sum(bool(point[2]) for _, point in rows)
            moved += sum(bool(point[2]) and not np.allclose(named[n][:2], point[:2]) for named, point in rows)
    assert moved > kept / 3 > 20


def on_one_line(rows, name, other):
    """Whether a point has gone the same share of the way to another one in all of them, where both are labelled."""
    shares = []
    for named, point in rows:
        if (name in named and other in named) != bool(point[2]):
            return False
        if point[2]:
            start, end, here = (np.array(p[:2]) for p in (named[name], named[other], point))
            way = end - start
            share = float((here - start) @ way / max(1e-9, way @ way))
            if not np.allclose(start + share * way, here, atol=1e-2):
                return False
            if np.linalg.norm(way) > 5:
                shares.append(share)
    return not shares or (np.ptp(shares) < 0.01 and -0.01 <= shares[0] <= 1.01)


def test_points_between_are_for_examples_alone(pool):
    for changes in ({"visual": 0.0, "combined": 0.0}, {"visual": 0.0, "combined": 1.0}):
        plain, between = (loader_of(pool, prompting=replace(PROMPTS, **changes, between=b)) for b in (0.0, 1.0))
        assert all(same(plain.batch(number), between.batch(number)) for number in range(4))


@pytest.mark.parametrize(
    "wrong",
    [{"visual": 0.7, "combined": 0.7}, {"absent": (3, 1)}, {"only_absent": 1.0}, {"between": 1.5}, {"further": -1}],
    ids=str,
)
def test_wrong_prompting_is_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Prompting(**wrong)


def test_the_collected_sets_load():
    if not Path(SHARED).is_dir():
        pytest.skip(f"{SHARED} is not here: the collected sets are not part of the project")
    pool = open_pool([SHARED], "val")
    loader = loader_of(pool, batch=8, augmentation=replace(RICH, size=96))
    index = json.loads((Path(SHARED) / "index.json").read_text())
    assert set(pool.sets) == {one["name"] for one in index if one["val"]}, "those without a val part are no fault"
    assert len(pool) == sum(one["val"] for one in index)
    sets = {target.source for batch in loader.steps(0, 10) for target in batch.targets}
    assert len(sets) > 8
    assert loader.keep_pictures(3) > 50
