"""Each quick form against its plain form."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import xpose.model.deformable as deformable
from xpose.errors import XPoseError
from xpose.model import layers
from xpose.model.deformable import (
    DeformableAttention,
    sample_gather,
    sample_grid,
    sample_plain,
    sample_rows,
    self_check,
)
from xpose.model.encoder import Fusion
from xpose.model.positions import level_geometry, level_positions, token_centres
from xpose.model.types import LevelGeometry

SIZES = st.tuples(st.integers(1, 6), st.integers(1, 6))


@settings(max_examples=40, deadline=None)
@given(shapes=st.lists(SIZES, min_size=1, max_size=4), batch=st.integers(1, 2), seed=st.integers(0, 99))
def test_sampling_kernels_agree(shapes: list[tuple[int, int]], batch: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    options = {"generator": generator, "dtype": torch.float64}
    levels = tuple(shapes)
    values = torch.randn(batch, sum(h * w for h, w in levels), 2, 4, **options)
    # Fractions, whole pixels, the rim, outside and far outside
    places = torch.rand(batch, 5, 2, len(levels), 3, 2, **options) * 12 - 3
    places[:, 0] = places[:, 0].round()
    places[:, 1] *= 1000
    weights = torch.rand(places.shape[:-1], **options)
    truth = sample_plain(values, levels, places, weights)
    for kernel in (sample_rows, sample_grid, sample_gather):
        torch.testing.assert_close(kernel(values, levels, places, weights), truth, atol=1e-9, rtol=1e-9)


def test_sampling_kernels_have_the_same_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    levels = ((4, 5), (2, 3))
    results = []
    for kernel in (sample_plain, sample_rows, sample_grid, sample_gather):
        generator.manual_seed(0)
        options = {"generator": generator, "dtype": torch.float64}
        inputs = [
            torch.randn(1, 26, 2, 4, **options),
            torch.rand(1, 5, 2, 2, 3, 2, **options) * 4 - 0.7,
            torch.rand(1, 5, 2, 2, 3, **options),
        ]
        for x in inputs:
            x.requires_grad_()
        kernel(inputs[0], levels, inputs[1], inputs[2]).pow(2).sum().backward()
        results.append([x.grad for x in inputs])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("width", [2, 4], ids=["points", "boxes"])
def test_attention_is_the_same_with_either_kernel(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    attention = DeformableAttention(32, 4, 2, 3).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    geometry = LevelGeometry(((6, 7), (3, 4)), torch.rand(2, 54) > 0.8, torch.ones(2, 2, 2, dtype=torch.float64))
    query, memory = torch.randn(2, 9, 32).double(), torch.randn(2, 54, 32).double()
    reference = torch.rand(2, 9, 2, width).double()
    rows = attention(query, reference, memory, geometry)
    monkeypatch.setattr(deformable, "kernel_for", lambda values: "grid")
    torch.testing.assert_close(rows, attention(query, reference, memory, geometry), atol=1e-9, rtol=1e-9)


def test_self_check_passes_here() -> None:
    assert [c.kernel for c in self_check()] == ["rows", "grid", "gather"]
    assert all(c.ok for c in self_check())


def test_a_broken_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> torch.Tensor:
        return sample_plain(*args) + 0.01  # type: ignore[arg-type]

    monkeypatch.setattr(deformable, "sample_grid", broken)
    assert [c.ok for c in self_check()] == [True, False, True]
    with pytest.raises(XPoseError, match=r'kernel "grid" is off by 0\.01'):
        deformable.require_sound_kernels("cpu")


@pytest.mark.parametrize("classes", [1, 2, 7])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sinks", [False, True])
def test_folded_fusion_is_the_plain_fusion(classes: int, masked: bool, sinks: bool) -> None:
    torch.manual_seed(0)
    fusion = Fusion(32, 64, 4, sinks).double()
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    image, objects = torch.randn(2, 50, 32).double(), torch.randn(2, classes, 32).double()
    padding = object_mask = None
    if masked:
        padding = torch.rand(2, 50) > 0.7
        object_mask = torch.arange(classes) < torch.tensor([[classes], [max(1, classes - 2)]])
    for context in (torch.enable_grad(), torch.inference_mode()):
        with context:
            plain = fusion.plain(image, objects, padding, object_mask)
            folded = fusion.folded(image, objects, padding, object_mask)
        for a, b in zip(plain, folded, strict=True):
            torch.testing.assert_close(b.expand_as(a), a, atol=1e-9, rtol=1e-9)


def test_many_classes_take_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways exist for a reason: past some width folding costs more."""
    fusion, taken = Fusion(32, 64, 4), []
    for way in ("plain", "folded"):
        original = getattr(fusion, way)
        monkeypatch.setattr(fusion, way, lambda *a, w=way, f=original: (taken.append(w), f(*a))[1])
    for classes in (10, 400):
        fusion(torch.randn(1, 20, 32), torch.randn(1, classes, 32), None, None)
    assert taken == ["folded", "plain"]


