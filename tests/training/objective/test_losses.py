"""The loss of a whole batch: against a naive computation, finite differences, and what its switches must do."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import replace

import pytest
import torch
from tests.training.conftest import Batch, small_batch
from tests.training.small_targets import HORSE, SLOTS, chair, horse, target_batch, targets_of
from torch import Tensor

from xpose.errors import ConfigError
from xpose.geometry import box_giou, cxcywh_to_xyxy, oks
from xpose.model import Predictions, PromptEmbeddings, XPose
from xpose.model.types import LayerReport, ObjectQueries, ProjectedPrompts, Trace
from xpose.training.objective.denoising import DenoisingSettings, noised_objects
from xpose.training.objective.losses import Criterion, LossWeights, by_position
from xpose.training.objective.matcher import Layer
from xpose.vocabulary import load_skeleton

D = {"dtype": torch.float64}
JUDGES_ALL = ("object_alignment", "dense_class", "total")  # what also says that something is not there
KEYPOINT_TERMS = ("keypoint_l1", "oks", "keypoint_alignment", "visibility")
BOX_TERMS = ("object_alignment", "box_l1", "giou")


def made_up(batch: Batch, queries: int = 7, groups: int = 5, seed: int = 0, group_class: Tensor | None = None):
    """Predictions with one object layer and two keypoint layers, random and free of any network."""
    g = torch.Generator().manual_seed(seed)
    rand = lambda *shape: torch.rand(2, *shape, generator=g, **D)  # noqa: E731
    p = batch.prompts
    projected = ProjectedPrompts(p.objects, p.object_mask, p.keypoints, p.keypoint_mask, p.keypoint_set)
    proposals = ObjectQueries(
        rand(queries, 8), rand(queries, 4) * 0.4 + 0.3, torch.zeros(2, queries), rand(queries, 2) * 4 - 2
    )
    reports = [LayerReport(rand(queries, 2) * 4 - 2, rand(queries, 4) * 0.4 + 0.3)]
    for _ in range(2):
        reports.append(
            LayerReport(
                rand(groups, 2) * 4 - 2,
                rand(groups, 4) * 0.4 + 0.3,
                rand(groups, SLOTS, 2),
                rand(groups, SLOTS, SLOTS) * 4 - 2,
                rand(groups, SLOTS) * 4 - 2,
            )
        )
    if group_class is None:
        group_class = torch.tensor([[0, 1, 0, 1, 0]] * 2)[:, :groups]
    trace = Trace(projected, proposals, group_class)
    return Predictions((), (), (), (), (), reports=tuple(reports), trace=trace)


def naive_terms(report: LayerReport, batch: Batch, pairs: list[tuple[int, int, int]]) -> dict[str, float]:
    """One layer's terms in plain loops; all classes of these prompts are real and nothing is ignored."""
    t = batch.targets
    focal = lambda s, yes: (  # noqa: E731
        0.25 * (1 - s) ** 2 * -math.log(s) if yes else 0.75 * s**2 * -math.log(1 - s)
    )
    hits = {(i, q): int(t.classes[i, m]) for i, q, m in pairs}
    alignment = 0.0
    for i in range(report.logits.shape[0]):
        for q in range(report.logits.shape[1]):
            for c in range(2):
                alignment += focal(report.logits[i, q, c].sigmoid().item(), hits.get((i, q)) == c)
    out = {"object_alignment": alignment / len(pairs)}
    boxes = [(report.boxes[i, q], t.boxes[i, m]) for i, q, m in pairs]
    out["box_l1"] = sum((a - b).abs().sum().item() for a, b in boxes) / len(pairs)
    out["giou"] = sum(1 - box_giou(cxcywh_to_xyxy(a), cxcywh_to_xyxy(b)).item() for a, b in boxes) / len(pairs)
    if report.keypoints is None:
        return out
    posed = [(i, q, m) for i, q, m in pairs if (t.visibility[i, m] > 0).any()]
    far = similar = contrast = there = 0.0
    for i, q, m in posed:
        seen = [k for k in range(SLOTS) if t.visibility[i, m, k] > 0]
        known = [k for k in range(SLOTS) if k in seen or t.absent[i, m, k]]
        own = [k for k in range(SLOTS) if t.real[i, m, k]]
        offsets = report.keypoints[i, q] - t.keypoints[i, m]
        far += 17 / len(seen) * sum(offsets[k].abs().sum().item() for k in seen)
        area = (t.boxes[i, m, 2:] * t.sizes[i]).prod()
        pixels = [x * t.sizes[i] for x in (report.keypoints[i, q], t.keypoints[i, m])]
        similar += 1 - oks(*pixels, t.visibility[i, m], area, t.sigmas[i, m]).item()
        for k in known:
            score = report.keypoint_logits[i, q, k].sigmoid()
            others = [focal(score[c].item(), False) for c in own if c != k]
            contrast += 16 / len(others) * sum(others) / len(known)
            if t.visibility[i, m, k] != 1:
                contrast += focal(score[k].item(), bool(t.visibility[i, m, k] == 2)) / len(known)
            presence = report.visibility[i, q, k].sigmoid().item()
            there += -math.log(presence if k in seen else 1 - presence) / len(known)
    values = dict(zip(KEYPOINT_TERMS, (far, similar, contrast, there), strict=True))
    return out | {k: v / len(posed) for k, v in values.items()}


