"""What must hold for every network of the family, on tiny ones in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from tests.model.conftest import lively, random_images, random_prompts, tiny_config, tiny_dense_config, tiny_nano_config
from torch import Tensor

from xpose.errors import ImageError, PromptError
from xpose.model import Predictions, PromptEmbeddings, XPose, XPoseConfig
from xpose.model.types import GivenQueries, Instances

CLOSE = {"atol": 1e-9, "rtol": 1e-9, "equal_nan": True}


def run(
    model: XPose, images: Tensor, prompts: PromptEmbeddings, mask: Tensor | None = None, **more: int
) -> Predictions:
    with torch.inference_mode():
        return model(images, prompts, mask, **more)


def one(classes: int, points: int, seed: int = 0) -> PromptEmbeddings:
    objects, keypoints = random_prompts(classes, points, seed)
    return PromptEmbeddings.from_lists([objects], [keypoints])


def assert_same(a: Predictions, b: Predictions, i: int = 0, j: int = 0) -> None:
    for name in ("logits", "boxes", "keypoints", "keypoint_confidence", "group_class"):
        torch.testing.assert_close(getattr(a, name)[i], getattr(b, name)[j], **CLOSE)


def test_shapes(tiny: XPose) -> None:
    result = run(tiny, random_images(1, 64, 96), one(3, 7))
    assert len(result) == 1
    assert result.logits[0].shape == (6, 3)
    assert result.boxes[0].shape == (6, 4)
    assert result.keypoints[0].shape == (6, 7, 2)
    assert result.keypoint_confidence[0].shape == (6, 7)
    assert result.group_class[0].shape == (6,)
    assert result.scores[0].shape == (6,)
    assert all(torch.isfinite(t).all() for t in (*result.logits, *result.boxes, *result.keypoints))


def test_object_layers_may_score_the_objects() -> None:
    """Then the answer's scores are those of the last object layer, which has chosen the instances by them."""
    model = lively(XPose(tiny_nano_config(score="objects"))).double().eval()
    result = run(model, random_images(1, 64, 96), one(3, 7), with_reports=True)
    judge = [report for report in result.reports if report.keypoints is None][-1]
    best = judge.logits[0].amax(-1).topk(6).indices
    torch.testing.assert_close(result.logits[0], judge.logits[0][best], **CLOSE)
    assert (result.scores[0].diff() <= 0).all()
    last = run(
        lively(XPose(tiny_nano_config(score="last"))).double().eval(),
        random_images(1, 64, 96),
        one(3, 7),
        with_reports=True,
    )
    torch.testing.assert_close(last.logits[0], last.reports[-1].logits[0], **CLOSE)


def test_a_batch_gives_what_its_images_give_alone(tiny: XPose) -> None:
    """Different sizes, classes and keypoints in one batch: the padding of each is invisible.

    Each image alone gets the same padded size, so that its borders look alike to the backbone.
    """
    images = random_images(2, 64, 96)
    mask = torch.zeros(2, 64, 96, dtype=torch.bool)
    mask[1, 48:], mask[1, :, 64:] = True, True
    images[1].masked_fill_(mask[1], 0)
    (o0, k0), (o1, k1) = random_prompts(2, 5), random_prompts(4, 9, seed=1)
    both = run(tiny, images, PromptEmbeddings.from_lists([o0, o1], [k0, k1]), mask)
    for b, (o, k) in enumerate(((o0, k0), (o1, k1))):
        alone = run(tiny, images[b : b + 1], PromptEmbeddings.from_lists([o], [k]), mask[b : b + 1])
        assert_same(both, alone, b, 0)


def test_padded_prompts_change_nothing(tiny: XPose) -> None:
    """350 class slots and 68 keypoint slots with masks give what the bare prompt gives."""
    objects, keypoints = random_prompts(2, 5)
    bare = PromptEmbeddings.from_lists([objects], [keypoints])

    def filled(x: Tensor, slots: int) -> Tensor:
        out = torch.full((1, slots, x.shape[1]), 7.0, dtype=x.dtype)
        out[0, : len(x)] = x
        return out

    padded = PromptEmbeddings(
        filled(objects, 350),
        torch.arange(350)[None] < 2,
        filled(keypoints, 68)[:, None],
        (torch.arange(68) < 5)[None, None],
        torch.zeros(1, 350, dtype=torch.long),
    )
    images = random_images(1, 64, 64)
    a, b = run(tiny, images, bare), run(tiny, images, padded)
    assert_same(a, b)


