"""Several words together: a place goes to the word that is farthest above its own threshold."""

from __future__ import annotations

import numpy as np
import torch
from tests.inference.conftest import own_detector

from xpose.inference import Detector
from xpose.inference.encoding import assemble
from xpose.inference.postprocess import bars, margins
from xpose.poses import Poses

WORDS = ["horse", "violin"]


def telling(**changes: object) -> Detector:
    """A network that tells the words apart; an untrained one takes all for one thing."""
    detector = own_detector(**changes)
    torch.manual_seed(0)
    detector.model.object_projection = torch.nn.Linear(400, detector.model.config.dim, bias=False).requires_grad_(False)
    return detector


def detected(detector: Detector, picture: np.ndarray, **options: object) -> Poses:
    found: Poses = detector.detect(picture, WORDS, **{"threshold": 0.0, "nms": None, "max_instances": 60, **options})
    return found


def even(picture: np.ndarray) -> tuple[Detector, np.ndarray]:
    """The network with thresholds such that neither word is ahead on the whole, and the logits of those."""
    plain = telling()
    logits = plain.model.decode(plain.encode_image(picture).features, assemble([plain.encode_prompts(WORDS)])).logits[0]
    bar = logits.quantile(0.5, dim=0)
    return telling(thresholds=dict(zip(WORDS, bar.sigmoid().tolist(), strict=True))), bar.numpy()


def test_a_place_goes_to_the_word_farthest_above_its_threshold(picture: np.ndarray) -> None:
    detector, bar = even(picture)
    features = detector.encode_image(picture).features
    found = detector.model.decode(features, assemble([detector.encode_prompts(WORDS)], [bar]), instances=60)
    logits = found.logits[0].numpy()
    winners = (logits - bar).argmax(1)
    assert found.group_class[0].tolist() == winners.tolist()
    assert 5 < winners.sum() < len(winners) - 5, "the control: each has its share"
    assert winners.tolist() != logits.argmax(1).tolist(), "the control: it is not the likeliest"
    shown = detected(detector, picture)
    assert sorted(shown.categories) == sorted(WORDS[n] for n in winners)
    passed = (logits - bar).max(1) > 0
    assert 5 < passed.sum() < len(passed), "the control: some pass, others do not"
    some = detected(detector, picture, threshold=None)
    assert sorted(some.categories) == sorted(WORDS[n] for n in winners[passed])


def test_the_threshold_of_a_call_only_filters(picture: np.ndarray) -> None:
    detector, _ = even(picture)
    everything = detected(detector, picture)
    limit = float(np.median(everything.scores))
    fewer = detected(detector, picture, threshold=limit)
    assert fewer.categories == tuple(np.array(everything.categories)[everything.scores > limit])
    apart = detected(detector, picture, threshold={"horse": limit, "violin": 1.0})
    assert len(apart) == sum(np.array(fewer.categories) == "horse") > 0


def test_one_threshold_for_all_leaves_the_place_to_the_likeliest(picture: np.ndarray) -> None:
    without, same = detected(telling(), picture), detected(telling(thresholds={"": 0.7}), picture)
    np.testing.assert_array_equal(without.scores, same.scores)
    assert without.categories == same.categories
    assert bars(np.array([0.3, 0.3]), 1.0) is None


def test_one_word_is_asked_as_before_whatever_its_threshold(picture: np.ndarray) -> None:
    detector, _ = even(picture)
    for word in WORDS:
        plain = telling().detect(picture, word, threshold=0.0)
        np.testing.assert_array_equal(detector.detect(picture, word, threshold=0.0).scores, plain.scores)


def test_pictures_of_a_batch_keep_to_the_thresholds_of_their_own_words(picture: np.ndarray) -> None:
    detector = telling(thresholds={"horse": 0.3, "": 0.6})
    options = {"threshold": 0.0, "nms": None, "max_instances": 60}
    prompts = ["horse, violin", "violin", "moon, horse, violin"]
    single = [detector.detect(picture, prompt, **options) for prompt in prompts]
    together = detector.detect([picture] * 3, per_image=prompts, batch_size=3, **options)
    for one, other in zip(single, together, strict=True):
        assert one.categories == other.categories
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


def test_limits_of_nothing_and_of_everything_stay_finite() -> None:
    limits = np.array([0.0, 0.5, 1.0])
    assert np.isfinite(bars(limits, 0.7)).all()
    order = margins(np.array([[0.2, 0.6, 1.0]]), limits)[0]
    assert np.isfinite(order).all()
    np.testing.assert_allclose(bars(np.array([0.5, 0.731058579]), 2.0), [0, 2], atol=1e-6)
