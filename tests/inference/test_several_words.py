"""Several words together: a place goes to the word that is farthest above its own threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.inference.conftest import animals, telling

from xpose.inference import Detector
from xpose.inference.competing_classes import beside, passes
from xpose.inference.encoded import assemble
from xpose.inference.postprocess import required_logits
from xpose.prompts import TextPrompt
from xpose.results import Poses

HORSE, VIOLIN = animals("horse, violin")
BOWED = TextPrompt("violin", keypoints=("neck", "bow"))
EVERYTHING: dict[str, Any] = {"threshold": 0.0, "nms": 1.0, "max_instances": 100}


def logits_of(detector: Detector, picture: np.ndarray, prompts: list[Any], bar: Any, rivals: tuple[str, ...]) -> Any:
    """The network's own answer, to compare with what the detector makes of it."""
    together = beside(detector.encode_prompts(prompts), detector.prompts.objects(rivals))
    features = detector.encode_image(picture).features
    (answer,) = detector.engine.decode(features, assemble([together], [bar]), 60)
    return answer.logits[:, : len(prompts)], answer.group_class


def even(picture: np.ndarray, prompts: list[Any], rivals: tuple[str, ...], heat: float) -> tuple[Detector, np.ndarray]:
    """The network with thresholds such that neither word is ahead on the whole, and the logits of those."""
    plain, _ = logits_of(telling(), picture, prompts, None, rivals)
    bar = np.quantile(plain, 0.5, axis=0).astype(np.float32)
    shares = torch.from_numpy(bar / heat).sigmoid().tolist()
    return telling(thresholds=dict(zip(("horse", "violin"), shares, strict=True)), temperature=heat), bar


@pytest.mark.parametrize("heat", [1.0, 1.6])
@pytest.mark.parametrize("rivals", [(), ("horse", "violin", "moon", "steel beam")], ids=["alone", "rivals"])
@pytest.mark.parametrize("prompts", [[HORSE, VIOLIN], [HORSE, BOWED]], ids=["same points", "other points"])
def test_a_place_goes_to_the_word_farthest_above_its_threshold(
    picture: np.ndarray, prompts: list[Any], rivals: tuple[str, ...], heat: float
) -> None:
    detector, bar = even(picture, prompts, rivals, heat)
    logits, opened = logits_of(detector, picture, prompts, bar, rivals)
    winners = (logits - bar).argmax(1)
    assert opened.tolist() == winners.tolist()
    assert 5 < winners.sum() < len(winners) - 5, "the control: each has its share"
    assert winners.tolist() != logits.argmax(1).tolist(), "the control: it is not the likeliest"
    shown = detector.detect(picture, prompts, rivals=rivals, **EVERYTHING)
    assert len(shown) == len(winners)
    assert abs(shown.categories.count("violin") - winners.sum()) <= 1, "all but near ties, which rounding decides"
    best = 1 / (1 + np.exp(-logits[np.arange(len(winners)), winners] / heat))
    assert np.isclose(shown.scores, np.sort(best)[::-1], atol=1e-4).mean() > 0.9
    passed = (logits - bar).max(1) > 0
    assert 5 < passed.sum() < len(passed), "the control: some pass, others do not"
    some = detector.detect(picture, prompts, rivals=rivals, **{**EVERYTHING, "threshold": None})
    assert abs(len(some) - passed.sum()) <= 1, "all but what lies on the threshold"


def test_the_threshold_of_a_call_only_filters(picture: np.ndarray) -> None:
    detector, _ = even(picture, [HORSE, BOWED], (), 1.0)
    everything = detector.detect(picture, [HORSE, BOWED], **EVERYTHING)
    limit = float(np.median(everything.scores))
    fewer = detector.detect(picture, [HORSE, BOWED], **{**EVERYTHING, "threshold": limit})
    assert fewer.categories == tuple(np.array(everything.categories)[everything.scores > limit])
    apart = detector.detect(picture, [HORSE, BOWED], **{**EVERYTHING, "threshold": {"horse": limit, "violin": 1.0}})
    assert len(apart) == sum(np.array(fewer.categories) == "horse") > 0


@pytest.mark.parametrize(
    "thresholds", [{"": 0.7}, {"horse": 0.2}, {"horse": 0.2, "": 0.7}, {"horse": 0.0, "violin": 1}]
)
def test_where_thresholds_do_not_compare_the_likeliest_wins(picture: np.ndarray, thresholds: dict[str, float]) -> None:
    without = telling().detect(picture, [HORSE, BOWED], **EVERYTHING)
    found = telling(thresholds=thresholds).detect(picture, [HORSE, BOWED], **EVERYTHING)
    np.testing.assert_array_equal(without.scores, found.scores)
    assert without.categories == found.categories


def test_one_word_is_asked_as_before_whatever_its_threshold(picture: np.ndarray) -> None:
    detector, _ = even(picture, [HORSE, BOWED], (), 1.0)
    for word in (HORSE, BOWED):
        plain = telling().detect(picture, word, threshold=0.0)
        np.testing.assert_array_equal(detector.detect(picture, word, threshold=0.0).scores, plain.scores)


