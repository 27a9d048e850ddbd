"""What the detector promises, on a tiny network."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.inference.conftest import CountingText, own_detector
from tests.model.conftest import lively, tiny_config

import xpose
from xpose import CombinedPrompt, PromptBank, TextPrompt, VisualPrompt
from xpose.errors import CheckpointError, ConfigError, ImageError, PromptError, XPoseError
from xpose.inference import Detector
from xpose.inference.encoded import EncodedClass, PromptArrays, assemble
from xpose.model import PromptEmbeddings, XPose
from xpose.model.checkpoints.pretrained import save_pretrained
from xpose.results import Poses
from xpose.results.whole_body import join_whole_body

ALL = {"threshold": 0.0, "nms": 1.0}


def same(a: xpose.Poses, b: xpose.Poses) -> None:
    assert a.categories == b.categories
    assert a.keypoint_names == b.keypoint_names
    for name in ("boxes", "scores", "xy", "keypoint_scores"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=2e-3, equal_nan=True)


def test_one_picture(detector: Detector, picture: np.ndarray) -> None:
    found = detector.detect(picture, "horse", **ALL)
    assert len(found) == 6
    assert found.categories == ("horse",) * 6
    assert found.xy.shape == (6, 17, 2)
    assert found.keypoint_scores.shape == (6, 17)
    assert found.image_size == (90, 120)
    assert (np.diff(found.scores) <= 0).all(), "best first"
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [120, 90, 120, 90]).all()
    assert found.keypoint_names[0][0] == "left eye"


def test_forms_of_pictures_and_prompts_mean_the_same(detector: Detector, picture: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    Image.fromarray(picture).save(path)
    reference = detector.detect(picture, TextPrompt("horse"), **ALL)
    tensor = torch.from_numpy(picture).permute(2, 0, 1)
    ready = (detector.prepare_image(path), detector.encode_image(path))
    for image in (path, str(path), path.read_bytes(), Image.fromarray(picture), tensor, *ready):
        same(detector.detect(image, "horse", **ALL), reference)
    for prompt in ("horse", ["horse"], [TextPrompt("horse")], detector.encode_prompts("horse")):
        same(detector.detect(picture, prompt, **ALL), reference)
    assert detector.detect(path, "horse", **ALL).source == str(path)


def test_iterators_read_when_pictures_are_needed(detector: Detector, picture: np.ndarray) -> None:
    read = []

    def lazily() -> object:
        for number in range(3):
            read.append(number)
            yield picture

    stream = detector.detect(lazily(), "cat", **ALL)
    assert read == []
    next(stream)
    assert read == [0]
    assert len(list(stream)) == 2


@pytest.fixture(scope="module")
def alone() -> tuple[Detector, list[tuple[np.ndarray, str, xpose.Poses]]]:
    """A detector in float64, where rounding does not reorder near-ties, and pictures with prompts and their results."""
    detector = own_detector()
    detector.model.double()
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 255, (*size, 3), dtype=np.uint8) for size in ((90, 120), (60, 120), (90, 50))]
    cases = [(picture, prompt) for picture in pictures for prompt in ("cat, person", "horse")]
    return detector, [(*case, detector.detect(*case, **ALL)) for case in cases]


@given(st.lists(st.integers(0, 5), min_size=2, max_size=8), st.integers(2, 4))
@settings(max_examples=6, deadline=None)
def test_the_batch_size_does_not_change_the_results(
    alone: tuple[Detector, list[tuple[np.ndarray, str, xpose.Poses]]], numbers: list[int], batch_size: int
) -> None:
    """Also with pictures of mixed sizes, each with its own prompt."""
    detector, cases = alone
    pictures, prompts, expected = zip(*(cases[number] for number in numbers), strict=True)
    for one, other in zip(
        expected, detector.detect(pictures, per_image=prompts, batch_size=batch_size, **ALL), strict=True
    ):
        assert one.image_size == other.image_size
        same(one, other)


def test_only_pictures_of_equal_input_size_are_combined(
    detector: Detector, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prepared pictures can be combined, and encoded ones cannot; a broken one does not lose those before it."""
    sizes, encode = [], detector.engine.encode
    monkeypatch.setattr(detector.engine, "encode", lambda images: (sizes.append(images.shape), encode(images))[1])
    large = np.repeat(np.repeat(picture, 2, 0), 2, 1)  # of another size, but with an input of the same size
    pictures = [picture, picture[:60], detector.prepare_image(large), picture[:60], detector.encode_image(picture)]
    sizes.clear()
    results = detector.detect(iter([*pictures, "missing.png", picture]), "cat", batch_size=2)
    assert [poses.image_size for poses in islice(results, 5)] == [
        (90, 120),
        (60, 120),
        (180, 240),
        (60, 120),
        (90, 120),
    ]
    assert [shape[0] for shape in sizes] == [2, 2]
    with pytest.raises(ImageError, match="no picture"):
        next(results)


