"""What weights have learned decides which keypoints a word gets, and which words are strange to them."""

from __future__ import annotations

import numpy as np
import pytest
from tests.inference.conftest import own_detector

from xpose.errors import VocabularyError, WordWarning
from xpose.inference.engines.torch_loading import encoder_for
from xpose.inference.learned import FAR, NEAR, Learned
from xpose.model.checkpoints.categories import LearnedCategory, read_categories
from xpose.model.checkpoints.known import bundled_weights
from xpose.prompts import TextPrompt
from xpose.vocabulary import load_skeleton


def learned(name: str, skeleton: str, *keypoints: str) -> LearnedCategory:
    return LearnedCategory(name, skeleton, keypoints or load_skeleton(skeleton).detected.keypoints)


CATEGORIES = [
    learned("bird", "cub_bird"),
    learned("car", "car"),
    learned("cat", "animal_pose"),
    learned("dog", "animal_pose"),
    learned("face", "face"),
    learned("horse", "animal_pose"),
    learned("horse", "livestock"),
    learned("rabbit", "rabbits of ours", "left ear tip", "right ear tip", "nose"),
    # Boxes only.
    LearnedCategory("truck", "truck", ()),
    LearnedCategory("chair", "chair", ()),
    LearnedCategory("hot dog", "hot dog", ()),
    LearnedCategory("bus", "bus", ()),
    LearnedCategory("elephant", "animal", ()),
    LearnedCategory("zebra", "animal", ()),
]
WEIGHTS = Learned(CATEGORIES)
IN_TABLE = CATEGORIES[:8]  # of words in the table of embeddings: the sentence encoder would take seconds to load


class FewWords:
    """A stand-in for the encoder of words: each has a cosine with "horse", perhaps one with "computer", no others."""

    def __init__(self, **cosines: float | tuple[float, float]) -> None:
        self.cosines = cosines | {"horse": 1.0, "computer": (0.0, 1.0)}

    def encode(self, words: list[str]) -> np.ndarray:
        rows = np.zeros((len(words), 400), np.float32)
        for row, word in zip(rows, words, strict=True):
            cosines = self.cosines.get(word.replace(" ", "_"), 0.0)
            row[:2] = cosines if isinstance(cosines, tuple) else (cosines, 0.0)
        return rows


@pytest.mark.parametrize(
    ("word", "skeleton", "count"),
    [
        ("dog", "animal_pose", 20),
        ("puppy", "animal_pose", 20),
        ("Rabbits", "rabbits of ours", 3),
        ("a wild rabbit", "rabbits of ours", 3),
        ("horse", "animal_pose", 20),
        ("bird", "cub_bird", 15),
        ("wren", "cub_bird", 15),
        ("lion", "animal_pose", 20),
        ("car", "car", 12),
        ("red car", "car", 12),
        ("bus", "car", 12),
        ("person", "person", 17),
        ("dog face", "animal_face", 9),
        ("human face", "face", 68),
        ("toy car", "toy_car", 12),
        ("zebra", "animal_pose", 20),
        ("truck", "truck", 0),
        ("hot dog", "hot dog", 0),
        ("chair", "chair", 0),
    ],
)
def test_the_keypoints_of_a_word(word: str, skeleton: str, count: int) -> None:
    chosen = WEIGHTS.default_skeleton(word)
    assert chosen is not None
    assert (chosen.skeleton.name, len(chosen.skeleton.detected)) == (skeleton, count)
    assert chosen.reason


