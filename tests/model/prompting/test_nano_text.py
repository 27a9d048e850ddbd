"""The words of xpose-nano: the shipped table, the encoder behind it, sides."""

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from xpose.errors import CheckpointError, PromptError
from xpose.model.prompting import NanoTextEncoder
from xpose.model.prompting.build_table import known_names, main
from xpose.model.prompting.nano import SIDE_SCALE, read_table, shipped_table, table_path, write_table
from xpose.model.prompting.sentences import MODEL_SHA256, MiniLMEncoder
from xpose.model.prompting.sides import side_code

EMPTY: dict[str, np.ndarray] = {}


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.fixture(scope="module")
def sentences():
    return MiniLMEncoder()


def test_the_table_holds_the_whole_vocabulary():
    assert list(shipped_table()) == known_names(), (
        "The vocabulary changed. Make the table again: python -m xpose.model.prompting.build_table"
    )
    assert {"left eye", "horse"} <= shipped_table().keys()
    assert "flux capacitor" not in shipped_table()


def test_the_table_is_the_encoders_to_half_precision(sentences):
    table = shipped_table()
    names = list(table)[::9]
    wanted = sentences.encode(names)
    found = np.stack([table[name] for name in names]).astype(np.float32)
    half = np.finfo(np.float16)
    np.testing.assert_allclose(found, wanted, rtol=float(half.eps), atol=2e-6)
    with safe_open(table_path(), "np") as file:
        assert file.metadata()["model_sha256"] == MODEL_SHA256
    assert table_path().stat().st_size < 2e6


def test_known_names_need_no_encoder_and_unknown_ones_load_it(sentences):
    encoder = NanoTextEncoder(MiniLMEncoder("/nowhere"))
    assert encoder.encode(["left eye", "horse", "Left_Eye"]).shape == (3, 400)
    assert encoder.sentences.cache.runs == 0
    with pytest.raises(CheckpointError, match="is not there"):
        encoder.encode(["horse", "flux capacitor"])
    both = NanoTextEncoder(sentences)
    before = sentences.cache.runs
    both.encode(["horse", "flux capacitor"])
    both.encode(["flux capacitor", "flux_capacitor"])
    assert sentences.cache.runs == before + 1


def test_with_or_without_the_table_a_name_is_the_same_to_half_precision(sentences):
    names = ["left eye", "horse", "nose"]
    np.testing.assert_allclose(
        NanoTextEncoder(sentences).encode(names), NanoTextEncoder(sentences, EMPTY).encode(names), rtol=0, atol=2e-4
    )


def test_the_two_parts(sentences):
    names = ["left front paw", "segment 3", "flux capacitor"]
    embeddings = NanoTextEncoder(sentences, EMPTY).encode(names)
    assert np.array_equal(embeddings[:, :384], sentences.encode(names))
    wanted = np.stack([side_code(name) for name in names]) * SIDE_SCALE
    np.testing.assert_array_equal(embeddings[:, 384:], wanted.astype(np.float32))


@pytest.mark.parametrize(
    ("one", "other", "sentence", "joint"),
    [
        ("left eye", "right eye", 0.89, 0.51),
        ("left front paw", "right front paw", 0.93, 0.62),
        ("left front paw", "left back paw", 0.93, 0.62),
        ("upper lip", "lower lip", 0.86, 0.49),
        ("left eye left", "left eye right", 0.88, 0.59),
        ("abdomen 1", "abdomen 2", 0.92, 0.85),
        ("flange 1 end 1", "flange 2 end 1", 0.94, 0.91),
        ("left eye", "left ear", 0.64, 0.71),
    ],
)
def test_the_cosines_of_the_docs(sentences, one, other, sentence, joint):
    found = cosine(*sentences.encode([one, other]))
    assert found == pytest.approx(sentence, abs=0.006)
    found = cosine(*NanoTextEncoder(sentences).encode([one, other]))
    assert found == pytest.approx(joint, abs=0.006)


def test_spellings_of_a_name_are_one_prompt():
    encoder = NanoTextEncoder()
    rows = encoder.encode(["left eye", "left_eye", "Left Eye", "leftEye", "L_Eye"])
    assert (rows == rows[0]).all()


@pytest.mark.parametrize("name", ["", "  ", "___", "?!"])
def test_a_name_without_a_word_is_refused(name):
    with pytest.raises(PromptError, match="has no letter or digit"):
        NanoTextEncoder().encode(["nose", name])


def test_no_names_are_no_rows():
    assert NanoTextEncoder().encode([]).shape == (0, 400)


def test_common_words_import_neither_transformers_nor_the_model(fresh_process):
    assert fresh_process[1] == ""


def test_a_table_comes_back_as_written(tmp_path):
    path = tmp_path / "table.safetensors"
    write_table(path, ["nose", "Größe"], np.eye(2, 384), "abc")
    table = read_table(path)
    assert list(table) == ["nose", "Größe"]
    assert all(np.array_equal(row, place) for row, place in zip(table.values(), np.eye(2, 384), strict=True))
    assert table["nose"].dtype == np.float16
    assert [child.name for child in tmp_path.iterdir()] == ["table.safetensors"]


@pytest.mark.parametrize("content", [None, b"", b"\x00" * 100])
def test_a_damaged_table_is_an_error(tmp_path, content):
    path = tmp_path / "table.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"cannot be read as a table.*build_table"):
        read_table(path)


def test_a_table_with_other_names_than_rows_is_an_error(tmp_path):
    path = tmp_path / "table.safetensors"
    write_table(path, ["nose"], np.zeros((2, 384)), "")
    with pytest.raises(CheckpointError, match="cannot be read as a table"):
        read_table(path)


def test_the_table_can_be_made_again(tmp_path, monkeypatch, capsys):
    names = known_names()[:5]
    monkeypatch.setattr("xpose.model.prompting.build_table.known_names", lambda: names)
    main(tmp_path / "t.safetensors")
    assert "5 names" in capsys.readouterr().out
    made, shipped = read_table(Path(tmp_path / "t.safetensors")), shipped_table()
    assert list(made) == names
    for name, row in made.items():
        np.testing.assert_allclose(row.astype(np.float32), shipped[name].astype(np.float32), rtol=2e-3, atol=2e-6)


def test_every_encoder_keeps_the_protocol(tiny, sentences):
    from xpose.model.prompting import ClipTextEncoder

    encoders = (ClipTextEncoder.from_official(tiny), sentences, NanoTextEncoder(sentences))
    for encoder in encoders:
        before = encoder.cache.runs
        first = encoder.encode(["nose", "left eye"])
        assert first.shape == (2, encoder.dim)
        runs = encoder.cache.runs
        assert runs - before <= 1
        assert np.array_equal(encoder.encode(["left eye", "nose"]), first[::-1])
        assert encoder.cache.runs == runs, "known texts are not encoded again"