def test_pictures_of_a_batch_keep_to_the_thresholds_of_their_own_words(picture: np.ndarray) -> None:
    detector = telling(thresholds={"horse": 0.3, "violin": 0.6}, rivals=("horse", "moon"))
    prompts = [animals(words) for words in ("horse, violin", "violin", "moon, horse, violin")]
    single = [detector.detect(picture, prompt, **EVERYTHING) for prompt in prompts]
    together = detector.detect([picture] * 3, per_image=prompts, batch_size=3, **EVERYTHING)
    for one, other in zip(single, together, strict=True):
        assert one.categories == other.categories
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
        np.testing.assert_allclose(one.xy, other.xy, atol=2e-2, equal_nan=True)


def test_bars() -> None:
    assert required_logits(["a", "b"], {}, 1.0) is None
    assert required_logits(["a", "b"], {"a": 0.3}, 1.0) is None
    assert required_logits(["a", "b"], {"a": 0.3, "b": 0.3, "": 0.9}, 1.0) is None
    low, high = np.log([0.25, 4])  # odds of 0.2 and of 0.8
    mean = (low + high) / 2
    np.testing.assert_allclose(required_logits(["a", "b"], {"a": 0.2, "b": 0.8}, 1.0), [low, high])
    np.testing.assert_allclose(required_logits(["a", "b"], {"a": 0.2, "b": 0.8}, 0.5), [low / 2, high / 2])
    np.testing.assert_allclose(
        required_logits(["a", "c", "b"], {"a": 0.2, "b": 0.8, "": 0.1}, 1.0), [low, mean, high], atol=1e-9
    )
    np.testing.assert_allclose(
        required_logits(["a", "c", "b"], {"a": 0.2, "b": 0.8, "c": 0.0}, 1.0), [low, mean, high], atol=1e-9
    )


def test_what_is_like_no_rival_does_not_compete_with_what_is(picture: np.ndarray) -> None:
    """As a face beside a person: each answers as if it were asked for alone."""
    detector = telling(rivals=("horse", "moon", "steel beam"), thresholds={"horse": 0.3, "violin": 0.6})
    both = detector.detect(picture, [HORSE, BOWED], **EVERYTHING)
    assert len(both) == 2 * len(detector.detect(picture, HORSE, **EVERYTHING))
    for word, prompt in (("horse", HORSE), ("violin", BOWED)):
        alone, own = detector.detect(picture, prompt, **EVERYTHING), both[word]
        assert len(own) == len(alone)
        np.testing.assert_array_equal(own.scores, alone.scores)
        np.testing.assert_array_equal(own.boxes, alone.boxes)
        for pose, other in zip(own, alone, strict=True):
            assert pose.names == other.names
            np.testing.assert_array_equal(pose.xy, other.xy)
    competing = detector.detect(picture, [HORSE, BOWED], rivals=(), **EVERYTHING)
    assert not np.array_equal(competing["horse"].scores, both["horse"].scores), "the control"


def test_passes() -> None:
    detector = telling()
    classes = detector.encode_prompts(animals("violin, horse, moon, cathedral"))
    assert passes(classes, detector.prompts.objects(("horse", "moon"))) == [[1, 2], [0, 3]]
    assert passes(classes, detector.prompts.objects(("steel beam",))) == [[0, 1, 2, 3]]
    assert passes(classes, detector.prompts.objects(())) == [[0, 1, 2, 3]]
    assert passes(classes[:1], detector.prompts.objects(("violin",))) == [[0]]


def test_similarity_asks_all_classes_at_once(picture: np.ndarray) -> None:
    detector = telling(rivals=("horse", "moon"))
    found: Poses = detector.similarity(picture, [HORSE, BOWED], rivals=("horse", "moon"), nms=1.0).poses
    assert len(found) <= detector.model.config.instances


def test_a_word_has_the_threshold_of_the_rival_that_means_the_same() -> None:
    thresholds = {"horse": 0.2, "moon": 0.9, "": 0.5}
    detector = telling(thresholds=thresholds, rivals=("horse", "moon", "violin"))
    limits = detector.limits(animals("horse, a horse, horses, the moon, violin, cathedral"))
    same = {name: limit for name, limit in limits.items() if "horse" in name}
    assert list(same.values()) == pytest.approx([0.2] * 3)
    assert limits["the moon"] == pytest.approx(0.5), "no higher than that of all others"
    assert (limits["violin"], limits["cathedral"]) == (0.5, 0.5)
    assert detector.limits("horses", rivals=()) == {"horses": 0.5}
    assert detector.limits("horses, horse", threshold=0.7) == {
        "horses": pytest.approx(0.7),
        "horse": pytest.approx(0.7),
    }
    assert detector.limits("horses", threshold={"horses": 0.6}) == {"horses": pytest.approx(0.6)}
