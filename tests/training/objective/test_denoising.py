"""Denoising: what is disturbed and how far, and that the extra queries change nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.training.conftest import Batch
from tests.training.small_targets import HORSE, SIZE, LabelledObject, chair, horse, target_batch, targets_of
from torch import Tensor

from xpose.errors import ConfigError
from xpose.geometry import box_iou, cxcywh_to_xyxy
from xpose.model import Predictions, XPose
from xpose.model.types import GivenQueries
from xpose.training.objective.denoising import DenoisingSettings, Noised, noised_objects

SETTINGS = DenoisingSettings(queries=12, keypoint_runs=2)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noised(batch: Batch, settings: DenoisingSettings = SETTINGS, seed: int = 0) -> Noised:
    found = noised_objects(batch.targets, batch.prompts, settings, seeded(seed))
    assert found is not None
    return found


def objects_of(found: Noised, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """True box [B, E, 4] of every query, which queries are near, which are far."""
    near = torch.zeros_like(found.queries.real)
    number = torch.zeros_like(found.queries.classes)
    pairs = found.of_queries
    near[pairs.images, pairs.queries] = True
    number[pairs.images, pairs.queries] = torch.from_numpy(pairs.objects)
    runs = number.view(len(near), -1, 2, found.queries.run // 2)
    number = runs[:, :, :1].expand_as(runs).reshape(number.shape)
    image = torch.arange(len(near))[:, None]
    return batch.targets.boxes[image, number], near, found.queries.real & ~near


def test_as_many_near_as_far_queries_in_runs(batch: Batch) -> None:
    found = noised(batch)
    assert found.queries.run == 4  # two objects in the fuller picture, near and far
    assert found.queries.classes.shape == (2, 24)  # 12 near, 12 far
    _, near, _ = objects_of(found, batch)
    assert near.view(2, 6, 2, 2)[:, :, 0].all()
    assert not near.view(2, 6, 2, 2)[:, :, 1].any()


def test_near_edges_move_by_less_than_half_a_side_and_far_boxes_lie_elsewhere(batch: Batch) -> None:
    found = noised(batch, DenoisingSettings(queries=400))
    true, near, far = objects_of(found, batch)
    half = true[..., 2:].repeat(1, 1, 2) / 2
    moved = (cxcywh_to_xyxy(found.queries.boxes) - cxcywh_to_xyxy(true)).abs() / half
    assert moved[near].max() <= 1 + 1e-9
    assert moved[near].mean() == pytest.approx(0.5, abs=0.1)
    overlap = box_iou(cxcywh_to_xyxy(found.queries.boxes), cxcywh_to_xyxy(true))
    assert overlap[near].mean() > overlap[far].mean() + 0.2
    assert overlap[far].max() < 0.5
    assert (found.queries.boxes[..., 2:] > 0).all()
    assert (cxcywh_to_xyxy(found.queries.boxes) > -1e-3).all()
    assert (cxcywh_to_xyxy(found.queries.boxes) < 1 + 1e-3).all()


def test_a_far_box_that_the_pictures_edge_pushed_back_is_left_out(batch: Batch) -> None:
    whole = targets_of(LabelledObject((0, 0, *SIZE), 0))
    filled = replace(batch, targets=target_batch([whole, whole], dtype=torch.float64))
    found = noised(filled, DenoisingSettings(queries=200))
    true, near, far = objects_of(found, filled)
    overlap = box_iou(cxcywh_to_xyxy(found.queries.boxes), cxcywh_to_xyxy(true))
    assert overlap[far].max() < 0.5
    left_out = ~near & ~far
    assert left_out.any()
    assert overlap[left_out].min() >= 0.5


def test_no_noise_is_the_truth(batch: Batch) -> None:
    found = noised(batch, DenoisingSettings(queries=4, box_noise=0, label_noise=0, keypoint_runs=1, keypoint_noise=0))
    true, near, _ = objects_of(found, batch)
    torch.testing.assert_close(found.queries.boxes[near], true[near])
    pairs = found.of_groups
    points = found.queries.points[pairs.images, pairs.queries]
    labelled = batch.targets.visibility[pairs.images, pairs.objects] > 0
    torch.testing.assert_close(points[labelled], batch.targets.keypoints[pairs.images, pairs.objects][labelled])
    assert points[~labelled].isnan().all()


def test_a_noised_label_is_another_class_of_the_same_prompt(batch: Batch) -> None:
    found = noised(batch, DenoisingSettings(queries=2000, label_noise=0.3))
    pairs = found.of_queries
    true = batch.targets.classes[pairs.images, pairs.objects]
    given = found.queries.classes[pairs.images, pairs.queries]
    assert set(given.tolist()) == {0, 1}
    assert (given != true).double().mean() == pytest.approx(0.3, abs=0.03)
    # In a prompt of one real class (the second is masked) there is no other class to take.
    alone = replace(batch.prompts, object_mask=torch.tensor([[True, False]] * 2))
    horses = target_batch([targets_of(horse(10, 12))] * 2, dtype=torch.float64)
    found = noised_objects(horses, alone, DenoisingSettings(queries=50, label_noise=1.0), seeded())
    assert found is not None
    assert (found.queries.classes == 0).all()


def test_the_same_generator_gives_the_same_noise(batch: Batch) -> None:
    a, b, c = noised(batch, seed=1), noised(batch, seed=1), noised(batch, seed=2)
    assert torch.equal(a.queries.boxes, b.queries.boxes)
    assert not torch.equal(a.queries.boxes, c.queries.boxes)


def test_ignored_objects_are_not_disturbed_and_no_objects_give_none(batch: Batch) -> None:
    crowd = replace(horse(40, 5), ignore=True)
    targets = target_batch([targets_of(crowd, chair(60, 30)), targets_of()], dtype=torch.float64)
    found = noised_objects(targets, batch.prompts, SETTINGS, seeded())
    assert found is not None
    assert found.queries.run == 2
    assert set(found.of_queries.objects) == {0}
    assert not found.queries.real[1].any()
    nothing = target_batch([targets_of(crowd), targets_of()], dtype=torch.float64)
    assert noised_objects(nothing, batch.prompts, SETTINGS, seeded()) is None


def answer(model: XPose, batch: Batch, given: GivenQueries | None) -> Predictions:
    return model(batch.images, batch.prompts, with_reports=True, given=given)


def test_given_queries_change_nothing_of_the_answer(network: XPose, batch: Batch) -> None:
    with torch.no_grad():
        plain, with_given = (answer(network, batch, q) for q in (None, noised(batch).queries))
    for a, b in zip(plain.reports, with_given.reports, strict=True):
        assert torch.equal(a.logits, b.logits)
        assert torch.equal(a.boxes, b.boxes)
    assert torch.equal(plain.boxes[0], with_given.boxes[0])
    assert plain.trace is not None
    assert with_given.trace is not None
    assert plain.trace.given == ()
    kinds = [r.keypoints is None for r in with_given.trace.given]
    assert kinds == [True] * network.config.object_layers + [False] * network.config.keypoint_layers


def test_runs_do_not_see_each_other_and_empty_places_are_not_seen(network: XPose, batch: Batch) -> None:
    queries = noised(batch).queries
    other = queries.boxes.clone()
    other[:, queries.run :] = other[:, queries.run :].flip(1)  # every run but the first
    with torch.no_grad():
        a = answer(network, batch, queries).trace.given[1]  # type: ignore[union-attr]
        b = answer(network, batch, replace(queries, boxes=other)).trace.given[1]  # type: ignore[union-attr]
    torch.testing.assert_close(a.logits[:, : queries.run], b.logits[:, : queries.run])
    assert not torch.allclose(a.logits[:, queries.run :], b.logits[:, queries.run :])
    hidden = replace(queries, real=queries.real.clone())
    hidden.real[:, 1] = False
    moved = replace(hidden, boxes=hidden.boxes.clone())
    moved.boxes[:, 1] = 0.3
    with torch.no_grad():
        c = answer(network, batch, hidden).trace.given[1]  # type: ignore[union-attr]
        d = answer(network, batch, moved).trace.given[1]  # type: ignore[union-attr]
    seen = [0, *range(2, queries.run)]
    torch.testing.assert_close(c.logits[:, seen], d.logits[:, seen])


def test_runs_equal_one_attention_with_a_mask_over_all_queries(network: XPose, batch: Batch) -> None:
    """What the literature describes: everything in one self-attention, cut apart by a mask."""
    queries = noised(batch).queries
    with torch.no_grad():
        scene = network.encoder(network.encode_image(batch.images), network.project(batch.prompts))
        own = network.selection(scene)
        expected = network.object_decoder.given(queries, scene, network.heads).reports[0]
        token = scene.prompts.objects.gather(1, queries.classes[..., None].expand(-1, -1, network.config.dim))
        content, boxes = torch.cat((own.content, token), 1), torch.cat((own.boxes, queries.boxes), 1)
        count, first = content.shape[1], own.content.shape[1]
        run = torch.where(torch.arange(count) < first, -1, (torch.arange(count) - first) // queries.run)
        mask = (run[:, None] == run[None]).expand(2, 1, -1, -1)
        content = network.object_decoder.layers[0](
            content, network.heads.position(boxes, scene), boxes, scene, mask=mask
        )
        normed = network.heads.norm(content[:, first:])
        logits = network.heads.similarity(normed, scene.objects, None)
    torch.testing.assert_close(expected.logits, logits)


def test_an_image_without_objects_beside_one_with_some_stays_finite(network: XPose, batch: Batch) -> None:
    targets = target_batch([targets_of(horse(10, 12)), targets_of()], dtype=torch.float64)
    found = noised_objects(targets, batch.prompts, SETTINGS, seeded())
    assert found is not None
    reports = answer(network, batch, found.queries).trace.given  # type: ignore[union-attr]
    sum(r.logits.sum() + r.boxes.sum() for r in reports).backward()  # type: ignore[union-attr]
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_groups_start_at_the_given_points(network: XPose, batch: Batch) -> None:
    """A network whose heads correct nothing reports the places that the points start from."""
    with torch.no_grad():
        for value in network.heads.point.parameters():
            value.zero_()
        queries = noised(batch).queries
        report = answer(network, batch, queries).trace.given[-1]  # type: ignore[union-attr]
    assert report.keypoints is not None
    assert report.keypoints.shape == (2, 4, len(HORSE), 2)
    given = ~queries.points.isnan().any(-1)
    assert given.any()
    assert not given.all()
    inside = given & ((queries.points > 0.01) & (queries.points < 0.99)).all(-1)
    torch.testing.assert_close(report.keypoints[inside], queries.points[inside])


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"queries": 0}, "queries is 0"), ({"label_noise": 1.5}, "from 0 to 1"), ({"keypoint_noise": -1}, "from 0 up")],
)
def test_faulty_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DenoisingSettings(**settings)
