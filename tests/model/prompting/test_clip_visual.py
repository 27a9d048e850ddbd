"""Example pictures through CLIP's image tower: parity, who sees whom, and shots."""

import pytest
import torch
import transformers

from xpose.errors import CheckpointError
from xpose.model.prompting.clip import ClipVisualPromptEncoder, average_shots


@pytest.fixture(scope="module")
def encoder(tiny):
    return ClipVisualPromptEncoder.from_official(tiny).double()


@pytest.fixture
def case():
    """Two pictures of five points, some invisible."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(2, 3, 32, 32, generator=generator, dtype=torch.float64)
    points = torch.rand(2, 5, 2, generator=generator, dtype=torch.float64)
    visible = torch.tensor([[True, True, False, True, False], [True, False, True, True, True]])
    return pictures, points, visible


def test_the_picture_embedding_is_that_of_the_released_network(full, clip_case):
    encoder = ClipVisualPromptEncoder.from_official(full)
    picture = torch.from_numpy(clip_case["image"])[None]
    points, visible = torch.rand(1, 17, 2), torch.arange(17)[None] % 3 > 0
    objects, keypoints = encoder.encode(picture, points, visible)
    torch.testing.assert_close(objects, torch.from_numpy(clip_case["image_embedding"]), rtol=0, atol=1e-4)
    assert keypoints.shape == (1, 17, 512)


def test_clip_never_sees_the_keypoints(encoder, case):
    pictures, points, visible = case
    objects, _ = encoder.encode(pictures, points, visible)
    with torch.no_grad():
        assert torch.equal(objects, encoder.tower(pictures).image_embeds), "to the last bit"
    assert torch.equal(objects, encoder.encode(pictures, 1 - points, ~visible)[0])
    assert torch.equal(objects, encoder.encode(pictures, points[:, :0], visible[:, :0])[0])


def test_the_two_streams_equal_one_sequence_under_a_mask(encoder, case):
    """The definition: class token and patches see themselves; keypoint tokens see patches and keypoint tokens."""
    pictures, points, visible = case
    vision = encoder.tower.vision_model
    with torch.no_grad():
        tokens = torch.cat((vision.embeddings(pictures), encoder._keypoint_tokens(points, visible)), dim=1)
        tokens = vision.pre_layrnorm(tokens)
        count, patches = tokens.shape[1], 17
        hidden = torch.zeros(count, count, dtype=torch.float64)
        hidden[:patches, patches:] = -torch.inf
        hidden[patches:, 0] = -torch.inf
        old = {"causal_attention_mask": None} if transformers.__version__.startswith("4.") else {}
        for layer in vision.encoder.layers:
            out = layer(tokens, attention_mask=hidden.expand(2, 1, count, count), **old)
            tokens = out[0] if isinstance(out, tuple) else out
        wanted = encoder.tower.visual_projection(vision.post_layernorm(tokens))
    objects, keypoints = encoder.encode(pictures, points, visible)
    torch.testing.assert_close(objects, wanted[:, 0], rtol=0, atol=1e-11)
    torch.testing.assert_close(keypoints, wanted[:, patches:], rtol=0, atol=1e-11)


def test_a_keypoint_sees_the_patches_and_the_other_keypoints(encoder, case):
    pictures, points, visible = case
    _, before = encoder.encode(pictures, points, visible)
    other_picture = encoder.encode(pictures.flip(-1), points, visible)[1]
    moved = points.clone()
    moved[:, 0] = 1 - moved[:, 0]
    other_point = encoder.encode(pictures, moved, visible)[1]
    hidden = visible.clone()
    hidden[:, 0] = False
    other_visibility = encoder.encode(pictures, points, hidden)[1]
    for after in (other_picture, other_point, other_visibility):
        assert ((after - before).abs().amax(-1) > 1e-6).all()


def test_the_order_of_keypoints_does_not_matter(encoder, case):
    pictures, points, visible = case
    order = torch.tensor([3, 0, 4, 1, 2])
    _, keypoints = encoder.encode(pictures, points, visible)
    _, moved = encoder.encode(pictures, points[:, order], visible[:, order])
    torch.testing.assert_close(moved, keypoints[:, order], rtol=0, atol=1e-12)


def test_alone_or_in_a_batch(encoder, case):
    together = encoder.encode(*case)
    for n in range(2):
        alone = encoder.encode(*(part[n : n + 1] for part in case))
        for one, many in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], many[n], rtol=0, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, -3.0, float("nan"), float("inf")])
def test_where_an_invisible_point_lies_does_not_matter(encoder, case, value):
    pictures, points, visible = case
    other = points.masked_fill(~visible[..., None], value)
    assert torch.equal(encoder.encode(pictures, other, visible)[1], encoder.encode(pictures, points, visible)[1])


def test_only_the_new_parts_learn(tiny, case):
    encoder = ClipVisualPromptEncoder.from_official(tiny).double().train()
    assert not encoder.tower.training
    pictures, points, visible = case
    points = points.masked_fill(~visible[..., None], float("nan"))
    objects, keypoints = encoder(pictures, points, visible)
    (objects.sum() + keypoints.square().sum()).backward()
    learning = {name for name, parameter in encoder.named_parameters() if parameter.grad is not None}
    assert learning == {"pos_proj.weight", "pos_proj.bias", "padding.weight"}
    for name in learning:
        gradient = encoder.get_parameter(name).grad
        assert gradient.isfinite().all(), name
        assert gradient.abs().max() > 0, name


def test_shots_are_averaged_over_the_pictures_that_show_the_keypoint():
    objects = torch.tensor([[1.0, 3.0], [3.0, 5.0]])
    keypoints = torch.tensor([[[1.0], [2.0], [4.0]], [[3.0], [4.0], [8.0]]])
    visible = torch.tensor([[True, False, False], [True, True, False]])
    mean, points = average_shots(objects, keypoints, visible)
    assert mean.tolist() == [2, 4]
    assert points[:, 0].tolist() == [2, 4, 6], "both, the second only, neither: the mean over all"


def test_one_shot_is_itself(encoder, case):
    objects, keypoints = encoder.encode(*(part[:1] for part in case))
    mean, points = average_shots(objects, keypoints, case[2][:1])
    assert torch.equal(mean, objects[0])
    assert torch.equal(points, keypoints[0])


def test_without_the_prompt_weights_there_is_no_visual_prompt(tiny):
    state = {name: tensor for name, tensor in tiny.items() if not name.startswith("p")}
    with pytest.raises(
        CheckpointError, match=r"pos_proj.weight is missing.*padding.weight is missing.*prompt with words"
    ):
        ClipVisualPromptEncoder.from_official(state)
    with pytest.raises(CheckpointError, match=r"padding.weight is \(2, 128\), expected \(1, 128\)"):
        ClipVisualPromptEncoder.from_official(tiny | {"padding.weight": torch.zeros(2, 128)})
    with pytest.raises(CheckpointError, match=r"CLIP image tower.*carries its CLIP weights"):
        ClipVisualPromptEncoder.from_official({"pos_proj.weight": tiny["pos_proj.weight"]})


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((1, 3, 30, 32), (1, 5, 2), (1, 5)), r"\(1, 3, 30, 32\)"),
        (((1, 3, 32, 32), (2, 5, 2), (2, 5)), r"\(2, 5, 2\)"),
        (((1, 3, 32, 32), (1, 5, 3), (1, 5)), r"\(1, 5, 3\)"),
        (((1, 3, 32, 32), (1, 5, 2), (1, 4)), r"\(1, 4\)"),
    ],
)
def test_shapes_that_do_not_fit(encoder, shapes, message):
    with pytest.raises(ValueError, match=message):
        encoder.encode(*(torch.zeros(shape) for shape in shapes))
