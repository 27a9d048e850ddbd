"""The terms against numbers worked out by hand, against finite differences, and by what they must not depend on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from tests.model.conftest import lively, tiny_dense_config
from tests.training.conftest import Batch, small_batch
from tests.training.small_targets import horse, target_batch, targets_of
from torch import Tensor

from xpose.geometry import cxcywh_to_xyxy
from xpose.model import XPose
from xpose.model.types import LayerReport
from xpose.training.objective import terms
from xpose.training.objective.losses import Criterion, LossWeights
from xpose.training.objective.matcher import Assignment, Layer, Matcher, OpenedGroups
from xpose.training.objective.targets import TargetBatch
from xpose.training.objective.terms import TOKENS, assign_tokens, dense_terms

D = {"dtype": torch.float64}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), **D)


def logits_of(*scores: float) -> Tensor:
    return torch.tensor([math.log(s / (1 - s)) for s in scores], **D)


def test_focal_by_hand() -> None:
    """A positive with score .8: .25 · .2² · -ln .8; a negative with score .3: .75 · .3² · -ln .7."""
    loss = terms.focal(logits_of(0.8, 0.3), torch.tensor([True, False]), 0.25, 2.0)
    assert loss.tolist() == pytest.approx([0.25 * 0.04 * -math.log(0.8), 0.75 * 0.09 * -math.log(0.7)])


def test_focal_with_a_wanted_score_by_hand() -> None:
    """.6 wanted, .8 given: between the weights of positives and negatives, and nothing left where it is reached."""
    loss = terms.focal(logits_of(0.8, 0.6), torch.tensor([0.6, 0.6], **D), 0.25, 2.0)
    entropy = -0.6 * math.log(0.8) - 0.4 * math.log(0.2)
    assert loss.tolist() == pytest.approx([(0.25 * 0.6 + 0.75 * 0.4) * 0.04 * entropy, 0.0])


def test_focal_without_focus_is_half_the_cross_entropy() -> None:
    logits, positive = noise(20) * 8 - 4, noise(20, seed=1) < 0.5
    plain = torch.nn.functional.binary_cross_entropy_with_logits(logits, positive.double(), reduction="none")
    torch.testing.assert_close(terms.focal(logits, positive, 0.5, 0.0), plain / 2)


def test_matching_gain_by_hand() -> None:
    gain = terms.focal_gain(logits_of(0.8), 0.25, 2.0)
    assert gain.item() == pytest.approx(0.25 * 0.04 * -math.log(0.8) - 0.75 * 0.64 * -math.log(0.2))


def test_box_terms_by_hand() -> None:
    """Unit squares side by side in a hull of 2 × 1 that they fill: IoU 0, nothing of the hull empty."""
    a, b = torch.tensor([0.5, 0.5, 1, 1], **D), torch.tensor([1.5, 0.5, 1, 1], **D)
    assert terms.box_l1(a, b).item() == 1
    assert terms.giou(a, b).item() == 1
    assert terms.giou(a, a).item() == 0
    far = torch.tensor([3.5, 0.5, 1, 1], **D)  # hull of 4, of which 2 are empty
    assert terms.giou(a, far).item() == 1.5


def test_keypoint_l1_by_hand() -> None:
    """Two labelled points, off by .1 + .2 and 0; the third is not labelled, wherever it is."""
    points = torch.tensor([[[0.1, 0.2], [0.5, 0.5], [9.0, 9.0]]], **D)
    true = torch.tensor([[[0.2, 0.4], [0.5, 0.5], [0.0, 0.0]]], **D)
    labelled = torch.tensor([[True, True, False]])
    assert terms.keypoint_l1(points, true, labelled).tolist() == pytest.approx([17 * 0.3 / 2])
    assert terms.keypoint_l1(points, true, ~labelled & labelled).tolist() == [0]


def test_relative_keypoint_distance_by_hand_near_and_far() -> None:
    """10 and 5 pixels off, of a box 50 × 20 pixels: d = 0.3, in a wide picture as in a high one."""
    for width, height, zoom in ((100, 200, 1), (400, 100, 1), (400, 400, 3)):
        sizes = torch.tensor([[width, height]], **D)
        true = torch.tensor([[[0.5, 0.5], [0.0, 0.0]]], **D)
        points = true + zoom * torch.tensor([[[10, -5], [9, 9]]], **D) / sizes
        boxes = zoom * torch.tensor([[0, 0, 50, 20]], **D) / torch.cat((sizes, sizes), -1)
        labelled = torch.tensor([[True, False]])
        loss = terms.keypoint_relative(points, true, labelled, boxes, sizes)
        assert loss.tolist() == pytest.approx([17 * 0.3 / 1.3])
        assert terms.keypoint_relative(points, true, ~labelled & labelled, boxes, sizes).tolist() == [0]


def test_for_a_whole_person_keypoint_l1_is_the_plain_sum() -> None:
    """So that weights from sets with 17 points keep their meaning."""
    points, true = noise(3, 17, 2), noise(3, 17, 2, seed=1)
    loss = terms.keypoint_l1(points, true, torch.ones(3, 17, dtype=torch.bool))
    torch.testing.assert_close(loss, (points - true).abs().sum((1, 2)))


def pose(distance: float, sizes: tuple[float, float], along: int) -> float:
    """One point off by so many pixels along an axis; object of 40 × 10 pixels, sigma .05."""
    size = torch.tensor(sizes, **D)
    true = torch.full((1, 1, 2), 0.5, **D)
    points = true.clone()
    points[..., along] += distance / sizes[along]
    boxes = torch.tensor([[0.5, 0.5, 40 / sizes[0], 10 / sizes[1]]], **D)
    seen = torch.ones(1, 1, dtype=torch.bool)
    return terms.pose_distance(points, true, seen, boxes, torch.full((1, 1), 0.05, **D), size[None]).item()


def test_oks_term_by_hand_and_the_same_in_every_direction() -> None:
    """d = 2 sigma sqrt(area) = 2 pixels makes OKS exp(-1/2), in a wide picture as in a high one."""
    for sizes in ((400, 100), (100, 400), (200, 200)):
        for along in (0, 1):
            assert pose(2.0, sizes, along) == pytest.approx(1 - math.exp(-0.5))


def test_oks_term_is_nothing_where_nothing_is_labelled() -> None:
    loss = terms.pose_distance(
        noise(2, 3, 2), noise(2, 3, 2), torch.zeros(2, 3) > 0, noise(2, 4), torch.ones(2, 3, **D), noise(2, 2)
    )
    assert loss.tolist() == [0, 0]


def alignment(logits: Tensor, visibility: list[int], absent: list[bool], real: list[bool] | None = None) -> Tensor:
    count = len(visibility)
    is_real = torch.tensor([real or [True] * count])
    return terms.keypoint_alignment(logits, torch.tensor([visibility]), torch.tensor([absent]), is_real, 0.25, 2.0)


POSITIVE = 0.25 * 0.25 * math.log(2)  # focal loss of a logit of 0
NEGATIVE = 0.75 * 0.25 * math.log(2)


@pytest.mark.parametrize(
    ("why", "visibility", "absent", "expected"),
    [
        ("visible: own positive, the other 16 times negative", [2, 0], [False, False], POSITIVE + 16 * NEGATIVE),
        ("hidden: own left open", [1, 0], [False, False], 16 * NEGATIVE),
        ("absent: all negative", [0, 0], [True, False], 17 * NEGATIVE),
        ("nobody labelled it", [0, 0], [False, False], 0),
        ("a mean over the rows", [2, 1], [False, False], (POSITIVE + 32 * NEGATIVE) / 2),
    ],
)
def test_keypoint_alignment_by_hand(why: str, visibility: list[int], absent: list[bool], expected: float) -> None:
    assert alignment(torch.zeros(1, 2, 2, **D), visibility, absent).item() == pytest.approx(expected), why


def test_keypoint_alignment_does_not_see_empty_slots() -> None:
    bare = alignment(noise(1, 3, 3), [2, 2, 1], [False] * 3)
    padded = torch.nn.functional.pad(noise(1, 3, 3), (0, 2, 0, 2), value=7.0)
    result = alignment(padded, [2, 2, 1, 0, 0], [False] * 5, [True] * 3 + [False] * 2)
    torch.testing.assert_close(result, bare)


def test_presence_by_hand() -> None:
    """Seen and hidden are there; the third is known to be absent; of the fourth nothing is known."""
    loss = terms.presence(
        logits_of(0.9, 0.6, 0.3, 0.999)[None],
        torch.tensor([[2, 1, 0, 0]]),
        torch.tensor([[False, False, True, False]]),
    )
    assert loss.item() == pytest.approx(-(math.log(0.9) + math.log(0.6) + math.log(0.7)) / 3)


def test_68_points_weigh_no_more_than_17() -> None:
    """Every one of 17 points four times: the same loss, term by term."""
    many = lambda x, axis: x.repeat_interleave(4, dim=axis)  # noqa: E731
    points, true, boxes = noise(2, 17, 2), noise(2, 17, 2, seed=1), noise(2, 4, seed=2) + 0.1
    visibility = torch.randint(0, 3, (2, 17), generator=torch.Generator().manual_seed(3))
    absent = (visibility == 0) & (noise(2, 17, seed=4) < 0.5)
    sigmas, sizes, labelled = noise(2, 17, seed=5) + 0.05, torch.tensor([[96.0, 64.0]] * 2, **D), visibility > 0
    logits = noise(2, 17, seed=6)
    once = (
        terms.keypoint_l1(points, true, labelled),
        terms.pose_distance(points, true, labelled, boxes, sigmas, sizes),
        terms.presence(logits, visibility, absent),
    )
    often = (
        terms.keypoint_l1(many(points, 1), many(true, 1), many(labelled, 1)),
        terms.pose_distance(many(points, 1), many(true, 1), many(labelled, 1), boxes, many(sigmas, 1), sizes),
        terms.presence(many(logits, 1), many(visibility, 1), many(absent, 1)),
    )
    for a, b in zip(once, often, strict=True):
        torch.testing.assert_close(a, b)


def test_alignment_of_68_points_weighs_no_more_than_that_of_17() -> None:
    """Where every logit says the same, the number of prompts does not matter."""
    losses = [alignment(torch.full((1, k, k), 0.3, **D), [2] * k, [False] * k).item() for k in (17, 68, 5)]
    assert losses == pytest.approx([losses[0]] * 3)


VISIBILITY = torch.tensor([[2, 1, 0], [0, 2, 2]])
ABSENT = torch.tensor([[False, False, True], [False, False, False]])
REAL = torch.tensor([[True, True, True], [True, True, True]])
SIZES = torch.tensor([[96.0, 64.0]], **D)


@pytest.mark.parametrize(
    ("name", "term", "shape"),
    [
        ("focal", lambda x: terms.focal(x * 6 - 3, VISIBILITY > 1, 0.25, 2.0), (2, 3)),
        ("box l1", lambda x: terms.box_l1(x, noise(2, 4, seed=1)), (2, 4)),
        ("giou", lambda x: terms.giou(x + 0.1, noise(2, 4, seed=1) + 0.1), (2, 4)),
        ("keypoint l1", lambda x: terms.keypoint_l1(x, noise(2, 3, 2, seed=1), VISIBILITY > 0), (2, 3, 2)),
        (
            "relative keypoint distance",
            lambda x: terms.keypoint_relative(
                x, noise(2, 3, 2, seed=1), VISIBILITY > 0, noise(2, 4, seed=2) + 0.3, SIZES
            ),
            (2, 3, 2),
        ),
        (
            "oks",
            lambda x: terms.pose_distance(
                x, noise(2, 3, 2, seed=1), VISIBILITY > 0, noise(2, 4, seed=2) + 0.3, noise(2, 3, seed=3) + 0.3, SIZES
            ),
            (2, 3, 2),
        ),
        (
            "keypoint alignment",
            lambda x: terms.keypoint_alignment(x * 6 - 3, VISIBILITY, ABSENT, REAL, 0.25, 2.0),
            (2, 3, 3),
        ),
        ("presence", lambda x: terms.presence(x * 6 - 3, VISIBILITY, ABSENT), (2, 3)),
    ],
)
def test_gradients_against_finite_differences(name: str, term, shape: tuple[int, ...]) -> None:
    x = noise(*shape).requires_grad_()
    assert torch.autograd.gradcheck(term, (x,))
    assert torch.autograd.grad(term(x).sum(), x)[0].abs().sum() > 0, name


def test_a_map_is_cheapest_where_the_point_is() -> None:
    frames = torch.tensor([[0.5, 0.5, 0.4, 0.4]], dtype=torch.float64)
    logits = torch.full((1, 1, 64), -4.0, dtype=torch.float64)
    logits[0, 0, 3 * 8 + 5] = 4.0  # row 3, column 5

    def cost(column: float, row: float, labelled: bool = True) -> float:
        place = torch.tensor([[[0.3 + 0.4 * (column + 0.5) / 8, 0.3 + 0.4 * (row + 0.5) / 8]]], dtype=torch.float64)
        return float(terms.pose_map(logits, frames, place, torch.tensor([[labelled]])))

    assert cost(5, 3) < cost(5.6, 3) < cost(7, 3)
    assert cost(5, 3) < cost(3, 5)
    assert cost(5, 3, labelled=False) == 0
    assert cost(20, 3) == 0  # outside of the frame


def test_the_best_expected_error_is_the_mean_error() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.rand(400, 3, 2, generator=generator, dtype=torch.float64)
    points = true + 0.05 * torch.randn(400, 3, 2, generator=generator, dtype=torch.float64)
    labelled = torch.ones(400, 3, dtype=torch.bool)
    boxes = torch.tensor([0.5, 0.5, 0.5, 1.0], dtype=torch.float64).expand(400, 4)
    sizes = torch.tensor([100.0, 100.0], dtype=torch.float64).expand(400, 2)
    mean = (points - true).norm(dim=-1).mean()  # in heights of 100 pixels, which is the longer side

    def cost(error: float) -> float:
        told = torch.full((400, 3), error, dtype=torch.float64).log()
        return float(terms.point_error(points, true, labelled, boxes, sizes, told).mean())

    assert cost(float(mean)) < min(cost(float(mean) * 1.05), cost(float(mean) / 1.05))


def grid(side: int = 12) -> torch.Tensor:
    steps = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    return torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).flatten(0, 1)[None]


def report_of(targets: TargetBatch, centres: torch.Tensor, classes: int = 2, seed: int = 0) -> LayerReport:
    g = torch.Generator().manual_seed(seed)
    sides = torch.full_like(centres, 0.25)
    boxes = torch.cat((centres, sides), -1).expand(len(targets), -1, -1)
    return LayerReport(torch.randn(len(targets), centres.shape[1], classes, generator=g).double(), boxes)


def test_tokens_lie_in_their_objects_and_every_object_has_some(batch: Batch) -> None:
    centres = grid()
    found = assign_tokens(report_of(batch.targets, centres), centres, batch.targets)
    corners = cxcywh_to_xyxy(batch.targets.boxes)
    for image in range(2):
        used = found.objects[image]
        assert set(used.tolist()) == {-1, 0, 1}
        for number in (0, 1):
            mine = centres[0][used == number]
            assert 1 <= len(mine) <= TOKENS
            assert ((mine > corners[image, number, :2]) & (mine < corners[image, number, 2:])).all()


def test_the_best_token_should_score_as_its_box_overlaps(batch: Batch) -> None:
    centres = grid()
    report = report_of(batch.targets, centres)
    exact = report.boxes.clone()
    exact[0, 40] = batch.targets.boxes[0, 0]
    spot = centres.clone()
    spot[0, 40] = batch.targets.boxes[0, 0, :2]
    found = assign_tokens(replace(report, boxes=exact), spot, batch.targets)
    assert found.objects[0, 40] == 0
    assert found.wanted[0, 40] == torch.tensor(1.0, dtype=torch.float64)
    assert (found.wanted[found.objects < 0] == 0).all()
    assert (found.wanted <= 1).all()


def test_a_tiny_object_between_the_tokens_has_its_nearest() -> None:
    tiny = replace(horse(40, 30), box=(40.0, 30.0, 41.0, 31.0))
    targets = target_batch([targets_of(tiny)], dtype=torch.float64)
    centres = grid(6)
    found = assign_tokens(report_of(targets, centres), centres, targets)
    chosen = (found.objects[0] >= 0).nonzero().flatten()
    nearest = (centres[0] - targets.boxes[0, 0, :2]).abs().amax(-1).argmin()
    assert chosen.tolist() == [int(nearest)]


def test_ignored_regions_and_unlabelled_surroundings_are_not_judged() -> None:
    crowd = replace(horse(10, 12), ignore=True)
    centres = grid()
    whole = target_batch([targets_of(replace(crowd, ignore=False))], dtype=torch.float64)
    ignored = target_batch([targets_of(crowd)], dtype=torch.float64)
    report = report_of(ignored, centres)
    high = replace(report, logits=torch.full_like(report.logits, 4.0))
    inside = assign_tokens(high, centres, ignored).inside[0, :, 0]
    quiet = high.logits.clone()
    quiet[0, inside, 0] = -9.0
    loud_sum = dense_terms(high, centres, ignored, None)[0]["dense_class"]
    quiet_sum = dense_terms(replace(high, logits=quiet), centres, ignored, None)[0]["dense_class"]
    torch.testing.assert_close(loud_sum, quiet_sum)
    incomplete = replace(whole, incomplete=torch.tensor([[True, True]]))
    judged = dense_terms(high, centres, incomplete, None)[0]["dense_class"]
    assert judged < dense_terms(high, centres, whole, None)[0]["dense_class"]


def test_without_objects_all_scores_should_be_low() -> None:
    targets = target_batch([targets_of()], dtype=torch.float64)
    centres = grid()
    report = report_of(targets, centres)
    sums, count = dense_terms(report, centres, targets, None)
    assert count == 0
    assert sums["dense_class"] > 0
    lower = replace(report, logits=report.logits - 5)
    assert dense_terms(lower, centres, targets, None)[0]["dense_class"] < sums["dense_class"]


def test_groups_open_for_objects_with_points() -> None:
    """A horse without labelled points opens none; of too many objects some are chosen; classes are the labels'."""
    targets = small_batch().targets
    report = report_of(targets, grid(5))
    opened = OpenedGroups(Matcher(), targets, most=4, seed=0)
    kept, classes = opened(report)
    assert kept.shape == classes.shape == (2, 2)
    pairs = opened.assignment
    assert sorted(zip(pairs.images.tolist(), pairs.objects.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0)]
    for image, group, number in zip(pairs.images, pairs.queries, pairs.objects, strict=True):
        assert classes[image, group] == targets.classes[image, number]
        matched = (opened.matched.images == image) & (opened.matched.objects == number)
        assert opened.matched.queries[matched].tolist() == [int(kept[image, group])]
    few = OpenedGroups(Matcher(), targets, most=1, seed=0)
    assert few(report)[0].shape == (2, 1)
    assert len(few.assignment) == 2


def test_what_opened_the_groups_is_not_matched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses are those of matching the last object layer once more."""
    batch = small_batch()
    model = lively(XPose(tiny_dense_config(instances=40))).double()
    criterion = Criterion(LossWeights())
    opened = OpenedGroups(criterion.matcher, batch.targets, most=4, seed=0)
    found = model.decode(model.encode_image(batch.images), batch.prompts, with_reports=True, choose=opened)
    judge = [report for report in found.reports if report.keypoints is None][-1]
    assert opened.report is judge
    names: list[str] = []
    matcher = criterion.matcher

    def counting(layers: Sequence[Layer], targets: TargetBatch) -> list[Assignment]:
        names.extend(layer.name for layer in layers)
        return matcher(layers, targets)

    monkeypatch.setattr(criterion, "matcher", counting)
    losses = criterion(found, batch.targets, opened=opened)
    assert names == [f"object {number + 1}" for number in range(model.config.object_layers - 1)]
    opened.report = None
    again = criterion(found, batch.targets, opened=opened)
    assert again.keys() == losses.keys()
    for name, value in losses.items():
        torch.testing.assert_close(value, again[name], msg=name)
