"""Classes that stand silently beside the prompts and take what fits them better."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.inference.conftest import own_detector

import xpose
from xpose.errors import ConfigError
from xpose.inference import Detector
from xpose.inference.encoding import EncodedClass, assemble
from xpose.inference.rivals import ALIKE, beside
from xpose.prompts import TextPrompt

ALL = {"threshold": 0.0, "nms": None}


def one(*token: float) -> EncodedClass:
    return EncodedClass(TextPrompt("thing", keypoints=("top", "bottom")).resolved, torch.tensor(token), torch.eye(2, 3))


EAST, NORTH, UP = torch.eye(3)


def tokens(classes: list[EncodedClass]) -> list[list[float]]:
    return [c.object_token.tolist() for c in classes]


def test_the_others_stand_after_the_asked_ones_and_share_their_keypoints() -> None:
    asked = [one(2, 0, 0)]
    together = beside(asked, torch.stack((EAST, NORTH, UP)))
    assert together[0] is asked[0]
    assert tokens(together[1:]) == [[0, 1, 0], [0, 0, 1]], "the one alike to the asked class is no rival"
    assert all(c.keypoint_tokens is asked[0].keypoint_tokens for c in together)


def test_what_the_network_does_not_know_has_no_rivals() -> None:
    stranger = one(1, 1, 1)  # a cosine of 0.58 to each
    assert beside([stranger], torch.stack((EAST, NORTH, UP))) == [stranger]
    assert len(beside([one(1, 0, 0), stranger], torch.stack((EAST, NORTH, UP)))) == 2


def test_several_classes_lose_only_what_is_alike_to_none_of_them() -> None:
    together = beside([one(1, 0, 0), one(0, 1, 0)], torch.stack((EAST, NORTH, UP)))
    assert tokens(together[2:]) == [[0, 0, 1]]


def test_no_rivals_change_nothing() -> None:
    assert len(beside([one(1, 0, 0)], torch.zeros(0, 3))) == 1
    near = torch.tensor([[ALIKE + 0.01, (1 - (ALIKE + 0.01) ** 2) ** 0.5, 0.0]])
    assert len(beside([one(1, 0, 0)], near)) == 1


NAMES = ("horse", "steel beam", "violin", "honey bee", "moon")


def telling(**changes: object) -> Detector:
    """A network that tells the names apart as their words do; an untrained one takes all for one thing."""
    detector = own_detector(**changes)
    torch.manual_seed(0)
    model = detector.model
    model.object_projection = torch.nn.Linear(400, model.config.dim, bias=False).requires_grad_(False)
    horse, *others = detector.prompts.objects(NAMES)
    assert all(float(torch.cosine_similarity(horse, other, dim=0)) < ALIKE for other in others)
    return detector


def test_as_if_the_rivals_had_been_asked_for_as_well(picture: np.ndarray) -> None:
    detector = telling()
    prompt = detector.encode_prompts("horse")[0]
    together = beside([prompt], detector.prompts.objects(NAMES))
    encoded = detector.encode_image(picture)
    answer = detector.model.decode(encoded.features, assemble([together]))
    expected = np.sort(answer.logits[0].sigmoid().numpy()[:, 0])[::-1]
    found = detector.detect(picture, "horse", rivals=NAMES, **ALL)
    assert set(found.categories) == {"horse"}
    np.testing.assert_allclose(found.scores, expected, atol=1e-5)
    np.testing.assert_array_equal(detector.detect(encoded, "horse", rivals=list(NAMES), **ALL).boxes, found.boxes)
    for other in detector.detect([picture, picture], "horse", rivals=NAMES, batch_size=2, **ALL):
        np.testing.assert_allclose(other.boxes, found.boxes, atol=2e-3)


def test_the_weights_rivals_are_used_unless_a_call_says_otherwise(picture: np.ndarray) -> None:
    detector = telling(rivals=NAMES)
    alone = detector.detect(picture, "horse", rivals=None, **ALL)
    own = detector.detect(picture, "horse", **ALL)
    assert not np.allclose(own.scores, alone.scores)
    np.testing.assert_array_equal(own.boxes, telling().detect(picture, "horse", rivals=NAMES, **ALL).boxes)
    np.testing.assert_array_equal(alone.boxes, telling().detect(picture, "horse", **ALL).boxes)
    np.testing.assert_array_equal(detector.detect(picture, "horse", rivals=(), **ALL).scores, alone.scores)
    np.testing.assert_array_equal(detector.similarity(picture, "horse", nms=None).poses.scores, alone.scores)
    np.testing.assert_array_equal(
        detector.similarity(picture, "horse", nms=None, rivals=NAMES).poses.scores, own.scores
    )


@pytest.mark.parametrize("rivals", ["dog", [""], [3], 5])
def test_wrong_rivals(detector: Detector, picture: np.ndarray, rivals: object) -> None:
    with pytest.raises(ConfigError, match="rivals is"):
        detector.detect(picture, "horse", rivals=rivals)


def test_the_config_keeps_them(tmp_path) -> None:
    from xpose.model.pretrained import from_pretrained, save_pretrained

    folder = save_pretrained(own_detector(rivals=("person", "dog")).model, tmp_path / "w")
    assert from_pretrained(folder)[0].config.rivals == ("person", "dog")
    assert xpose.load(folder).model.config.rivals == ("person", "dog")