def test_every_term_against_plain_loops(batch: Batch) -> None:
    predictions = made_up(batch)
    criterion = Criterion()
    losses = criterion(predictions, batch.targets)
    sets = batch.prompts.keypoint_set
    allowed = sets.gather(1, predictions.trace.group_class)[..., None] == sets.gather(1, batch.targets.classes)[:, None]
    proposals = LayerReport(predictions.trace.proposals.scores, predictions.trace.proposals.boxes)
    places = {
        "@proposals": Layer("", proposals),
        "@object 1": Layer("", predictions.reports[0]),
        "@keypoint 1": Layer("", predictions.reports[1], allowed),
        "": Layer("", predictions.reports[2], allowed),
    }
    expected = {}
    for place, layer in places.items():
        (found,) = criterion.matcher([layer], batch.targets)
        pairs = list(zip(found.images.tolist(), found.queries.tolist(), found.objects.tolist(), strict=True))
        assert len(pairs) == 4
        expected |= {k + place: v for k, v in naive_terms(layer.report, batch, pairs).items()}
    assert {k: v.item() for k, v in losses.items() if k != "total"} == pytest.approx(expected)
    weights = LossWeights()
    total = sum(getattr(weights, name.partition("@")[0]) * value for name, value in expected.items())
    assert losses["total"].item() == pytest.approx(total)


def test_the_relative_distance_is_off_unless_wanted_and_joins_the_total(batch: Batch) -> None:
    predictions = made_up(batch)
    plain, more = (Criterion(LossWeights(keypoint_relative=w))(predictions, batch.targets) for w in (0.0, 3.0))
    added = {key for key in more if key.startswith("keypoint_relative")}
    assert added == {"keypoint_relative", "keypoint_relative@keypoint 1"} == set(more) - set(plain)
    torch.testing.assert_close(more["total"], plain["total"] + 3 * sum(more[key] for key in added))


def test_with_quality_a_matched_query_is_to_score_its_overlap(batch: Batch) -> None:
    """A query that lies on the object is to score 1, as without; one beside it less."""
    targets = target_batch([targets_of(horse(10, 12)), targets_of()], **D)
    predictions = made_up(batch)
    first = predictions.reports[0]
    for place, sign in ((targets.boxes[0, 0], 0), (targets.boxes[0, 0] + torch.tensor([0.2, 0, 0, 0], **D), 1)):
        with torch.no_grad():
            first.boxes[:] = torch.tensor([0.9, 0.9, 0.1, 0.1], **D)
            first.boxes[0, 3] = place
            first.logits[:] = 1.0
        slopes = []
        for quality in (0.0, 1.0):
            logits = first.logits.clone().requires_grad_()
            reports = (replace(first, logits=logits), *predictions.reports[1:])
            Criterion(LossWeights(quality=quality))(replace(predictions, reports=reports), targets)["total"].backward()
            slopes.append(logits.grad)
        moved = (slopes[1] - slopes[0]).abs() > 1e-12
        assert moved.nonzero().tolist() == [[0, 3, 0]] * sign
        assert slopes[0][0, 3, 0] < 0  # up
    assert slopes[1][0, 3, 0] > 0  # down: a score of .73 is more than the overlap


