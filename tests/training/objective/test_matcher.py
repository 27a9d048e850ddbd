"""The matcher against all permutations, against numbers worked out by hand, and in its hard cases."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from tests.training.small_targets import HORSE, SIZE, SLOTS, chair, horse, target_batch, targets_of

from xpose.data.loading.batches import Target
from xpose.errors import TrainingError
from xpose.model.types import LayerReport
from xpose.training.objective.matcher import COSTS, Layer, Matcher
from xpose.training.objective.targets import TargetBatch

D = {"dtype": torch.float64}


def random_report(images: int, queries: int, seed: int = 0, *, keypoints: bool = True) -> LayerReport:
    g = torch.Generator().manual_seed(seed)
    rand = lambda *shape: torch.rand(*shape, generator=g, **D)  # noqa: E731
    return LayerReport(
        logits=rand(images, queries, 2) * 6 - 3,
        boxes=rand(images, queries, 4) * 0.5 + 0.2,
        keypoints=rand(images, queries, SLOTS, 2) if keypoints else None,
    )


def batch_of(*targets: Target) -> TargetBatch:
    return target_batch(targets, **D)


def cheapest(cost: np.ndarray) -> float:
    """The least sum over all ways to give every object a query of its own."""
    queries, objects = cost.shape
    ways = itertools.permutations(range(queries), objects)
    return min(sum(cost[q, m] for m, q in enumerate(way)) for way in ways)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("keypoints", [False, True])
def test_the_assignment_is_the_cheapest_of_all(seed: int, keypoints: bool) -> None:
    targets = batch_of(targets_of(horse(10, 12), chair(60, 30), horse(50, 8)), targets_of(chair(5, 5)))
    report = random_report(2, 5, seed, keypoints=keypoints)
    matcher = Matcher()
    cost = matcher.costs(report, targets).numpy()
    (found,) = matcher([Layer("here", report)], targets)
    assert found.images.tolist() == [0, 0, 0, 1]
    assert sorted(found.objects.tolist()) == [0, 0, 1, 2]
    for image in (0, 1):
        own = found.images == image
        assert len(set(found.queries[own])) == own.sum(), "no query answers for two objects"
        wanted = cost[image][:, targets.columns[image]]
        paid = cost[image, found.queries[own], found.objects[own]].sum()
        assert paid == pytest.approx(cheapest(wanted))
        assert paid == pytest.approx(wanted[linear_sum_assignment(wanted)].sum())


def test_several_layers_at_once_are_matched_as_each_alone() -> None:
    targets = batch_of(targets_of(horse(10, 12), chair(60, 30)), targets_of(chair(5, 5)))
    layers = [Layer(str(s), random_report(2, 4 + s, s, keypoints=s > 1)) for s in range(4)]
    for layer, together in zip(layers, Matcher()(layers, targets), strict=True):
        (alone,) = Matcher()([layer], targets)
        for name in ("images", "queries", "objects"):
            assert getattr(alone, name).tolist() == getattr(together, name).tolist()


def test_costs_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """One query, one object, one cost at a time."""
    targets = batch_of(targets_of(horse(10, 12)))
    true = targets.boxes[0, 0]
    moved = targets.keypoints[0, 0].clone()
    moved[HORSE.index("nose"), 0] += 6 / SIZE[0]  # 6 pixels; three points are labelled
    report = LayerReport(
        logits=torch.tensor([[[math.log(4), 0]]], **D),
        boxes=(true + torch.tensor([0.1, 0, 0, 0], **D))[None, None],
        keypoints=moved[None, None],
    )
    bare = replace(report, keypoints=None)

    def cost(report: LayerReport, **weights: float) -> float:
        for name in COSTS:
            monkeypatch.setitem(COSTS, name, weights.get(name, 0.0))
        return Matcher().costs(report, targets).item()

    focal = 0.25 * 0.04 * -math.log(0.8) - 0.75 * 0.64 * -math.log(0.2)
    assert cost(report, classification=2.0) == pytest.approx(2 * focal)
    assert cost(bare, box_l1=5.0) == pytest.approx(0.5)
    assert cost(report, box_l1=5.0, box_share=0.1) == pytest.approx(0.05)
    overlap = (24 - 9.6) / (24 + 9.6)  # the hull is full, since the boxes share their height
    assert cost(bare, giou=2.0) == pytest.approx(2 * (1 - overlap))
    assert cost(report, keypoint_l1=10.0) == pytest.approx(10 * 17 / 3 * 6 / 96)
    sigma = targets.sigmas[0, 0, HORSE.index("nose")].item()
    similarity = math.exp(-36 / (2 * 24 * 16 * (2 * sigma) ** 2))
    assert cost(report, oks=4.0) == pytest.approx(4 * (1 - similarity) / 3)


def test_an_object_without_points_is_matched_by_its_whole_box() -> None:
    """And not by keypoints that nobody labelled, nor at the low weight that boxes have beside keypoints."""
    targets = batch_of(targets_of(horse(10, 12, labelled=False)))
    report = random_report(1, 6)
    with_points = Matcher().costs(report, targets)
    torch.testing.assert_close(with_points, Matcher().costs(replace(report, keypoints=None), targets))


def test_only_allowed_pairs_are_made() -> None:
    targets = batch_of(targets_of(horse(10, 12), chair(60, 30)))
    report = random_report(1, 4)
    allowed = torch.zeros(1, 4, 2, dtype=torch.bool)
    allowed[0, 3, 0] = True  # the horse may only have the last query, the chair none at all
    (found,) = Matcher()([Layer("here", report, allowed)], targets)
    assert (found.images.tolist(), found.queries.tolist(), found.objects.tolist()) == ([0], [3], [0])


def test_ignored_objects_and_padding_are_never_matched() -> None:
    crowd = replace(horse(40, 5), ignore=True)
    targets = batch_of(
        targets_of(crowd, chair(60, 30)), targets_of(), targets_of(horse(1, 1), horse(50, 8), chair(3, 3))
    )
    (found,) = Matcher()([Layer("here", random_report(3, 5))], targets)
    pairs = sorted(zip(found.images.tolist(), found.objects.tolist(), strict=True))
    assert pairs == [(0, 0), (2, 0), (2, 1), (2, 2)]


def test_more_objects_than_queries_and_no_object_at_all() -> None:
    targets = batch_of(targets_of(horse(10, 12), chair(60, 30), horse(50, 8)))
    (found,) = Matcher()([Layer("here", random_report(1, 2))], targets)
    assert sorted(found.queries.tolist()) == [0, 1]
    (found,) = Matcher()([Layer("here", random_report(1, 2))], batch_of(targets_of()))
    assert len(found) == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["logits", "boxes", "keypoints"])
def test_answers_that_are_not_finite_are_named(value: float, where: str) -> None:
    report = random_report(2, 4)
    getattr(report, where)[1, 2, 0] = value
    targets = batch_of(targets_of(horse(10, 12)), targets_of(horse(10, 12)))
    with pytest.raises(TrainingError, match=r"layer keypoint 2 for image 1.*lower the learning rate"):
        Matcher()([Layer("keypoint 2", report, torch.zeros(2, 4, 1) > 0)], targets)


def test_matching_leaves_no_gradients() -> None:
    report = random_report(1, 4)
    report.boxes.requires_grad_()
    Matcher()([Layer("here", report)], batch_of(targets_of(horse(10, 12))))
    assert report.boxes.grad is None