@pytest.mark.parametrize("rows", [0, 1, 63, 3000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("threads", [1, 2])
def test_linear_by_convolution(rows: int, dtype: torch.dtype, threads: int) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, rows, 48), torch.randn(80, 48, dtype=dtype), torch.randn(80, dtype=dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            for b in (bias, None):
                truth = torch.nn.functional.linear(x.to(dtype), weight, b)
                torch.testing.assert_close(layers.linear(x, weight, b), truth)
    finally:
        torch.set_num_threads(before)


def test_working_in_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.model.conftest import lively, random_images, random_prompts, tiny_config

    from xpose.model import PromptEmbeddings, XPose
    from xpose.model.backbones import swin

    model = lively(XPose(tiny_config())).double()
    images, (o, k) = random_images(2, 64, 90), random_prompts(2, 5)
    prompt = PromptEmbeddings.from_lists([o], [k])
    results = []
    for pieces in (10**9, 70):
        monkeypatch.setattr(layers, "PIECE_ROWS", pieces)
        monkeypatch.setattr(swin, "PIECE_ROWS", pieces)
        monkeypatch.setattr(deformable, "_CHUNK_QUERIES", pieces)
        with torch.inference_mode():
            results.append(model(images, prompt))
    with torch.enable_grad():
        results.append(model(images, prompt))
    for other in results[1:]:
        torch.testing.assert_close(other.keypoints[1], results[0].keypoints[1], atol=1e-9, rtol=1e-9)
        torch.testing.assert_close(other.logits[1], results[0].logits[1], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("size", [(70, 90), (28, 28), (64, 33)])
def test_swin_equals_the_one_of_transformers(size: tuple[int, int]) -> None:
    """An oracle for picture sizes and windows that the fixtures do not have."""
    from transformers import SwinBackbone, SwinConfig

    from xpose.model.backbones.swin import Swin

    torch.manual_seed(0)
    config = SwinConfig(
        embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=4, image_size=64, out_features=["stage1", "stage2"]
    )
    theirs = SwinBackbone(config).double().eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    ours = Swin(dim=24, depths=(2, 2), heads=(2, 4), window=4).double().eval()
    ours.load_state_dict(_from_transformers(theirs.state_dict(), ours.state_dict()), strict=True)
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(ours(images)[-1], theirs(images).feature_maps[-1], atol=1e-9, rtol=1e-9)


def _from_transformers(theirs: dict, wanted: dict) -> dict:
    """Their names to ours; the last stage's norm is the only one that both have."""
    renames = {
        "patch.": "embeddings.patch_embeddings.projection.",
        "patch_norm.": "embeddings.norm.",
        "norms.0.": "hidden_states_norms.stage2.",
    }
    prefix = "swin." if any(n.startswith("swin.") for n in theirs) else ""
    result = {}
    for ours in wanted:
        name = ours
        for a, b in renames.items():
            if name.startswith(a):
                name = b + name[len(a) :]
                break
        if ours.startswith("stages."):
            _, stage, rest = ours.split(".", 2)
            result[ours] = _stage_value(theirs, f"{prefix}encoder.layers.{stage}.", rest)
            continue
        found = [n for n in (name, prefix + name) if n in theirs]
        result[ours] = theirs[found[0]]
    return result


def _stage_value(theirs: dict, prefix: str, rest: str) -> torch.Tensor:
    if rest.startswith("merging."):
        return theirs[prefix + "downsample." + rest.removeprefix("merging.")]
    _, block, part = rest.split(".", 2)
    at = f"{prefix}blocks.{block}."
    kind = part.rsplit(".", 1)[-1]
    if part.startswith("attention.qkv."):
        attention = at + "attention."
        names = [n for n in theirs if n.startswith(attention) and n.endswith(f".{kind}")]
        by_role = {
            role: next(n for n in names if n.split(".")[-2] in (role, f"{role[0]}_proj"))
            for role in ("query", "key", "value")
        }
        return torch.cat([theirs[by_role[role]] for role in ("query", "key", "value")])
    if part == "attention.relative_position_bias_table":
        return next(v for n, v in theirs.items() if n.startswith(at) and n.endswith("relative_position_bias_table"))
    table = {
        "norm1": ("layernorm_before",),
        "norm2": ("layernorm_after",),
        "attention.proj": ("attention.output.dense", "attention.o_proj", "attention.proj"),
        "ffn.expand": ("intermediate.dense", "mlp.fc1"),
        "ffn.contract": ("output.dense", "mlp.fc2"),
    }
    for candidate in table[part.rsplit(".", 1)[0]]:
        if f"{at}{candidate}.{kind}" in theirs:
            return theirs[f"{at}{candidate}.{kind}"]
    raise KeyError(f"{at}{part}: {[n for n in theirs if n.startswith(at)]}")


def test_positions_do_not_depend_on_padding() -> None:
    """The same picture, padded or not, has the same code and centres on its real part."""
    like = torch.zeros(1, 16, 4, 6, dtype=torch.float64)
    bare = level_positions(4, 6, None, 16, like)[0].view(4, 6, 16)
    padding = torch.ones(1, 7, 9, dtype=torch.bool)
    padding[:, :4, :6] = False
    wide = torch.zeros(1, 16, 7, 9, dtype=torch.float64)
    padded = level_positions(7, 9, padding, 16, wide)[0].view(7, 9, 16)
    torch.testing.assert_close(padded[:4, :6], bare)
    geometry, _ = level_geometry(((7, 9),), padding, wide)
    alone, _ = level_geometry(((4, 6),), None, like)
    real = token_centres(geometry)[0].view(7, 9, 2)[:4, :6]
    torch.testing.assert_close(real, token_centres(alone)[0].view(4, 6, 2))


def test_sizes_past_32_bits_are_refused() -> None:
    with pytest.raises(XPoseError, match="smaller picture"):
        deformable.row_plan(((20000, 20000),), 8, 4, torch.float32, torch.device("cpu"))


def test_attention_under_autocast_is_that_of_full_precision() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 2, 5, 4, generator=generator).bfloat16().requires_grad_() for _ in range(3))
    mask = torch.rand(2, 1, 5, 5, generator=generator) < 0.8
    mask[..., 0] = True
    with torch.autocast("cpu", torch.bfloat16):
        found = layers.attention(q, k, v, mask)
    truth = layers.attention(q.float(), k.float(), v.float(), mask)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, truth)