def test_every_picture_its_own_prompt(detector: Detector, picture: np.ndarray) -> None:
    asked = ["horse", ["person", "cat"], TextPrompt("bird", keypoints=["beak"])]
    together = detector.detect([picture] * 3, per_image=asked, batch_size=3, **ALL)
    for prompt, found in zip(asked, together, strict=True):
        same(found, detector.detect(picture, prompt, **ALL))


def test_several_classes_with_their_own_skeletons(picture: np.ndarray) -> None:
    """Every pose has the names of its own class; beyond them coordinates are NaN."""
    counts = {"person": 17, "face": 68, "hand": 21}
    seen = set()
    for seed in range(12):
        found = own_detector(seed).detect(picture, list(counts), **ALL)
        for row, category in enumerate(found.categories):
            seen.add(category)
            names = found.keypoint_names[row]
            assert len(names) == counts[category]
            assert np.isfinite(found.xy[row, : len(names)]).all()
            assert np.isnan(found.xy[row, len(names) :]).all()
        if len(seen) > 1:
            return
    pytest.fail("no random network found poses of two classes")


def test_names_keep_order_and_spelling(detector: Detector, picture: np.ndarray) -> None:
    prompt = TextPrompt("person", skeleton="person", keypoints=["Left_Wrist", "nose"])
    found = detector.detect(picture, prompt, **ALL)
    assert found.keypoint_names[0] == ("Left_Wrist", "nose")
    assert found.canonical_names[0] == ("left wrist", "nose")


def test_keypoint_order_does_not_change_the_result(picture: np.ndarray) -> None:
    detector = own_detector()
    detector.model.double()
    names = ["nose", "left eye", "right eye", "tail"]
    a = detector.detect(picture, TextPrompt("cat", keypoints=names), **ALL)
    b = detector.detect(picture, TextPrompt("cat", keypoints=names[::-1]), **ALL)
    np.testing.assert_allclose(a.xy, b.xy[:, ::-1], atol=1e-3)


def test_options(detector: Detector, picture: np.ndarray) -> None:
    everything = detector.detect(picture, "horse", **ALL)
    assert len(detector.detect(picture, "horse", threshold=1.0)) == 0
    middle = float(everything.scores[2])
    assert len(detector.detect(picture, "horse", threshold=middle, nms=1.0)) == 2
    assert len(detector.detect(picture, "horse", threshold={"horse": middle}, nms=1.0)) == 2
    assert len(detector.detect(picture, "horse", max_instances=2, **ALL)) == 2
    assert len(detector.detect(picture, "horse", max_instances=20, **ALL)) == 20
    assert len(detector.detect(picture, "horse", threshold=0.0, nms=0.01)) < len(everything)
    least = float(np.median(everything.keypoint_scores))
    points = detector.detect(picture, "horse", keypoint_threshold=least, **ALL)
    assert ((points.visibility == 2) == (points.keypoint_scores >= least)).all()


def shifted(poses: xpose.Poses, x: float, y: float, size: tuple[int, int]) -> xpose.Poses:
    offset = np.array([x, y])
    return replace(poses, boxes=poses.boxes + np.tile(offset, 2), xy=poses.xy + offset, image_size=size)


