"""Clicks for promptable segmenters: what they say, and that SAM takes them."""

from __future__ import annotations

import numpy as np
import pytest
from tests.results.pose_cases import tracked_people, two_dogs_and_a_box

from xpose.results import Poses
from xpose.results.clicks import Clicks


def test_keypoints_are_clicks_on_their_object_and_beside_others() -> None:
    clicks = two_dogs_and_a_box().to_prompts()
    # Of the first dog, the hidden nose is no click; its left eye is in the second dog's box. None is in the hand's.
    assert clicks.labels.tolist() == [[1, 1, -1], [1, 1, 0], [-1, -1, -1]]
    assert clicks.points.tolist() == [[[20, 30], [100, 60], [0, 0]], [[5, 5], [9, 9], [20, 30]], [[0, 0]] * 3]
    np.testing.assert_array_equal(clicks.boxes, two_dogs_and_a_box().boxes)
    assert [part.shape for part in Poses.empty((5, 5)).to_prompts()] == [(0, 0, 2), (0, 0), (0, 4)]


@pytest.fixture(scope="module")
def people() -> Clicks:
    return tracked_people()[0].to_prompts()


def test_sam_takes_them(people: Clicks) -> None:
    """transformers' SAM with tiny random weights: a mask for each object, and padding does not change it."""
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    layer = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "mlp_dim": 16}
    size = {"image_size": 64, "patch_size": 16}
    config = transformers.SamConfig(
        vision_config={
            **layer,
            **size,
            "output_channels": 16,
            "num_pos_feats": 8,
            "window_size": 2,
            "global_attn_indexes": [0],
        },
        prompt_encoder_config={**size, "hidden_size": 16, "mask_input_channels": 4},
        mask_decoder_config={**layer, "iou_head_hidden_dim": 16, "iou_head_depth": 2},
    )
    torch.manual_seed(0)
    model = transformers.SamModel(config).eval()
    sides = {"height": 64, "width": 64}
    images = transformers.models.sam.image_processing_pil_sam.SamImageProcessorPil(
        size={"longest_edge": 64}, pad_size=sides, mask_size={"longest_edge": 16}, mask_pad_size=sides
    )
    processor = transformers.SamProcessor(images)

    def masks(clicks: Clicks):
        inputs = processor(
            np.zeros((120, 180, 3), np.uint8),
            input_points=[clicks.points.tolist()],
            input_labels=[clicks.labels.tolist()],
            input_boxes=[clicks.boxes.tolist()],
            return_tensors="pt",
        )
        with torch.inference_mode():
            kept = {key: inputs[key] for key in ("pixel_values", "input_points", "input_labels", "input_boxes")}
            return model(**kept, multimask_output=False).pred_masks

    both = masks(people)
    assert both.shape == (1, 2, 1, 16, 16)
    assert both.isfinite().all()
    moved = Clicks(people.points + np.float32(40), people.labels, people.boxes)
    assert not torch.equal(both, masks(moved)), "the clicks are used"
    padding = (people.labels == -1)[..., None]
    elsewhere = Clicks(np.where(padding, np.float32(90), people.points), people.labels, people.boxes)
    torch.testing.assert_close(both, masks(elsewhere), msg="places of padding do not matter")