def test_one_prompt_serves_a_whole_batch(tiny: XPose) -> None:
    images = random_images(3, 64, 64)
    prompt = one(2, 4)
    together = run(tiny, images, prompt)
    for b in range(3):
        assert_same(together, run(tiny, images[b : b + 1], prompt), b, 0)


def test_keypoint_order_does_not_matter_for_our_presets() -> None:
    model = lively(XPose(tiny_nano_config())).double()
    objects, keypoints = random_prompts(2, 8)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(3))
    images = random_images(1, 64, 64)
    a = run(model, images, PromptEmbeddings.from_lists([objects], [keypoints]))
    b = run(model, images, PromptEmbeddings.from_lists([objects], [keypoints[order]]))
    torch.testing.assert_close(a.keypoints[0][:, order], b.keypoints[0], **CLOSE)
    torch.testing.assert_close(a.keypoint_confidence[0][:, order], b.keypoint_confidence[0], **CLOSE)
    torch.testing.assert_close(a.boxes[0], b.boxes[0], **CLOSE)


@pytest.mark.parametrize("steps", ["box", "picture"])
def test_steps_measured_by_the_box_grow_with_it(steps: str) -> None:
    """The same query beside a box of twice the size: twice the step, wherever it starts. In logits it is not so."""
    heads = lively(XPose(tiny_nano_config(point_steps=steps))).double().heads
    content, sides = random_prompts(2, 5, width=32)[1], torch.tensor([0.2, 0.1], dtype=torch.float64)
    starts = torch.rand(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    near, far = (heads.points(content, starts, sides * zoom) - starts[:, :2] for zoom in (1, 2))
    assert near.abs().min() > 0
    assert torch.allclose(far, 2 * near) is (steps == "box")
    moved = heads.refine_points(content, starts, sides)
    torch.testing.assert_close(moved[:, :2], near + starts[:, :2])
    assert bool(((moved[:, 2:] > 0) & (moved[:, 2:] < 1)).all())


def test_groups_start_from_their_own_boxes_alike() -> None:
    """Before any refinement a point sits at the same share of its object's box, be it near or far."""
    model = lively(XPose(tiny_nano_config())).double()
    tokens = torch.randn(1, 2, 3, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    tokens[:, 1] = tokens[:, 0]
    boxes = torch.tensor([[[0.5, 0.5, 0.4, 0.2], [0.2, 0.7, 0.1, 0.3]]], dtype=torch.float64)
    instances = Instances(tokens[:, :, 0], boxes, torch.zeros(1, 2, dtype=torch.long), torch.zeros(1, 2).long(), ())
    points = model.keypoint_decoder._first_boxes(instances, tokens, model.heads, None)[:, :, 1:, :2]
    shares = (points - boxes[:, :, None, :2]) / boxes[:, :, None, 2:]
    torch.testing.assert_close(shares[:, 0], shares[:, 1])


def test_every_class_gets_its_own_keypoints(tiny: XPose) -> None:
    """As in calls with the same classes and one class's keypoints, compared on that class's groups."""
    sets = [random_prompts(1, count, seed=count)[1] for count in (4, 9, 6)]
    images = random_images(1, 96, 96)
    for seed in range(20):  # a random network prefers one class for most random prompts; look for one with several
        objects, _ = random_prompts(3, 1, seed)
        mixed = run(tiny, images, PromptEmbeddings.from_lists([objects], [sets]), instances=40)
        if len(mixed.group_class[0].unique()) > 1:
            break
    assert mixed.keypoints[0].shape[1] == 9
    seen = set()
    for number, points in enumerate(sets):
        alone = run(tiny, images, PromptEmbeddings.from_lists([objects], [points]), instances=40)
        own = mixed.group_class[0] == number
        seen |= {number} if own.any() else set()
        torch.testing.assert_close(mixed.keypoints[0][own, : len(points)], alone.keypoints[0][own], **CLOSE)
        torch.testing.assert_close(mixed.boxes[0][own], alone.boxes[0][own], **CLOSE)
        assert mixed.keypoints[0][own, len(points) :].isnan().all()
        assert mixed.keypoint_confidence[0][own, len(points) :].isnan().all()
    assert len(seen) > 1, "the case must hold groups of several classes"


def test_more_instances_leave_the_first_ones_as_they_were(tiny: XPose) -> None:
    images, prompt = random_images(1, 64, 96), one(2, 5)
    few, many = run(tiny, images, prompt), run(tiny, images, prompt, instances=20)
    assert many.boxes[0].shape[0] == 20
    torch.testing.assert_close(few.keypoints[0], many.keypoints[0][:6], **CLOSE)
    torch.testing.assert_close(few.boxes[0], many.boxes[0][:6], **CLOSE)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (33, 2), (8, 8), (31, 65)])
