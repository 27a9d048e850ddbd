"""What encoders read and learn in training: texts, with parts of CLIP's sentence left out, and CLIP's encoders."""

from __future__ import annotations

import copy
import random
from collections import Counter
from pathlib import Path

import pytest
import torch
from tests.inference.conftest import CountingText
from tests.training.small_runs import clip_encoders, clip_network, clip_state, draw, loader_of, network, run_of

from xpose.data.loading.loader import Loader
from xpose.data.loading.samples import Kind
from xpose.errors import TrainingError
from xpose.inference.encoding import object_text
from xpose.model import XPose
from xpose.model.prompting import ClipTextEncoder, ClipVisualPromptEncoder
from xpose.prompts import TextPrompt
from xpose.training.run.loop import train
from xpose.training.run.prompt_batches import PromptMaker, Towers, Wording, tensors_to_keep
from xpose.training.run.settings import Schedule
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


Encoders = tuple[ClipTextEncoder, ClipVisualPromptEncoder]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "set")


@pytest.fixture
def encoders() -> Encoders:
    return clip_encoders()


def loader(pictures: Path, visual: float = 1.0, combined: float = 0.0) -> Loader:
    return loader_of(pictures, visual=visual, combined=combined, absent=(0, 1), side=32)


def schedule(towers: float) -> Schedule:
    return Schedule(rate=1e-3, reference_batch=0, towers=towers)


def learn(folder: Path, pictures: Path, given: Encoders, steps: int, towers: float, **more: float) -> XPose:
    text, visual = given
    run = run_of(steps, schedule=schedule(towers), average=0.5)
    return train(clip_network(), text, loader(pictures, **more), run, folder, visual=visual).module  # type: ignore


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_what_was_added_to_clip_learns_and_clip_does_not(tmp_path: Path, pictures: Path, encoders: Encoders) -> None:
    before = copy.deepcopy(encoders)
    learn(tmp_path, pictures, encoders, 3, 0.0)
    for own, old in zip(encoders, before, strict=True):
        assert same(own.tower, old.tower)
    assert not same(encoders[1].pos_proj, before[1].pos_proj)
    kept = tensors_to_keep(*encoders, whole=False)
    assert set(kept) == {"pos_proj.weight", "pos_proj.bias", "padding.weight"}
    assert torch.equal(kept["pos_proj.weight"], encoders[1].pos_proj.weight)


def test_towers_learn_where_they_have_a_rate(tmp_path: Path, pictures: Path, encoders: Encoders) -> None:
    before, words = copy.deepcopy(encoders), ["a photo of horse"]
    old = encoders[0](words)
    learn(tmp_path, pictures, encoders, 3, 1.0, visual=0.0, combined=1.0)
    for own, other in zip(encoders, before, strict=True):
        assert not same(own.tower, other.tower)
    assert not torch.equal(encoders[0](words), old)  # and no old embedding is remembered
    kept = tensors_to_keep(*encoders, whole=True)
    assert set(kept) == set(clip_state())
    again = ClipTextEncoder.from_official(kept)
    torch.testing.assert_close(again(words), encoders[0](words))


def test_the_given_encoders_are_the_average(encoders: Encoders) -> None:
    """They follow what is trained by the share that an average takes in, and are not what is trained itself."""
    start = encoders[1].pos_proj.weight.clone()
    text, visual = encoders
    run = run_of(1, schedule=schedule(0.0), average=0.5)
    towers = Towers(text, visual, whole=False)
    average = towers.average(run.average)
    average.update_parameters(towers.learning)  # the first update takes all of it
    with torch.no_grad():
        towers.learning["pos_proj"].weight.add_(1.0)
    average.update_parameters(towers.learning)
    share = ((visual.pos_proj.weight - start) / 1.0).mean().item()
    assert 0.5 <= share < 1
    assert not towers.learning["pos_proj"].weight.equal(visual.pos_proj.weight)


@pytest.mark.parametrize("towers", [0.0, 1.0])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    tmp_path: Path, pictures: Path, encoders: Encoders, towers: float
) -> None:
    whole, parts = copy.deepcopy(encoders), encoders
    run = run_of(4, schedule=schedule(towers), average=0.5)
    one = train(clip_network(), whole[0], loader(pictures), run, tmp_path / "one", visual=whole[1])
    train(clip_network(), parts[0], loader(pictures), run, tmp_path / "two", visual=parts[1], stop=StopAfter(2))
    two = train(clip_network(), parts[0], loader(pictures), run, tmp_path / "two", visual=parts[1])
    assert same(one.module, two.module)
    for a, b in zip(whole, parts, strict=True):
        assert same(a, b)


class StopAfter:
    """Says so when asked for the given time."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0


def test_gradients_go_through_words_and_give_what_is_remembered_otherwise(encoders: Encoders) -> None:
    text, _ = encoders
    remembered = text(["left eye", "tail"])
    text.tower.requires_grad_(True)
    found = text(["left eye", "tail"])
    torch.testing.assert_close(found, remembered)
    found.sum().backward()
    assert text.tower.text_projection.weight.grad is not None


def test_examples_with_other_numbers_of_points_do_not_disturb_each_other(encoders: Encoders) -> None:
    maker = PromptMaker(clip_network(), encoders[0], encoders[1])
    generator = torch.Generator().manual_seed(1)
    pictures = torch.randint(0, 255, (3, 3, 32, 32), generator=generator, dtype=torch.uint8)
    points, counts = torch.rand(3, 5, 2, generator=generator), [5, 2, 5]
    visible = torch.arange(5) < torch.tensor(counts)[:, None]
    objects, keypoints = maker._through_clip(pictures, points, visible, counts)
    for row, count in enumerate(counts):
        part = slice(row, row + 1)
        own, many = maker._through_clip(pictures[part], points[part, :count], visible[part, :count], [count])
        torch.testing.assert_close(objects[part], own)
        torch.testing.assert_close(keypoints[part, :count], many)
        assert not keypoints[row, count:].any()


def test_without_clip_for_examples_it_is_said_what_to_do(tmp_path: Path, pictures: Path, encoders: Encoders) -> None:
    with pytest.raises(TrainingError, match=r"prompting\.visual=0"):
        train(clip_network(), encoders[0], loader(pictures), run_of(1), tmp_path)


def test_cut_outs_of_another_size_are_refused(tmp_path: Path, pictures: Path, encoders: Encoders) -> None:
    with pytest.raises(TrainingError, match=r"prompting\.examples\.side=32"):
        train(clip_network(), encoders[0], loader_of(pictures, visual=1.0), run_of(1), tmp_path, visual=encoders[1])
