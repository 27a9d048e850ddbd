"""Classes that stand silently beside the prompts and take what fits them better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.inference.conftest import animals, own_detector, saved, telling

import xpose
from xpose.errors import ConfigError, XPoseError
from xpose.inference import Detector
from xpose.inference.competing_classes import ALIKE, beside
from xpose.inference.encoded import EncodedClass, assemble
from xpose.prompts import TextPrompt

ALL = {"threshold": 0.0, "nms": 1.0}


def one(*token: float) -> EncodedClass:
    return EncodedClass(TextPrompt("thing", keypoints=("top", "bottom")).resolved, np.float32(token), np.eye(2, 3))


EAST, NORTH, UP = np.eye(3, dtype=np.float32)


def tokens(classes: list[EncodedClass]) -> list[list[float]]:
    return [c.object_token.tolist() for c in classes]


def test_the_others_stand_after_the_asked_ones_and_share_their_keypoints() -> None:
    asked = [one(2, 0, 0)]
    together = beside(asked, np.stack((EAST, NORTH, UP)))
    assert together[0] is asked[0]
    assert tokens(together[1:]) == [[0, 1, 0], [0, 0, 1]], "the one alike to the asked class is no rival"
    assert all(c.keypoint_tokens is asked[0].keypoint_tokens for c in together)


def test_what_is_like_none_of_them_has_no_rivals() -> None:
    stranger = one(1, 1, 1)  # a cosine of 0.58 to each
    assert beside([stranger], np.stack((EAST, NORTH, UP))) == [stranger]
    assert tokens(beside([stranger, one(1, 0, 0)], np.stack((EAST, NORTH, UP)))[2:]) == [[0, 1, 0], [0, 0, 1]]


def test_several_classes_lose_only_what_is_alike_to_none_of_them() -> None:
    together = beside([one(1, 0, 0), one(0, 1, 0)], np.stack((EAST, NORTH, UP)))
    assert tokens(together[2:]) == [[0, 0, 1]]


def test_no_rivals_change_nothing() -> None:
    assert len(beside([one(1, 0, 0)], np.zeros((0, 3)))) == 1
    near = np.array([[ALIKE + 0.01, (1 - (ALIKE + 0.01) ** 2) ** 0.5, 0.0]])
    assert len(beside([one(1, 0, 0)], near)) == 1


NAMES = ("horse", "steel beam", "violin", "honey bee", "moon")


def test_the_words_are_told_apart() -> None:
    tokens = telling().prompts.objects(NAMES)
    unit = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
    assert (unit[1:] @ unit[0] < ALIKE).all()


def test_rivals_are_seen_and_open_nothing(picture: np.ndarray) -> None:
    detector = telling()
    encoded = detector.encode_image(picture)
    horse = detector.encode_prompts("horse")[0]
    prompts = assemble([beside([horse], detector.prompts.objects(NAMES))])
    assert prompts.silent is not None
    assert prompts.silent.tolist() == [[False, *[True] * (len(NAMES) - 1)]]
    (answer,) = detector.engine.decode(encoded.features, prompts)
    (asked_as_well,) = detector.engine.decode(encoded.features, replace(prompts, silent=None))
    assert (answer.group_class == 0).all()
    assert (asked_as_well.group_class != 0).any(), "the control: without silence they open groups"
    (alone,) = detector.engine.decode(encoded.features, assemble([[horse]]))
    assert not np.allclose(answer.logits[:, 0], alone.logits[:, 0])
    found = detector.detect(picture, "horse", rivals=NAMES, **ALL)
    np.testing.assert_allclose(found.scores, np.sort(answer.scores[:, 0])[::-1], atol=1e-5)
    np.testing.assert_array_equal(detector.detect(encoded, "horse", rivals=list(NAMES), **ALL).boxes, found.boxes)


def test_the_order_of_the_prompts_does_not_matter(picture: np.ndarray) -> None:
    detector = telling()
    prompts = [TextPrompt("horse"), TextPrompt("violin", keypoints=("neck", "bow"))]
    rivals = ("horse", "steel beam", "moon")
    one_way = detector.detect(picture, prompts, rivals=rivals, **ALL)
    other_way = detector.detect(picture, prompts[::-1], rivals=rivals, **ALL)
    assert one_way.categories == other_way.categories
    np.testing.assert_allclose(one_way.scores, other_way.scores, atol=1e-5)
    np.testing.assert_allclose(one_way.xy, other_way.xy, atol=2e-3, equal_nan=True)


def test_pictures_of_a_batch_have_the_rivals_of_their_own_prompts(picture: np.ndarray) -> None:
    detector = telling()
    prompts = [animals(words) for words in ("horse", "cathedral", "moon, horse")]  # four rivals, none, three
    single = [detector.detect(picture, prompt, rivals=NAMES, **ALL) for prompt in prompts]
    together = detector.detect([picture] * 3, per_image=prompts, rivals=NAMES, batch_size=3, **ALL)
    np.testing.assert_array_equal(single[1].scores, detector.detect(picture, prompts[1], rivals=(), **ALL).scores)
    for one, other in zip(single, together, strict=True):
        assert one.categories == other.categories
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
        np.testing.assert_allclose(one.boxes, other.boxes, atol=2e-2)


def test_a_fault_of_a_rival_shows_before_a_picture_is_read() -> None:
    with pytest.raises(XPoseError, match="!!!"):
        telling().detect(iter(["no such picture.png"]), "horse", rivals=["!!!"])


def test_the_weights_rivals_are_used_unless_a_call_says_otherwise(picture: np.ndarray) -> None:
    detector = telling(rivals=NAMES)
    assert detector.prompts.objects(()).shape == (0, detector.model.config.dim)
    alone = detector.detect(picture, "horse", rivals=(), **ALL)
    own = detector.detect(picture, "horse", **ALL)
    assert not np.allclose(own.scores, alone.scores)
    np.testing.assert_array_equal(own.boxes, telling().detect(picture, "horse", rivals=NAMES, **ALL).boxes)
    np.testing.assert_array_equal(alone.boxes, telling().detect(picture, "horse", **ALL).boxes)
    np.testing.assert_array_equal(detector.detect(picture, "horse", rivals=(), **ALL).scores, alone.scores)
    np.testing.assert_array_equal(detector.similarity(picture, "horse", nms=1.0).poses.scores, alone.scores)
    np.testing.assert_array_equal(detector.similarity(picture, "horse", nms=1.0, rivals=NAMES).poses.scores, own.scores)


@pytest.mark.parametrize("rivals", ["dog", [""], [3], 5, np.array(["dog", "cat"])], ids=str)
def test_wrong_rivals(detector: Detector, picture: np.ndarray, rivals: object) -> None:
    with pytest.raises(ConfigError, match="rivals is"):
        detector.detect(picture, "horse", rivals=rivals)


def test_the_config_keeps_them(tmp_path) -> None:
    folder = saved(own_detector(rivals=("person", "dog")), tmp_path / "w")
    assert xpose.load(folder).calibration.rivals == ("person", "dog")