def test_keypoint_layers_may_leave_the_classes_to_object_layers(batch: Batch) -> None:
    predictions = made_up(batch)
    for tensor in leaves(predictions):
        tensor.requires_grad_()
    late = [report.logits for report in predictions.reports[1:]]
    losses = Criterion(LossWeights(group_alignment=0))(predictions, batch.targets)
    assert {key for key in losses if key.startswith("object_alignment")} == {
        "object_alignment",
        "object_alignment@proposals",
        "object_alignment@object 1",
    }
    assert losses["object_alignment"] == losses["object_alignment@object 1"]
    losses["total"].backward()
    assert all(logits.grad is None for logits in late)
    with torch.no_grad():
        for logits in late:  # nor are objects matched by them
            logits.copy_(torch.randn(logits.shape, generator=torch.Generator().manual_seed(1), **D) * 9)
    again = Criterion(LossWeights(group_alignment=0))(predictions, batch.targets)
    torch.testing.assert_close(again["total"], losses["total"])


def leaves(predictions: Predictions) -> list[Tensor]:
    """All tensors that the network would have to learn."""
    own = [predictions.trace.proposals.scores, predictions.trace.proposals.boxes]
    for report in predictions.reports:
        own += [v for f in dataclasses.fields(report) if (v := getattr(report, f.name)) is not None]
    return own


def test_gradients_against_finite_differences(batch: Batch) -> None:
    predictions = made_up(batch)
    tensors = [t.requires_grad_() for t in leaves(predictions)]
    total = Criterion()(predictions, batch.targets)["total"]
    gradients = torch.autograd.grad(total, tensors)
    step, g = 1e-6, torch.Generator().manual_seed(5)
    for tensor, gradient in zip(tensors, gradients, strict=True):
        assert gradient.abs().sum() > 0
        direction = torch.randn(tensor.shape, generator=g, **D)
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                tensor += sign * step * direction
                sides.append(Criterion()(predictions, batch.targets)["total"])
                tensor -= sign * step * direction
        slope = (sides[0] - sides[1]) / (2 * step)
        torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [*KEYPOINT_TERMS, *BOX_TERMS[1:]])
def test_a_term_that_is_off_is_gone_and_leaves_the_others(batch: Batch, name: str) -> None:
    predictions = made_up(batch)
    full, less = (Criterion(w)(predictions, batch.targets) for w in (LossWeights(), LossWeights(**{name: 0.0})))
    gone = {key for key in full if key.partition("@")[0] == name}
    assert gone
    assert set(less) == set(full) - gone
    for key in less.keys() - {"total"}:
        torch.testing.assert_close(less[key], full[key])
    off = sum(getattr(LossWeights(), name) * full[key] for key in gone)
    torch.testing.assert_close(full["total"] - off, less["total"])


@pytest.mark.parametrize(
    ("place", "keys"), [("proposals", ["@proposals"]), ("auxiliary", ["@object 1", "@keypoint 1"])]
)
def test_a_place_that_is_off_is_gone(batch: Batch, place: str, keys: list[str]) -> None:
    predictions = made_up(batch)
    full, less = (Criterion(w)(predictions, batch.targets) for w in (LossWeights(), LossWeights(**{place: 0.0})))
    assert set(full) - set(less) == {key for key in full if any(key.endswith(k) for k in keys)}
    assert less["total"] < full["total"]


def test_without_object_alignment_the_same_loss_goes_by_another_name(batch: Batch) -> None:
    closed = LossWeights(object_alignment=0, closed_set=1)
    a, b = (Criterion(w)(made_up(batch), batch.targets) for w in (LossWeights(), closed))
    assert {k.replace("object_alignment", "closed_set"): v for k, v in a.items()} == b


def test_keypoints_are_judged_in_keypoint_layers_only(batch: Batch) -> None:
    losses = Criterion()(made_up(batch), batch.targets)
    places = {key.partition("@")[2] for key in losses if key.partition("@")[0] in KEYPOINT_TERMS}
    assert places == {"", "keypoint 1"}