def test_a_region_is_searched_like_a_cropped_picture(detector: Detector, picture: np.ndarray) -> None:
    expected = shifted(detector.detect(picture[20:81, 30:95], "horse", **ALL), 30, 20, picture.shape[:2])
    for region in ((30, 20, 65, 61), (30.4, 20.9, 64.2, 59.3)):
        same(detector.detect(picture, "horse", region=region, **ALL), expected)
        encoded = detector.encode_image(picture, region=region)
        same(detector.detect(encoded, "horse", **ALL), expected)
        for poses in detector.detect([picture] * 2, "horse", region=region, batch_size=2, **ALL):
            same(poses, expected)
    whole = detector.detect(picture, "horse", region=(0, 0, 120, 90), **ALL)
    assert whole == detector.detect(picture, "horse", **ALL)
    for size, region in (((90, 120), (30, 20, 91, 61)), ((30, 40), (30, 20, 10, 11))):
        with pytest.raises(ImageError, match=rf"beyond the picture of {size[1]} x {size[0]} pixels"):
            detector.detect(picture[: size[0], : size[1]], "horse", region=region)
    for ready, message in ((encoded, "already encoded"), (detector.prepare_image(picture), "already prepared")):
        with pytest.raises(ConfigError, match=message):
            detector.detect(ready, "horse", region=(0, 0, 9, 9))


@pytest.mark.parametrize("region", [(1, 2, 3), (0, 0, 0, 5), (-1, 0, 5, 5), "abcd", (0, 0, float("nan"), 5), 7])
def test_a_malformed_region_is_refused(detector: Detector, picture: np.ndarray, region: object) -> None:
    with pytest.raises(ConfigError, match=r"region is .* x, y, width, height"):
        detector.detect(picture, "horse", region=region)


def test_the_best_candidate_of_every_class_is_shown(detector: Detector, picture: np.ndarray) -> None:
    """Also of those to which no candidate of the picture belongs, because others are better everywhere."""
    words = ["horse", *(TextPrompt(name, keypoints=["tip"]) for name in ("leaf", "nut", "egg"))]
    labels = {entry.names.label for entry in detector.encode_prompts(words)}
    detected = detector.detect(picture, words, **ALL)
    assert len(detected.count()) < len(labels), "some classes have no candidate"
    for threshold in (float(detected.scores[2]), 1.0):
        options = {"threshold": threshold, "nms": 1.0}
        plain, best = detector.detect(picture, words, **options), detector.detect(picture, words, best=True, **options)
        assert best[~best.tentative].to_dict() == plain.to_dict()
        assert best[best.tentative].count() == dict.fromkeys(labels - set(plain.categories), 1)
        assert (np.diff(best.scores) <= 0).all()
    (raw,) = detector.engine.decode(detector.encode_image(picture).features, assemble([detector.encode_prompts(words)]))
    assert sorted(best.scores) == pytest.approx(sorted(raw.scores.max(0)))
    highest = {label: detected[label].scores.max() for label in detected.count()}
    assert {pose.category: pose.score for pose in best if pose.category in highest} == pytest.approx(highest)
    for other in detector.detect([picture] * 2, words, best=True, batch_size=2, **options):
        same(other, best)


def test_thresholds_of_the_weights_are_used(picture: np.ndarray) -> None:
    strict = own_detector(thresholds={"horse": 1.0, "": 0.0})
    assert len(strict.detect(picture, "horse")) == 0
    assert len(strict.detect(picture, "zebra")) > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 2}, "threshold is 2"),
        ({"nms": -1}, "nms is -1"),
        ({"nms_oks": "x"}, "nms_oks"),
        ({"keypoint_threshold": 3}, "keypoint_threshold is 3"),
        ({"max_instances": 0}, "max_instances is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_options_out_of_range(detector: Detector, picture: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        detector.detect(picture, "horse", **options)


def test_wrong_prompts(detector: Detector, picture: np.ndarray) -> None:
    for prompt in ("", " , ", [], 3, b"horse", {"horse": 1}):
        with pytest.raises(PromptError):
            detector.detect(picture, prompt)
    with pytest.raises(PromptError, match="either"):
        detector.detect(picture)
    with pytest.raises(PromptError, match="2 pictures and 1 prompts"):
        detector.detect([picture] * 2, per_image=["horse"])


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (300, 2), (17, 19)])
def test_tiny_and_thin_pictures(detector: Detector, size: tuple[int, int]) -> None:
    found = detector.detect(np.zeros((*size, 3), np.uint8), "horse", **ALL)
    assert found.image_size == size
    assert np.isfinite(found.xy).all()