def test_autocast_may_lower_queries_and_references() -> None:
    """What denoising gives the decoder under autocast; values stay as they are."""
    torch.manual_seed(0)
    attention = DeformableAttention(8, 2, 1, 2)
    memory, query, reference = torch.randn(1, 20, 8), torch.randn(1, 3, 8), torch.rand(1, 3, 1, 4)
    geometry, _ = level_geometry(((4, 5),), None, memory)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        lowered = attention(query.bfloat16(), reference.bfloat16(), memory, geometry)
    with torch.no_grad():
        full = attention(query, reference, memory, geometry)
    torch.testing.assert_close(lowered.float(), full, atol=0.03, rtol=0.05)


def test_sampled_values_may_have_reduced_precision() -> None:
    torch.manual_seed(0)
    attention = DeformableAttention(8, 2, 1, 2)
    memory, query, reference = torch.randn(1, 20, 8), torch.randn(1, 3, 8), torch.rand(1, 3, 1, 4)
    geometry, _ = level_geometry(((4, 5),), None, memory)
    full = attention(query, reference, memory, geometry)
    attention.value_proj.to(torch.bfloat16)
    for mode in (torch.no_grad(), torch.enable_grad()):
        with mode:
            reduced = attention(query, reference, memory, geometry)
        assert reduced.dtype == torch.float32
        torch.testing.assert_close(reduced, full, atol=0.01, rtol=0.02)
