"""CLIP's tokens: parity with the released tokeniser, limits, strange texts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders

from xpose.errors import PromptError
from xpose.model.prompting.tokenizer import CONTEXT, END, START, VOCABULARY_SIZE, _tokenizer, clean, tokenise


def test_tokens_are_those_of_the_released_tokeniser(clip_case):
    *texts, too_long = clip_case["strings"].tolist()
    *rows, cut = clip_case["tokens"]
    tokens = tokenise(texts)
    assert tokens.shape[1] == max((row != 0).sum() for row in rows), "cut at the longest end token"
    np.testing.assert_array_equal(tokens, np.stack(rows)[:, : tokens.shape[1]])
    assert not np.stack(rows)[:, tokens.shape[1] :].any()
    words = too_long.split()[: CONTEXT - 2]  # one token each
    np.testing.assert_array_equal(tokenise([" ".join(words)])[0], cut)


def test_a_prompt_that_is_too_long_says_where_it_would_be_cut():
    name = "left " * 75 + "eye"
    with pytest.raises(
        PromptError, match=r'"left left .*" has 78 tokens.* at most 77, .*left left left".* shorter text'
    ):
        tokenise(["horse", name])
    assert tokenise([name.removesuffix(" eye")]).shape == (1, 77)
    with pytest.raises(PromptError, match=r"has 12 tokens.* at most 8, .* after \"...two three four five six\""):
        tokenise(["one two three four five six seven eight nine ten"], context=8)


@pytest.mark.parametrize(
    ("written", "read", "why"),
    [
        ("Thumb’s “Tip”", 'thumb\'s "tip"', "curly quotes are straightened"),
        ("left\t eye \n", "left eye", "one blank between words"),
        ("cat &amp; dog", "cat & dog", "HTML entities"),
        ("cat &amp;amp; dog", "cat & dog", "escaped twice, as web captions often are"),
        ("ﬂipper ﬁn", "flipper fin", "ligatures of typeset papers"),
        ("ＬＥＦＴ　ｅｙｅ", "left eye", "full-width letters and blanks"),
        ("cafe\u0301", "café", "composed accents"),
        ("a\x00b\ufeffc", "abc", "control characters and byte order marks"),
        ("ŉ", "'n", "a ligature with a quote in it"),
        ("Thumb\x92s tip", "thumb's tip", "a quote of Windows"),
        ("İstanbul", "i̇stanbul", "lower case beyond ASCII"),
        ("\ud800", "\ufffd", "half a surrogate pair"),
        ("", "", "nothing"),
    ],
)
def test_texts_are_cleaned_as_clip_was_trained(written, read, why):
    assert clean(written) == read, why


@given(st.text(max_size=30))
def test_no_letter_is_lost(text):
    row = tokenise([text], context=2000)[0].tolist()
    assert row[0] == START
    assert row[-1] == END
    assert all(0 <= token < VOCABULARY_SIZE - 2 for token in row[1:-1]), "nobody can write a start or end token"
    letters = "".join(_tokenizer().id_to_token(token).removesuffix("</w>") for token in row[1:-1])
    assert decoders.ByteLevel().decode([letters]) == "".join(clean(text).split())


@given(st.lists(st.sampled_from(["left eye", "ear", "zebra's hoof", "豹 cat", "abdomen1"]), min_size=1, max_size=5))
def test_a_row_does_not_depend_on_its_neighbours(texts):
    together = tokenise(texts)
    for row, text in zip(together, texts, strict=True):
        alone = tokenise([text])[0]
        assert row[: len(alone)].tolist() == alone.tolist()
        assert not row[len(alone) :].any()


def test_control_words_are_ordinary_text():
    tokens = tokenise(["<|endoftext|> left eye <|startoftext|>"])[0].tolist()
    assert tokens.count(END) == 1
    assert tokens.count(START) == 1


def test_no_texts_are_no_rows():
    assert tokenise([]).shape == (0, 2)