def test_prompts_are_encoded_once(counting: tuple[Detector, CountingText], picture: np.ndarray) -> None:
    detector, text = counting
    for _ in range(5):
        detector.detect(picture, "horse, person", **ALL)
    assert detector.prompts.runs == 2
    assert text.runs == 2
    example = VisualPrompt(picture, {"nose": (10, 10)})
    for _ in range(3):
        detector.detect(picture, VisualPrompt(picture.copy(), {"nose": (10, 10)}), **ALL)
        detector.detect(picture, example, **ALL)
    assert detector.prompts.runs == 3, "equal examples are one prompt"


def test_a_known_prompt_costs_less_than_a_millisecond(counting: tuple[Detector, CountingText]) -> None:
    """No timed test: the remembered prompt is the very object, so no arithmetic can have happened."""
    detector, _ = counting
    first = detector.encode_prompts("horse")
    assert detector.encode_prompts("horse")[0] is first[0]


def test_example_pictures(detector: Detector, picture: np.ndarray) -> None:
    """Names or none, boxes or none, one to five shots."""
    named = VisualPrompt(picture, {"nose": (40, 30), "tail": (80, 60)}, box=(20, 10, 100, 80), name="dog")
    found = detector.detect(picture, named, **ALL)
    assert found.categories[0] == "dog"
    assert found.keypoint_names[0] == ("nose", "tail")
    bare = detector.detect(picture, VisualPrompt(picture, [(40, 30), (80, 60)]), **ALL)
    assert bare.keypoint_names[0] == ("p1", "p2")
    assert bare.categories[0] == "object"
    shots = CombinedPrompt(None, (named, VisualPrompt(picture, {"nose": (20, 20)}, name="dog")))
    assert detector.detect(picture, shots, **ALL).keypoint_names[0] == ("nose", "tail")
    both = detector.detect(
        picture,
        TextPrompt("dog", keypoints=["nose", "tail base"]) + named.__class__(picture, {"nose": (40, 30)}),
        **ALL,
    )
    assert both.keypoint_names[0] == ("nose", "tail base")


def test_a_point_that_no_example_shows_is_asked_for_by_its_name(detector: Detector, picture: np.ndarray) -> None:
    """As in training, where its embedding stays that of the words."""
    hidden = VisualPrompt(picture, {"nose": (40, 30), "tail base": (None, None, False)}, (20, 10, 100, 80), "dog")
    shown = VisualPrompt(picture, {"nose": (40, 30), "tail base": (80, 60)}, (20, 10, 100, 80), "dog")
    words = detector.prompts.encode(TextPrompt("dog", keypoints=["nose", "tail base"])).keypoint_tokens
    one, other = (detector.prompts.encode(prompt).keypoint_tokens for prompt in (hidden, shown))
    assert np.allclose(one[1], words[1], atol=1e-5)
    assert not np.allclose(one[0], words[0], atol=1e-2)
    assert not np.allclose(other[1], words[1], atol=1e-2)
    together = detector.prompts.encode(CombinedPrompt(None, (hidden, shown))).keypoint_tokens
    assert np.allclose(together[1], other[1], atol=1e-5)  # one of the two shows it


