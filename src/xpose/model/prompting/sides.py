"""Sides and numbers as a separate code.

A sentence embedding hardly tells "left eye" from "right eye", or "abdomen 1" from "abdomen 2": what distinguishes
keypoints most is what the sentence model cares about least. `side_code` encodes both in 16 numbers; `spell_out` first
turns the names that annotation files use ("eyeL", "L_Eye", "paw1LH_top") into words.
"""

from __future__ import annotations

import math
import re
import tomllib
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np

DIM = 16


_WORDS = tomllib.loads(Path(__file__).with_name("sides.toml").read_text("utf-8"))
_SIGNS = {
    name: dict.fromkeys(minus.split(), -1) | dict.fromkeys(plus.split(), 1)
    for name, (minus, plus) in _WORDS["signs"].items()
}
_NUMBERS = {
    word: number for words in _WORDS["numbers"].values() for number, word in enumerate(words.split(), start=1)
} | {"zero": 0}
_LAST_LETTER = {letter: rank for rank, letter in enumerate("abcdefgh", start=1)} | {"i": 1, "v": 5, "x": 10}
_SHORT: dict[str, str] = _WORDS["short"]
_PARTS = "|".join(_WORDS["parts"]["names"].split())
_LIMBS = r"(?:leg|limb|paw|foot|feet|hoof|hooves|wing|toe|claw|fin)s?"
_GLUED = (
    (re.compile(rf"\b(left|right)(?=(?:{_PARTS}))"), r"\1 "),  # leftear, lefttopcorner
    (re.compile(rf"\b({_PARTS})(?=(?:left|right)\b)"), r"\1 "),  # earleft
    (re.compile(r"\b((?:left|right) (?:top|bottom))(?=corner\b)"), r"\1 "),
    (re.compile(r"\b(tail|wing|fin)(?=(?:base|tip|mid|root|end)\b)"), r"\1 "),
    (re.compile(r"\bant(?=(?:base|tip)\b)"), "antenna "),
)
_SPINE = re.compile(r"\b(?:vertebra|spine|spinal|lumbar|dis[ck]\b)")
_LIMB = re.compile(rf"\b(fore|hind|mid|front|rear|back)(?={_LIMBS}\b)")  # foreleg: a position inside one word


def spell_out(text: str) -> str:
    """A name as words: lower case, one blank between them, sides in full ("eyeL" and "L_Eye" both name a left eye).

    A lone L or R counts as a side only next to a word of two letters or more, but not before a hyphen ("L-beam") or in
    the spine, where L means lumbar ("vertebra L4").
    """
    text = unicodedata.normalize("NFKC", text).replace("’", "'").replace("_", " ")
    text = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", text)  # eyeL, LHPaw
    text = re.sub(r"(?<=[^\W\d_]{2})(?=\d)|(?<=\b[LRlr])(?=\d)|(?<=\d)(?=[LR][HF]?\b)", " ", text)  # abdomen1, L1, 1LH
    text = text.lower()
    for glued, separated in _GLUED:
        text = glued.sub(separated, text)
    words = text.split()
    named = any(
        re.search(r"[^\W\d_]{2}", word) and (word not in _SHORT or len(word) > 3) for word in words
    ) and not _SPINE.search(text)
    return " ".join(_SHORT.get(word.strip(".,;:()[]"), word) if named else word for word in words)


def side_code(text: str) -> np.ndarray:
    """16 float32 numbers; those that the text says nothing about are 0.

    | numbers | meaning |
    |---|---|
    | 0, 1 | left -1, right +1: the first such word; the last one if there are two ("left eye's right corner") |
    | 2 | back -1, front +1 |
    | 3, 4 | lower -1, upper +1: the first such word; the last one if there are two ("lower lip's upper edge") |
    | 5, 6, 7 | outer -1, inner +1; middle 1; tip -1, base +1 |
    | 8, 9 | size of the last number, log2(1 + n) / 7, at most 1; of the number before it |
    | 10 to 15 | sine and cosine of the last number, periods 4 and 16; of the number before it, period 4 |
    """
    words = _LIMB.sub(r"\1 ", " ".join(re.findall(r"[^\W\d_]+|\d+", spell_out(text)))).split()
    code = np.zeros(DIM, dtype=np.float32)
    code[0:2] = _first_and_last(words, "left_right")
    code[2] = _first_and_last(words, "back_front")[0]
    code[3:5] = _first_and_last(words, "lower_upper")
    code[5] = _first_and_last(words, "outer_inner")[0]
    code[6] = _first_and_last(words, "middle")[0]
    code[7] = _first_and_last(words, "tip_base")[0]
    numbers = _numbers(words)
    if numbers:
        code[8], code[10:12], code[12:14] = _size(numbers[-1]), _wave(numbers[-1], 4), _wave(numbers[-1], 16)
    if len(numbers) > 1:
        code[9], code[14:16] = _size(numbers[-2]), _wave(numbers[-2], 4)
    return code


def side_codes(texts: Iterable[str]) -> np.ndarray:
    """The codes of several texts, [n, 16]."""
    rows = [side_code(text) for text in texts]
    return np.stack(rows) if rows else np.zeros((0, DIM), dtype=np.float32)


def _first_and_last(words: list[str], opposites: str) -> tuple[int, int]:
    signs = _SIGNS[opposites]
    values = [signs[word] for word in words if word in signs]
    return (values[0] if values else 0), (values[-1] if len(values) > 1 else 0)


def _numbers(words: list[str]) -> list[int]:
    numbers = []
    for place, word in enumerate(words):
        if word.isdecimal():
            numbers.append(int(word[-6:]))
        elif word in _NUMBERS:
            numbers.append(_NUMBERS[word])
        elif place and place == len(words) - 1 and word in _LAST_LETTER:  # "flange end a", "leg I"
            numbers.append(_LAST_LETTER[word])
    return numbers


def _size(number: int) -> float:
    return min(math.log2(1 + number) / 7, 1.0)


def _wave(number: int, period: int) -> tuple[float, float]:
    angle = 2 * math.pi * number / period
    return math.sin(angle) / math.sqrt(3), math.cos(angle) / math.sqrt(3)  # three such pairs weigh as much as a side