def test_likeness_decides_only_about_animals(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = Learned(CATEGORIES)
    gizmo = (FAR + 0.05, FAR + 0.06)  # more like one of the things that are no category
    words = FewWords(gnarp=FAR + 0.01, elephant=NEAR + 0.01, snake=NEAR - 0.01, blorp=0.39, gizmo=gizmo)
    weights._text = words  # type: ignore[assignment]
    named = {word: weights.default_skeleton(word) for word in ("gnarp", "elephant", "snake", "blorp", "gizmo")}
    assert {word: chosen and chosen.skeleton.name for word, chosen in named.items()} == {
        "gnarp": "animal_pose",
        "elephant": "animal_pose",
        "snake": "animal",
        "blorp": None,
        "gizmo": None,
    }
    of_computers = Learned([*CATEGORIES, learned("computer", "animal")])
    of_computers._text = words  # type: ignore[assignment]
    assert of_computers._knows("gizmo"), "what was learned is not among the other things"
    with pytest.raises(VocabularyError, match=r"never learned it\. It has no default"):
        TextPrompt("blorp").resolve(weights)


def test_without_categories_it_is_the_vocabulary() -> None:
    for word in ("dog", "dog face", "wren", "truck"):
        prompt, weights = TextPrompt(word), Learned()
        if word == "truck":
            with pytest.raises(VocabularyError, match="It has no default keypoints"):
                prompt.resolve(weights)
        else:
            assert prompt.resolve(weights) == prompt.resolved
        assert not list(weights.warnings(prompt, TextPrompt("dog").resolved))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (TextPrompt("joystick", keypoints=["tip"]), "never learned: joystick. Results may be wrong."),
        (TextPrompt("trousers"), "never learned: trousers. Results may be wrong."),
        (TextPrompt("elephant"), "never learned: elephant; nearest: horse, "),
        (TextPrompt("licence plate", keypoints=["corner"]), "never learned: licence plate; nearest: car. Results"),
        (TextPrompt("rbabit", keypoints=["nose"]), 'never learned: rbabit. Did you mean "rabbit"?'),
        (TextPrompt("shoulder blade", keypoints=[]), "never learned: shoulder blade; nearest: horse. Results"),
        (TextPrompt("shoulder blade"), None),  # the choice of the keypoints names the horse
        (TextPrompt("pinto", keypoints=["nose"]), None),
        (TextPrompt("horze", keypoints=["nose"]), 'never learned: horze. Did you mean "horse"?'),  # though similar
        (
            TextPrompt("dog", keypoints=["left eey", "nose"]),
            'Unknown keypoint "left eey" of "dog". Did you mean "left eye"?',
        ),
        (TextPrompt("rabbit", keypoints=["left ear tipp"]), 'Did you mean "left ear tip"?'),
        (TextPrompt("dog", keypoints=["left eyelid", "collar"]), None),
        (TextPrompt(keypoints=["left elbwo"]), 'Unknown keypoint "left elbwo". Did you mean "left elbow"?'),
        (TextPrompt("wren"), None),
        (TextPrompt("lion", keypoints=["whiskers"]), None),
        (TextPrompt("dog", keypoints=["nose"]), None),
    ],
)
def test_strange_words(prompt: TextPrompt, message: str | None) -> None:
    weights = Learned(IN_TABLE)
    if prompt.object in ("shoulder blade", "pinto", "horze"):
        words = FewWords(shoulder_blade=NEAR - 0.01, pinto=NEAR + 0.01, horze=NEAR - 0.01)
        weights._text = words  # type: ignore[assignment]
    warnings = list(weights.warnings(prompt, prompt.resolve(weights)))
    assert len(warnings) == (message is not None), warnings
    assert message is None or message in warnings[0]


def test_the_encoder_warns_once_and_only_if_the_weights_state_what_they_know(picture: np.ndarray) -> None:
    detector = own_detector()
    strange = TextPrompt("joystick", keypoints=["nose"])
    detector.detect(picture, strange)
    detector.prompts = encoder_for(detector.model, {}, None, categories=IN_TABLE)
    with pytest.warns(WordWarning, match="never learned: joystick"):
        poses = detector.detect(picture, strange, threshold=0.0)
    assert poses, "detection goes on"
    detector.detect(picture, strange)
    assert len(detector.encode_prompts("wren")[0].keypoint_tokens) == 15


def test_words_far_from_the_bundled_weights() -> None:
    """Of words in the table of embeddings, so that this is quick; benchmarks/never_learned.py has more."""
    weights = Learned(read_categories(bundled_weights()["xpose-nano"]))
    for far in ("trousers", "headboard", "obstacle", "sofa"):
        assert any(
            "never learned" in text
            for text in weights.warnings(TextPrompt(far, keypoints=[]), TextPrompt("dog").resolved)
        )
    for near in ("puppy", "wren", "human face", "cattle", "human hand", "vinegar fly", "salmon", "donkey"):
        assert not list(weights.warnings(TextPrompt(near), TextPrompt("dog").resolved)), near
