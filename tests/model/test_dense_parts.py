"""Sinks, peaks and pose maps: what they must do, apart from the properties of every network."""

from __future__ import annotations

import torch
from tests.model.conftest import lively, random_images, random_prompts, tiny_dense_config

from xpose.model import PromptEmbeddings, XPose
from xpose.model.encoder import Fusion
from xpose.model.layers import Attention
from xpose.model.selection import at_peaks


def test_peaks_come_before_tokens_with_a_better_neighbour_of_the_same_level_and_class() -> None:
    fine = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0], [5.0, 0.0, 3.0]])
    coarse = torch.tensor([[9.0]])
    scores = torch.cat((fine.flatten(), coarse.flatten())).view(1, 10, 1)
    other = torch.arange(10.0).view(1, 10, 1)
    ranked = at_peaks(torch.cat((scores, other), 2), ((3, 3), (1, 1)))
    assert ranked[0, :, 0].argsort(descending=True)[:6].tolist() == [9, 6, 8, 1, 0, 2]
    assert ranked[0, :, 1].argsort(descending=True).tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert ranked[0, 6, 0] == 5


def test_with_a_sink_a_single_class_can_be_ignored() -> None:
    """Without one the only class gives its whole message to every image token."""
    torch.manual_seed(0)
    fusion = Fusion(32, 64, 4, sinks=True)
    torch.nn.init.normal_(fusion.gamma_image)
    image, objects = torch.randn(1, 20, 32), torch.randn(1, 1, 32)
    with torch.no_grad():
        messages = fusion.folded(image, objects, None, None)[0] - fusion.out_image.bias
    assert messages.shape == (1, 20, 32)
    assert (messages[0, 0] - messages[0, 1]).abs().max() > 1e-4  # the tokens decide for themselves


def test_a_sink_takes_attention_and_adds_nothing() -> None:
    torch.manual_seed(0)
    attention = Attention(16, 2, sink=True)
    query, key, value = torch.randn(1, 3, 16), torch.randn(1, 1, 16), torch.randn(1, 1, 16)
    with torch.no_grad():
        attention.in_proj_bias.zero_()
        attention.out_proj.bias.zero_()
        attention.out_proj.weight.copy_(torch.eye(16))
        share = attention(query, key, value) / attention.single(value)
        assert ((share > 0) & (share < 1)).all()
        doubled = attention(query, key, 2 * value)
        torch.testing.assert_close(doubled, 2 * attention(query, key, value))


def test_maps_put_points_where_their_cells_lie() -> None:
    model = lively(XPose(tiny_dense_config())).double()
    objects, points = random_prompts(1, 3)
    prompts = PromptEmbeddings.from_lists([objects], [points])
    with torch.inference_mode():
        result = model(random_images(1, 64, 96), prompts, with_reports=True)
    maps = result.trace.maps
    assert maps.logits.shape == (1, 6, 3, 16)
    assert maps.frames.shape == (1, 6, 4)
    boxes = [report for report in result.reports if report.keypoints is None][-1].boxes
    assert maps.frames[..., 2:].amin() > 0
    assert boxes.shape[-1] == 4
    assert result.keypoint_error is not None
    assert (result.keypoint_error[0] > 0).all()


def test_without_objects_to_find_there_is_no_report_of_all_tokens() -> None:
    """What only training reads is not computed in use."""
    model = lively(XPose(tiny_dense_config())).double()
    objects, points = random_prompts(2, 3)
    prompts = PromptEmbeddings.from_lists([objects], [points])
    images = random_images(1, 64, 96)
    with torch.inference_mode():
        reported = model(images, prompts, with_reports=True)
        plain = model(images, prompts)
    assert plain.trace is None
    assert reported.trace.proposals.every.logits.shape == (1, 126, 2)
    torch.testing.assert_close(plain.keypoints[0], reported.keypoints[0], equal_nan=True)