def test_an_object_without_labelled_points_is_an_object_all_the_same(batch: Batch) -> None:
    """Its query is pulled towards its class and box; its keypoints are left alone."""
    targets = target_batch([targets_of(horse(10, 12, labelled=False)), targets_of()], **D)
    predictions = made_up(batch)
    tensors = [t.requires_grad_() for t in leaves(predictions)]
    losses = Criterion()(predictions, targets)
    losses["total"].backward()
    last = predictions.reports[-1]
    assert ((last.logits.grad < 0).sum(), (last.logits.grad > 0).sum()) == (1, last.logits.numel() - 1)
    assert (last.boxes.grad.abs().sum(-1) > 0).sum() == 1
    assert all(losses[name] == 0 for name in KEYPOINT_TERMS)
    assert all(t.grad is None or t.grad.isfinite().all() for t in tensors)
    for tensor in (last.keypoints, last.keypoint_logits, last.visibility):
        assert tensor.grad.abs().sum() == 0


def test_what_lies_in_an_ignored_object_is_not_called_background(batch: Batch) -> None:
    crowd = replace(horse(10, 12), ignore=True)  # of class 0
    targets = target_batch([targets_of(crowd), targets_of()], **D)
    predictions = made_up(batch)
    first = predictions.reports[0]
    with torch.no_grad():
        first.boxes[:] = torch.tensor([0.8, 0.8, 0.1, 0.1], **D)
        first.boxes[0, 2] = targets.boxes[0, 0]
    first.logits.requires_grad_()
    Criterion()(predictions, targets)["total"].backward()
    spared = first.logits.grad == 0
    assert spared.nonzero().tolist() == [[0, 2, 0]]


def test_what_nobody_labelled_may_be_found_but_not_what_is_labelled_twice(batch: Batch) -> None:
    """Class 0 of the first picture is incomplete: a query elsewhere is spared, one on the labelled horse is not."""
    incomplete = torch.tensor([[True, False], [False, False]])
    targets = replace(target_batch([targets_of(horse(10, 12))] * 2, **D), incomplete=incomplete)
    predictions = made_up(batch)
    first = predictions.reports[0]
    with torch.no_grad():
        first.boxes[:] = torch.tensor([0.8, 0.8, 0.1, 0.1], **D)
        first.boxes[:, 2:4] = targets.boxes[0, 0]
    first.logits.requires_grad_()
    Criterion()(predictions, targets)["total"].backward()
    spared = (first.logits.grad == 0).nonzero().tolist()
    assert spared == [[0, query, 0] for query in range(first.logits.shape[1]) if query not in (2, 3)]


def test_classes_that_the_prompt_does_not_have_are_left_out(batch: Batch) -> None:
    """Padding of the class list, with the −inf that the network puts there."""
    predictions = made_up(batch)
    horses = target_batch([targets_of(horse(10, 12))] * 2, **D)
    mask = torch.tensor([[True, False]] * 2)
    trace = replace(predictions.trace, prompts=replace(predictions.trace.prompts, object_mask=mask))
    for tensor in (trace.proposals.scores, *(r.logits for r in predictions.reports)):
        tensor[..., 1] = float("-inf")
    first = predictions.reports[0].logits.requires_grad_()
    total = Criterion()(replace(predictions, trace=trace), horses)["total"]
    total.backward()
    assert total.isfinite()
    assert first.grad[..., 1].abs().sum() == 0
    assert (first.grad[..., 0] != 0).all()


def test_objects_are_only_matched_with_groups_of_their_keypoints(batch: Batch) -> None:
    """No group looks for a chair's keypoints: the chair's points teach nobody, the horses' do."""
    predictions = made_up(batch, group_class=torch.zeros(2, 5, dtype=torch.int64))
    last = predictions.reports[-1].keypoints.requires_grad_()
    Criterion()(predictions, batch.targets)["total"].backward()
    assert ((last.grad.abs().sum((2, 3)) > 0).sum(1)).tolist() == [1, 1]


def test_sigmas_by_position(batch: Batch) -> None:
    by_name, by_place = (
        Criterion(w)(made_up(batch), batch.targets) for w in (LossWeights(), LossWeights(sigma_rule="position"))
    )
    table = torch.tensor(load_skeleton("person").sigmas, **D)
    other = replace(batch.targets, sigmas=table[: len(HORSE)].expand_as(batch.targets.sigmas))
    assert by_place["oks"] != by_name["oks"]
    torch.testing.assert_close(by_place["oks"], Criterion()(made_up(batch), other)["oks"])
    long = by_position(torch.zeros(1, 68, **D))
    torch.testing.assert_close(long[0, :17], table)
    torch.testing.assert_close(long[0, 17:], table.mean().expand(51))