def test_words_for_one_class_and_a_picture_for_another(detector: Detector, picture: np.ndarray) -> None:
    prompt = [TextPrompt("horse"), VisualPrompt(picture, {"tip": (40, 30)}, name="tool")]
    found = detector.detect(picture, prompt, **ALL)
    assert len(found) == 6
    for category, names, points in zip(found.categories, found.keypoint_names, found.xy, strict=True):
        assert len(names) == {"horse": 17, "tool": 1}[category]
        assert np.isfinite(points[: len(names)]).all()
        assert np.isnan(points[len(names) :]).all()
    assert [encoded.names.label for encoded in detector.encode_prompts(prompt)] == ["horse", "tool"]


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_words_are_projected_as_in_training(scale: float) -> None:
    """What the loop trains with (`model.project`) and what the detector asks with are the same numbers."""
    detector = own_detector(prompt_scale=scale)
    asked = detector.encode_prompts(TextPrompt("horse", keypoints=["left eye", "nose"]))[0]
    text = detector.prompts.text
    prompts = PromptEmbeddings.from_lists([text.encode(["horse"])], [[text.encode(["left eye", "nose"])]])
    projected = detector.model.project(prompts)
    np.testing.assert_allclose(asked.object_token, projected.objects[0, 0].numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(asked.keypoint_tokens, projected.keypoints[0, 0].numpy(), rtol=1e-5, atol=1e-6)


def test_combination_is_the_mean_of_the_projected_tokens(detector: Detector, picture: np.ndarray) -> None:
    text = TextPrompt("dog", keypoints=["nose", "neck"])
    example = VisualPrompt(picture, {"nose": (40, 30), "neck": (50, 50)}, name="dog")
    joined = detector.encode_prompts(text + example)[0]
    a, b = (detector.encode_prompts(p)[0] for p in (text, example))
    np.testing.assert_allclose(joined.object_token, (a.object_token + b.object_token) / 2, atol=1e-6)
    np.testing.assert_allclose(joined.keypoint_tokens, (a.keypoint_tokens + b.keypoint_tokens) / 2, atol=1e-6)


def test_decoders_see_only_embeddings(detector: Detector, picture: np.ndarray) -> None:
    """Words and pictures arrive as the same type with the same fields; nothing says where they came from."""
    words = assemble([detector.encode_prompts(TextPrompt("dog", keypoints=["nose"]))])
    example = assemble([detector.encode_prompts(VisualPrompt(picture, {"nose": (40, 30)}))])
    assert type(words) is type(example) is PromptArrays
    assert words.objects.shape == example.objects.shape
    assert words.keypoints.shape == example.keypoints.shape
    features = detector.encode_image(picture).features
    with pytest.raises(AttributeError):
        detector.engine.decode(features, TextPrompt("dog"))  # type: ignore[arg-type]


def test_encode_once_prompt_often(detector: Detector, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = detector.encode_image(picture)
    monkeypatch.setattr(detector.model.backbone, "forward", None)  # may not run again
    for prompt in ("horse", "person", TextPrompt(keypoints=["left eye"])):
        assert len(detector.detect(encoded, prompt, **ALL)) == 6


def test_prompt_bank(detector: Detector, picture: np.ndarray, tmp_path: Path) -> None:
    prompts = [TextPrompt("horse"), VisualPrompt(picture, {"tip": (40, 30)}, name="tool")]
    path = PromptBank.make(detector, prompts).save(tmp_path / "bank.safetensors")
    again = PromptBank.load(path)
    assert list(again) == ["horse", "tool"]
    fresh = own_detector()
    fresh.prompts._make_text = None  # type: ignore[assignment]
    same(fresh.detect(picture, again.prompts(fresh), **ALL), detector.detect(picture, prompts, **ALL))
    only = again.prompts(fresh, ["tool"])
    assert [one.names.label for one in only] == ["tool"]
    with pytest.raises(CheckpointError, match="another network"):
        again.prompts(own_detector(seed=5))
    with pytest.raises(XPoseError, match='Did you mean "horse"'):
        again.prompts(fresh, ["hors"])


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_damaged_banks(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bank.safetensors"
    if content is None:
        from safetensors.torch import save_file

        save_file({"x": torch.zeros(1)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match="xpose prompt save"):
        PromptBank.load(path)
    with pytest.raises(CheckpointError, match="There is no prompt bank"):
        PromptBank.load(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="must end in"):
        PromptBank({}, "x").save(tmp_path / "bank.txt")


def test_similarity(detector: Detector, picture: np.ndarray) -> None:
    found = detector.similarity(picture, "horse", nms=1.0)
    assert found.objects.shape == (6,)
    assert found.keypoints.shape == (6, 17)
    for values in (found.objects, found.keypoints):
        assert (np.abs(values) <= 1 + 1e-5).all()
    same(found.poses, detector.detect(picture, "horse", **ALL))


def test_a_part_is_boxed(detector: Detector, picture: np.ndarray) -> None:
    found = detector.detect(picture, TextPrompt("person", part="hand"), **ALL)
    assert found.categories[0] == "person's hand"
    assert found.xy.shape == (6, 0, 2)


def test_load(tmp_path: Path, picture: np.ndarray) -> None:
    made = own_detector()
    folder = save_pretrained(made.model, tmp_path / "weights")
    reference = made.detect(picture, "horse", **ALL)
    for loaded in (
        xpose.load(folder, device="cpu"),
        xpose.load(weights=str(folder / "model.safetensors"), device="cpu"),
    ):
        same(loaded.detect(picture, "horse", **ALL), reference)
    assert xpose.load(folder, device="cpu", dtype="float64").model.heads.norm.weight.dtype == torch.float64
    with pytest.raises(CheckpointError, match="Give one of them"):
        xpose.load(folder, weights=folder)
    with pytest.raises(ConfigError, match='device "toaster" cannot be used'):
        xpose.load(folder, device="toaster")


def test_a_broken_kernel_stops_the_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xpose.model import deformable

    folder = save_pretrained(own_detector().model, tmp_path / "weights")
    monkeypatch.setattr(deformable, "sample_rows", lambda *a: deformable.sample_plain(*a) * 1.1)
    with pytest.raises(XPoseError, match="wrong numbers"):
        xpose.load(folder, device="cpu")


def test_the_control_that_a_lookup_table_fails(picture: np.ndarray) -> None:
    """Other words and other pictures must move the answer; ready to be run on trained weights (see docs/prompts.md)."""
    detector = own_detector()
    detector.model.double()
    other = np.random.default_rng(9).integers(0, 255, picture.shape, dtype=np.uint8)
    names = ["nose", "left eye", "tail"]
    base = detector.detect(picture, TextPrompt("cat", keypoints=names), **ALL)
    shuffled = detector.detect(picture, TextPrompt("cat", keypoints=names[1:] + names[:1]), **ALL)
    elsewhere = detector.detect(other, TextPrompt("cat", keypoints=names), **ALL)
    assert np.abs(base.xy - shuffled.xy).max() > 0.1
    assert np.abs(base.xy - elsewhere.xy).max() > 0.1


def test_clip_networks_use_the_released_sentences() -> None:
    model = lively(XPose(tiny_config(prompt_width=400)))
    from xpose.inference.encoding import PromptEncoder
    from xpose.inference.engines.torch import TorchEngine

    text = CountingText()
    encoder = PromptEncoder(TorchEngine(model), lambda: text)
    encoder.encode(TextPrompt("Polar_Bear-cub", skeleton="animal_kingdom", keypoints=["left ankle"]))
    assert text.seen == ["a photo of polar bear cub", "a photo of ankle left "]
    with pytest.raises(CheckpointError, match="no encoder for example pictures"):
        encoder.encode(VisualPrompt(np.zeros((20, 20, 3), np.uint8), {"nose": (3, 3)}))


def test_prompt_encodings_are_bounded(counting: tuple[Detector, CountingText]) -> None:
    detector, _ = counting
    for number in range(600):
        detector.encode_prompts(TextPrompt(f"thing {number}", keypoints=["tip"]))
    assert len(detector.prompts._cache) <= 512
    assert all(isinstance(one, EncodedClass) for one in detector.prompts._cache.values())


def test_whole_people_are_people_faces_and_hands_of_the_same_picture(detector: Detector, picture: np.ndarray) -> None:
    options = {"threshold": 0.0, "max_instances": 3}
    joined = detector.whole_body(picture, **options)
    parts = detector.detect(picture, ["person", "face", "hand"], **options)
    assert joined == join_whole_body(parts, Poses)
    assert {len(names) for names in joined.keypoint_names} == {133}
