"""CLIP's byte-level tokeniser, offline, from the published merge table.

The table `assets/bpe_simple_vocab_16e6.txt.gz` (see NOTICE) is read by the `tokenizers` library; only the text
cleaning before it is ours. The published tokeniser cleans with ftfy; `clean` does what matters for prompts (HTML
entities, curly quotes, ligatures, full-width letters, composed accents, control characters and their Windows
replacements) but does not repair text that was decoded with a wrong encoding.
"""

from __future__ import annotations

import gzip
import html
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from xpose.errors import PromptError, quote
from xpose.model.prompting.cache import without_surrogates

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VOCABULARY_SIZE = 49408
START, END = VOCABULARY_SIZE - 2, VOCABULARY_SIZE - 1
CONTEXT = 77
"""Maximum tokens per text, including start and end."""

_MERGES = VOCABULARY_SIZE - 2 * 256 - 2  # the file holds more merges than the released network was trained with
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"

_QUOTES = {ord(curly): "'" for curly in "ʼ‘’‚‛"} | {ord(curly): '"' for curly in "“”„‟"}
_LIGATURES = {ord(letter): unicodedata.normalize("NFKC", letter) for letter in "ĲĳŉǄǅǆǇǈǉǊǋǌǱǲǳﬀﬁﬂﬃﬄﬆ"} | {
    ord("ﬅ"): "ſt"
}
_WIDTHS = {0x3000: " "} | {
    code: folded for code in range(0xFF01, 0xFFF0) if (folded := unicodedata.normalize("NFKC", chr(code))) != chr(code)
}
_WINDOWS = {code: letter for code in range(0x80, 0xA0) if (letter := bytes([code]).decode("cp1252", "ignore"))}
_CONTROLS = dict.fromkeys(
    [*range(0x09), 0x0B, *range(0x0E, 0x20), 0x7F, *range(0x206A, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFD)]
)
_FIRST, _THEN = _LIGATURES | _WIDTHS | _WINDOWS, _QUOTES | _CONTROLS


def clean(text: str) -> str:
    """The text as CLIP reads it: straight quotes, resolved entities, one blank between words, lower case."""
    text = without_surrogates(html.unescape(html.unescape(text)))
    text = text.translate(_FIRST).translate(_THEN)  # a ligature can hold a quote
    text = unicodedata.normalize("NFC", text)
    return re.sub(r"\s+", " ", text).strip().lower()


def tokenise(texts: Sequence[str], context: int = CONTEXT) -> np.ndarray:
    """Token numbers [n, T], each row with start and end; T is the longest row, shorter rows end in zeros."""
    rows = [_tokens_of(text, context) for text in texts]
    tokens = np.zeros((len(rows), max((len(row) for row in rows), default=2)), np.int64)
    for line, row in zip(tokens, rows, strict=True):
        line[: len(row)] = row
    return tokens


def _tokens_of(text: str, context: int) -> list[int]:
    cleaned = clean(text)
    encoding = _tokenizer().encode(cleaned)
    if len(encoding.ids) > context - 2:
        cut = encoding.offsets[context - 3][1] if context > 2 else 0
        last = cleaned[:cut][-24:].strip()
        raise PromptError(
            f"The prompt {quote(text)} has {len(encoding.ids) + 2} tokens. CLIP reads at most {context}, start and end "
            f"included, and would stop after {quote('...' + last)}. Use a shorter text."
        )
    return [START, *encoding.ids, END]


@lru_cache(maxsize=1)
def _tokenizer() -> Tokenizer:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    table = resources.files(__package__) / "assets" / "bpe_simple_vocab_16e6.txt.gz"
    with table.open("rb") as file, gzip.open(file, "rt", encoding="utf-8") as lines:
        merges = [(left, right) for left, right in (line.split() for line in islice(lines, 1, _MERGES + 1))]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())  # those of the 256 bytes, in the order of the table
    symbols = [*letters, *(letter + "</w>" for letter in letters), *(left + right for left, right in merges)]
    model = models.BPE(
        vocab={symbol: number for number, symbol in enumerate(symbols)},
        merges=merges,
        end_of_word_suffix="</w>",
        continuing_subword_prefix="",
    )
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return tokenizer