def test_a_batch_without_any_object(network: XPose, batch: Batch) -> None:
    """Everything is background; nothing is divided by zero, and the loss still has gradients."""
    nothing = target_batch([targets_of(), targets_of()], **D)
    losses = Criterion()(network(batch.images, batch.prompts, with_reports=True), nothing)
    assert losses["object_alignment"] > 0
    assert all(losses[name] == 0 for name in losses if name.partition("@")[0] not in JUDGES_ALL)
    losses["total"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_a_prompt_without_keypoints_trains_boxes(network: XPose, batch: Batch) -> None:
    bare = PromptEmbeddings.from_lists(list(batch.prompts.objects), [k[0, :0] for k in batch.prompts.keypoints])
    pictures = [targets_of(horse(10, 12), chair(60, 30), names=((), ()))] * 2
    targets = target_batch(pictures, **D)
    noised = noised_objects(targets, bare, DenoisingSettings(queries=4, keypoint_runs=1))
    predictions = network(batch.images, bare, with_reports=True, given=noised.queries)
    losses = Criterion()(predictions, targets, noised)
    losses["total"].backward()
    assert losses["total"].isfinite()
    assert losses["keypoint_l1"] == 0


def test_gradients_reach_every_parameter_of_a_network(network: XPose, batch: Batch) -> None:
    """Through all terms and the denoising, in every part of the network that a text prompt uses."""
    noised = noised_objects(batch.targets, batch.prompts, DenoisingSettings(queries=4, keypoint_runs=1))
    predictions = network(batch.images, batch.prompts, with_reports=True, given=noised.queries)
    Criterion()(predictions, batch.targets, noised)["total"].backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert [name for name in silent if not name.startswith("visual_prompts.")] == []


def test_noised_objects_are_judged_beside_the_rest(network: XPose, batch: Batch) -> None:
    noised = noised_objects(batch.targets, batch.prompts, DenoisingSettings(queries=4, keypoint_runs=1))
    predictions = network(batch.images, batch.prompts, with_reports=True, given=noised.queries)
    with_noise, plain = Criterion()(predictions, batch.targets, noised), Criterion()(predictions, batch.targets)
    more = set(with_noise) - set(plain)
    layers = [f"noised object {i + 1}" for i in range(network.config.object_layers)]
    layers += [f"noised keypoint {i + 1}" for i in range(network.config.keypoint_layers)]
    assert {key.partition("@")[2] for key in more} == set(layers)
    assert {k.partition("@")[0] for k in more if k.endswith("noised object 1")} == set(BOX_TERMS)
    for key in plain.keys() - {"total"}:
        torch.testing.assert_close(with_noise[key], plain[key])
    off = Criterion(LossWeights(denoising=0))(predictions, batch.targets, noised)
    torch.testing.assert_close(off, plain)


def test_bfloat16_answers_are_judged_in_float32() -> None:
    batch = small_batch(torch.float32)
    predictions = made_up(batch)
    halves = [
        LayerReport(
            **{f.name: None if (v := getattr(r, f.name)) is None else v.bfloat16() for f in dataclasses.fields(r)}
        )
        for r in predictions.reports
    ]
    proposals = predictions.trace.proposals
    low = replace(proposals, scores=proposals.scores.bfloat16(), boxes=proposals.boxes.bfloat16())
    predictions = replace(predictions, reports=tuple(halves), trace=replace(predictions.trace, proposals=low))
    with torch.autocast("cpu", torch.bfloat16):
        losses = Criterion()(predictions, batch.targets)
    full = Criterion()(made_up(batch), small_batch(torch.float64).targets)
    assert all(value.dtype == torch.float32 for value in losses.values())
    assert losses["total"].item() == pytest.approx(full["total"].item(), rel=0.05)


@pytest.mark.parametrize(
    ("values", "messages"),
    [
        ({"oks": -1, "giou": float("nan")}, ["oks is -1", "giou is nan"]),
        ({"closed_set": 1.0}, ["exactly one of them"]),
        ({"object_alignment": 0.0}, ["exactly one of them"]),
        ({"alpha": 1.5, "gamma": 0.5}, ["alpha is 1.5", "gamma is 0.5"]),
        ({"sigma_rule": "index"}, ['sigma_rule is "index"']),
    ],
)
def test_faulty_weights_are_refused_all_at_once(values: dict, messages: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        LossWeights(**values)
    assert all(message in str(error.value) for message in messages)
