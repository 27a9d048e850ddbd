"""Other systems through transformers, with tiny random networks made here in the form that users' folders have."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.evaluation.drawn_sets import TUBE, Known, repeated, thing, write_set

from xpose.errors import CheckpointError
from xpose.evaluation.peers import POINT, ClipSource, GroundingDinoSource, open_peer
from xpose.evaluation.questions import Settings
from xpose.evaluation.runner import evaluate

WORDS = ("glue", "tube", "cap", "crimped", "end", "a", "photo", "of", "the", "bee", "honey", "head", "thorax", ".")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    tubes = [thing((0, 0, 40, 20), (5, 10), (35, 10)), thing((10, 30, 60, 25), (15, 40), (65, 40))]
    write_set(root / "tubes", [("glue tube", TUBE)], {"train": [tubes], "val": [tubes]})
    bee = [thing((20, 10, 40, 40), (25, 15), (55, 45))]
    write_set(root / "bees", [("honey bee", ("head", "thorax"))], {"train": [bee], "val": [bee]})
    return root


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    from transformers import (
        BertTokenizerFast,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    folder = tmp_path_factory.mktemp("peers") / "dino"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "?", *WORDS)))
    backbone = SwinConfig(image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=4)
    backbone.out_features = ["stage2", "stage3", "stage4"]
    torch.manual_seed(0)
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config={
            "model_type": "bert",
            "vocab_size": 6 + len(WORDS),
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
        },
        num_queries=12,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        d_model=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        max_text_len=32,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    images = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    GroundingDinoProcessor(images, BertTokenizerFast(str(folder / "vocab.txt"))).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizerFast

    folder = tmp_path_factory.mktemp("peers") / "clip"
    folder.mkdir()
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**small, "vocab_size": len(tokens), "bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1}
    config = CLIPConfig(text_config=text, vision_config={**small, "image_size": 32, "patch_size": 16}, projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    tokenizer = CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"))
    CLIPProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def first_task(tree, protocol="nano-real", **more):
    known = Known(repeated)
    evaluate(protocol, known, tree, **more)
    return known.tasks[-1]


def test_grounding_dino_is_measured_by_the_same_code(dino, tree):
    source = open_peer(f"grounding-dino={dino}", device="cpu")
    assert isinstance(source, GroundingDinoSource)
    result = evaluate("nano-real", source, tree)
    assert result.weights.startswith("GroundingDINO")
    assert set(result.scores.groups()) == {"bees", "tubes"}
    again = evaluate("nano-real", open_peer(f"grounding-dino={dino}"), tree)
    assert again.summary == pytest.approx(result.summary, nan_ok=True)


def test_a_keypoint_is_the_centre_of_its_best_box_inside_the_object(dino, tree):
    source = GroundingDinoSource(str(dino))
    task = first_task(tree, only=["tubes"])
    objects = (np.array([[0.0, 0, 40, 20], [30, 30, 70, 60]]), np.array([0.9, 0.6]))
    caps = (np.array([[2.0, 2, 12, 8], [44, 40, 54, 50], [10, 10, 14, 14]]), np.array([0.5, 0.7, 0.3]))
    ends = (np.array([[32.0, 32, 36, 36]]), np.array([0.01]))  # below what gives a point
    answers = {"glue tube": objects, "cap": caps, "crimped end": ends}
    source._boxes = lambda pixels, words: answers[words]
    ((found,),) = source.answer([task], [task.pixels()], Settings())
    assert found.categories == ("glue tube", "glue tube")
    np.testing.assert_allclose(found.boxes, objects[0])
    assert found.keypoint_names[0] == ("cap", "crimped end")
    np.testing.assert_allclose(found.xy[:, 0], [[6.5, 4.5], [48.5, 44.5]])  # (2 + 12) / 2 = 7, less half a pixel
    assert np.isnan(found.xy[:, 1]).all()
    np.testing.assert_allclose(found.keypoint_scores[:, 0], [0.5, 0.7], rtol=1e-6)
    assert found.visibility[:, 1].tolist() == [0, 0]


def test_boxes_of_grounding_dino_lie_in_the_picture(dino, tree):
    source = GroundingDinoSource(str(dino))
    boxes, scores = source._boxes(first_task(tree).pixels(), "glue tube")
    assert boxes.shape == (12, 4)
    assert ((boxes >= 0) & (boxes <= [80, 60, 80, 60])).all()
    assert (boxes[:, 2:] >= boxes[:, :2]).all()
    assert ((scores >= 0) & (scores <= 1)).all()


def test_clip_scores_regions_against_words(clip, tree):
    source = open_peer(f"clip={clip}")
    assert isinstance(source, ClipSource)
    result = evaluate("similarity", source, tree)
    for name in ("instance/right words", "instance/wrong class", "keypoint/right words"):
        assert 0 < result.summary[name] < 1
    assert len(result.scores.metrics["tubes", "right words"]["likeness"].values["instance"]) == 2


def test_clip_by_hand(clip, tree):
    """The cosine of the two embeddings that transformers gives, brought to 0..1."""
    from transformers import CLIPModel, CLIPProcessor

    source = ClipSource(str(clip))
    task = first_task(tree, "similarity", only=["bees", "tubes"])
    ((found, *_),) = source.answer([task], [task.pixels()], Settings())
    model, processor = CLIPModel.from_pretrained(clip).eval(), CLIPProcessor.from_pretrained(clip)
    # The first tube is 40 long and its cap at (5, 10): a square of 10 pixels round (5.5, 10.5), cut to the picture.
    region = task.pixels()[5:16, 0:11]
    words = POINT.format(point="cap", object="glue tube")
    inputs = processor(text=[words], images=[region], return_tensors="pt", padding=True)
    with torch.inference_mode():
        whole = model(**inputs)
    cosine = torch.nn.functional.cosine_similarity(whole.image_embeds, whole.text_embeds).item()
    (row,) = np.flatnonzero((found.boxes == [0, 0, 40, 20]).all(1))
    assert found.keypoint_scores[row, 0] == pytest.approx((cosine + 1) / 2, abs=1e-5)


def test_clip_asks_each_labelled_point_by_its_own_name(clip, tree):
    """Also where a point before it has no label."""
    source = ClipSource(str(clip))
    task = first_task(tree, "similarity", only=["bees", "tubes"])
    right = task.questions[0]
    thing = right.truth.instances[0]
    last = thing.category.keypoints[-1]
    partial = replace(thing, keypoints={last: thing.keypoints[last]})
    asked = []

    def likeness(regions, words):
        asked.extend(words)
        return np.full(len(words), 0.5)

    source._likeness = likeness
    found = source._answer(replace(right, truth=replace(right.truth, instances=(partial,))), task.pixels(), Settings())
    assert asked[1:] == [POINT.format(point=last, object=right.asked[0].called)]
    assert found.keypoint_names == ((last,),)


def test_identities_differ_by_weights(clip, dino):
    assert ClipSource(str(clip)).identity != GroundingDinoSource(str(dino)).identity


@pytest.mark.parametrize("kind", ["grounding-dino", "clip"])
def test_a_folder_without_such_weights_gets_a_message(kind, tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no config\.json"):
        open_peer(f"{kind}={tmp_path / 'nothing'}")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="transformers can read"):
        open_peer(f"{kind}={tmp_path}")
