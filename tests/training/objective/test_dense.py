"""One-to-many targets of all tokens, and the groups that training opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from tests.model.conftest import lively, tiny_dense_config
from tests.training.conftest import Batch, small_batch
from tests.training.small_targets import horse, target_batch, targets_of

from xpose.geometry import cxcywh_to_xyxy
from xpose.model import XPose
from xpose.model.types import LayerReport
from xpose.training.objective.dense import TOKENS, assign_tokens, dense_terms
from xpose.training.objective.losses import Criterion, LossWeights
from xpose.training.objective.matcher import Assignment, Layer, Matcher, OpenedGroups
from xpose.training.objective.targets import TargetBatch


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