def test_small_and_odd_pictures(tiny: XPose, height: int, width: int) -> None:
    result = run(tiny, random_images(1, height, width), one(1, 3))
    assert 1 <= result.boxes[0].shape[0] <= 6
    assert torch.isfinite(result.keypoints[0]).all()


@pytest.mark.parametrize("kernel", ["grid", "gather"])
@pytest.mark.parametrize("backbone", ["swin", "nanodet"])
def test_graphs_of_varying_size_compute_the_same(backbone: str, kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tracing uses in place of caches, gathered windows, slices and shortcuts, run eagerly."""
    config = tiny_config() if backbone == "swin" else tiny_dense_config(backbone="nanodet")
    model = lively(XPose(config)).double()
    for module in model.modules():
        if hasattr(module, "graph_kernel"):
            module.graph_kernel = kernel
    images = random_images(2, 45, 70)
    expected = [run(model, images, one(classes, 5)) for classes in (1, 3)]
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    for classes, usual in zip((1, 3), expected, strict=True):
        traced = run(model, images, one(classes, 5))
        for name in ("logits", "boxes", "keypoints"):
            torch.testing.assert_close(getattr(traced, name), getattr(usual, name), **CLOSE)


def test_no_keypoints_gives_boxes(tiny: XPose) -> None:
    objects, keypoints = random_prompts(2, 4)
    images = random_images(1, 64, 64)
    result = run(tiny, images, PromptEmbeddings.from_lists([objects], [keypoints[:0]]))
    assert result.keypoints[0].shape == (6, 0, 2)
    assert torch.isfinite(result.boxes[0]).all()


def test_beyond_68_keypoints_sizes_are_the_mean_of_the_table() -> None:
    prior = lively(XPose(tiny_config())).keypoint_decoder.size_prior
    sizes = prior(torch.zeros(1, 80, 32))
    assert prior.table is not None
    torch.testing.assert_close(sizes[0, :68], prior.table)
    torch.testing.assert_close(sizes[0, 68:], prior.table.mean(0).expand(12, 2))


def test_133_keypoints_and_400_classes_run(tiny: XPose) -> None:
    result = run(tiny, random_images(1, 64, 64), one(400, 133))
    assert result.logits[0].shape == (6, 400)
    assert result.keypoints[0].shape == (6, 133, 2)


def test_two_threads_do_not_disturb_each_other(tiny: XPose) -> None:
    images = [random_images(1, 64, 64, seed=s) for s in range(4)]
    prompts = [one(1 + s, 3 + 2 * s, seed=s) for s in range(4)]
    alone = [run(tiny, i, p) for i, p in zip(images, prompts, strict=True)]
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(run, tiny, images[s % 4], prompts[s % 4]) for s in range(16)]
        for number, job in enumerate(jobs):
            assert_same(job.result(), alone[number % 4])


def test_encode_once_prompt_twice(tiny: XPose) -> None:
    images = random_images(1, 64, 64)
    with torch.inference_mode():
        features = tiny.encode_image(images)
        for prompt in (one(1, 3), one(3, 5, seed=2)):
            assert_same(tiny.decode(features, prompt), run(tiny, images, prompt))


def boxes_of(count: int, seed: int = 0) -> Tensor:
    """Boxes [1, count, 4] inside the picture."""
    generator = torch.Generator().manual_seed(seed)
    sides = 0.1 + 0.3 * torch.rand(1, count, 2, generator=generator, dtype=torch.float64)
    centres = sides / 2 + (1 - sides) * torch.rand(1, count, 2, generator=generator, dtype=torch.float64)
    return torch.cat((centres, sides), -1)


def test_known_boxes_are_decoded_one_by_one_and_in_their_order(tiny: XPose) -> None:
    prompts, boxes, classes = one(2, 5), boxes_of(4), torch.tensor([[0, 1, 1, 0]])
    with torch.inference_mode():
        features = tiny.encode_image(random_images(1, 64, 96))
        together = tiny.decode_known(features, prompts, boxes, classes)
        assert together.group_class[0].tolist() == classes[0].tolist()
        for k in range(4):
            alone = tiny.decode_known(features, prompts, boxes[:, k : k + 1], classes[:, k : k + 1])
            for name in ("logits", "boxes", "keypoints", "keypoint_confidence"):
                torch.testing.assert_close(getattr(alone, name)[0][0], getattr(together, name)[0][k], **CLOSE)
        moved = tiny.decode_known(features, prompts, boxes.flip(-1), classes)
        assert (moved.keypoints[0] - together.keypoints[0]).abs().max() > 0.01


@pytest.mark.parametrize("config", [tiny_config, tiny_nano_config])
def test_the_keypoint_decoder_starts_from_known_boxes(config: Callable[[], XPoseConfig]) -> None:
    """The heads of an untrained network move nothing, so that boxes stay and keypoints are at their centres."""
    model, boxes = XPose(config()).double().eval(), boxes_of(3)
    with torch.inference_mode():
        features = model.encode_image(random_images(1, 64, 96))
        result = model.decode_known(features, one(1, 5), boxes, torch.zeros(1, 3, dtype=torch.long))
    torch.testing.assert_close(result.boxes[0], boxes[0])
    torch.testing.assert_close(result.keypoints[0], boxes[0, :, None, :2].expand(-1, 5, -1))


def test_known_boxes_start_as_given_queries_do_in_training() -> None:
    model, boxes, classes = lively(XPose(tiny_nano_config())).double(), boxes_of(3), torch.tensor([[1, 0, 1]])
    numbers = torch.arange(3)[None]
    given = GivenQueries(
        classes, boxes, torch.ones(1, 3, dtype=torch.bool), 1, numbers, classes, boxes.new_full((1, 3, 5, 2), math.nan)
    )
    with torch.inference_mode():
        scene = model.encoder(model.encode_image(random_images(1, 64, 96)), model.project(one(2, 5)))
        content = model.selection.known(classes, scene.prompts)
        known = model.object_decoder.known(content, boxes, classes, scene, model.heads)
        trained = model.object_decoder.given(given, scene, model.heads)
    torch.testing.assert_close(known.content, trained.content, **CLOSE)
    assert torch.equal(known.boxes, boxes)


def test_gradients_reach_every_parameter(tiny: XPose) -> None:
    """With the report of every layer, no parameter is left out of training."""
    tiny.zero_grad()
    result = tiny(random_images(1, 64, 64), one(2, 4), with_reports=True)
    scene = sum(r.logits.nan_to_num(neginf=0).sum() + r.boxes.sum() for r in result.reports)
    points = [r for r in result.reports if r.keypoints is not None]
    assert len(points) == tiny.config.keypoint_layers
    loss = scene + sum(r.keypoints.sum() + r.keypoint_logits.sum() for r in points)
    loss = loss + sum(r.visibility.sum() for r in points if r.visibility is not None)
    loss = loss + sum(r.log_error.sum() for r in points if r.log_error is not None)
    loss.backward()
    # The selection's similarity is trained by the encoder's proposals, which are not part of these reports.
    silent = [n for n, p in tiny.named_parameters() if p.grad is None and not n.startswith("selection.similarity")]
    tiny.zero_grad()
    assert silent == []


@pytest.mark.parametrize(
    ("objects", "keypoints", "message"),
    [
        pytest.param([], [], "at least one", id="no images"),
        pytest.param([torch.zeros(1, 12)], [], "one entry per image", id="unequal lists"),
        pytest.param([torch.zeros(0, 12)], [torch.zeros(3, 12)], "at least one class", id="no class"),
        pytest.param([torch.zeros(12)], [torch.zeros(3, 12)], "at least one class", id="objects not a matrix"),
        pytest.param([torch.zeros(1, 12)], [torch.zeros(12)], "[keypoints, width]", id="keypoints not a matrix"),
        pytest.param([torch.zeros(2, 12)], [[torch.zeros(3, 12)]], "one such tensor per class", id="sets missing"),
        pytest.param([torch.zeros(1, 12)], [torch.zeros(3, 11)], "same prompt encoder", id="two widths"),
    ],
)
def test_wrong_prompts_are_refused(objects: list, keypoints: list, message: str) -> None:
    with pytest.raises(PromptError) as error:
        PromptEmbeddings.from_lists(objects, keypoints)
    assert message in str(error.value)


def test_wrong_calls_are_refused(tiny: XPose) -> None:
    with pytest.raises(ImageError, match="batch, 3, height, width"):
        tiny(torch.zeros(3, 64, 64), one(1, 3))
    with pytest.raises(ImageError, match="padding mask"):
        tiny(random_images(1, 64, 64), one(1, 3), torch.zeros(1, 64, 60, dtype=torch.bool))
    with pytest.raises(PromptError, match="own prompt encoder"):
        tiny(random_images(1, 64, 64), PromptEmbeddings.from_lists([torch.zeros(1, 5)], [torch.zeros(2, 5)]))
    two = PromptEmbeddings.from_lists([torch.zeros(1, 12)] * 2, [torch.zeros(2, 12)] * 2)
    with pytest.raises(PromptError, match="one for all"):
        tiny(random_images(3, 64, 64), two)
