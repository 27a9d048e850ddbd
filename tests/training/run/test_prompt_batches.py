"""What a text encoder reads in training: the texts of use, and for CLIP the paper's sentence with parts left out."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from tests.inference.conftest import CountingText
from tests.training.small_runs import clip_network, network

from xpose.data.loading.samples import Kind
from xpose.inference.encoding import object_text
from xpose.prompts import TextPrompt
from xpose.training.run.prompt_batches import PromptMaker, Wording
from xpose.vocabulary import load_skeleton, released_keypoint_text

FACE = load_skeleton("face")
KIND = Kind.of("person", "person", load_skeleton("person").keypoints)
CLIP, BARE = Wording(clip=True), Wording(clip=False)
OWN = Kind.of("gadget", "nobody-knows-it", ["knob", "left lever"])


def draws(wording: Wording, count: int = 400) -> list[list[str]]:
    rng = random.Random(0)
    return [wording.of_keypoints(KIND, "person", "cartoon", rng) for _ in range(count)]


def test_every_kind_of_network_has_its_own() -> None:
    assert PromptMaker(network(), CountingText()).wording == BARE
    assert PromptMaker(clip_network(), CountingText()).wording == CLIP


def test_undrawn_texts_are_those_of_use() -> None:
    assert CLIP.of_object("horse", "cartoon", None) == object_text(TextPrompt("horse"), clip=True)
    aliases = load_skeleton("person").aliases
    assert CLIP.of_keypoints(KIND, "person", "cartoon", None) == [released_keypoint_text(alias) for alias in aliases]
    assert BARE.of_object("horse", "cartoon", None) == object_text(TextPrompt("horse"), clip=False)
    assert BARE.of_keypoints(KIND, "person", "cartoon", None) == list(KIND.names)


def test_styles_come_as_they_do_in_use() -> None:
    styled = TextPrompt("horse", style="cartoon")
    for wording, text in ((CLIP, object_text(styled, clip=True)), (BARE, object_text(styled, clip=False))):
        rng = random.Random(0)
        found = Counter(wording.of_object("horse", "cartoon", rng) for _ in range(400))
        assert len(found) == 2
        assert 140 < found[text] < 260


def test_style_object_and_part_are_left_out_half_of_the_time_and_the_point_never() -> None:
    place = KIND.names.index("left eye")
    found = Counter(texts[place] for texts in draws(CLIP))
    assert set(found) == {
        "a photo of left eye",
        "a photo of a head's left eye",
        "a photo of a person's left eye",
        "a photo of a person's head's left eye",
        "a cartoon photo of left eye",
        "a cartoon photo of a head's left eye",
        "a cartoon photo of a person's left eye",
        "a cartoon photo of a person's head's left eye",
    }
    assert min(found.values()) > 25  # 50 are expected of each
    assert all("'s" not in texts[place] or texts[place].endswith("left eye") for texts in draws(CLIP))


def test_the_points_of_one_object_differ_in_what_they_are_alone() -> None:
    for texts in draws(CLIP, 50):
        assert len(set(texts)) == len(KIND.names)
        assert len({text.startswith("a cartoon photo of") for text in texts}) == 1


def test_bare_names_stay_bare() -> None:
    assert all(texts == list(KIND.names) for texts in draws(BARE, 20))


@pytest.mark.parametrize("rng", [None, random.Random(0)])
def test_a_skeleton_of_the_users_own_has_no_parts(rng: random.Random | None) -> None:
    texts = CLIP.of_keypoints(OWN, "gadget", None, rng)
    assert [text.rpartition(" ")[2] for text in texts] == ["knob", "lever"]
