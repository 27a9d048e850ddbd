"""Text on pictures: fonts that have the letters, and a halo for legibility on any background."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from xpose.drawing.canvas import Canvas
from xpose.drawing.figures import INK, PAPER, Colour

Font = ImageFont.FreeTypeFont
LONGEST = 40  # characters; a longer name ends with "..."
LINE = 1.3  # line spacing relative to the text size
_BLANK = 0.3  # width of the blank between words, relative to the text size

# Fallback fonts for letters that Pillow's font lacks, those with many alphabets first.
_FONT_FILES = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial Unicode.ttf", "arial.ttf", "Arial.ttf", "segoeui.ttf"),
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf"),
    *("msyh.ttc", "simsun.ttc", "msgothic.ttc", "malgun.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc"),
    *("AppleSDGothicNeo.ttc", "NotoSansArabic-Regular.ttf", "NotoSansDevanagari-Regular.ttf", "seguisym.ttf"),
    *("LiberationSans-Regular.ttf", "FreeSans.ttf", "unifont.ttf"),
)
_NO_LETTER = "\U0010fffe"  # not a letter, so every font shows its sign for a missing glyph


def clean(text: str, longest: int = LONGEST) -> str:
    """A name on one line, without control characters or repeated spaces, shortened if necessary."""
    printable = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    line = " ".join(printable.split())
    return line if len(line) <= longest else line[: longest - 3].rstrip() + "..."


@lru_cache(maxsize=256)
def font_for(text: str, size: int) -> Font:
    """Pillow's font if it has all letters, otherwise the installed font that has most of them."""
    best = ImageFont.load_default(size)
    assert isinstance(best, ImageFont.FreeTypeFont)  # Pillow's wheels include FreeType
    if text.isascii():
        return best
    most = _count_known(best, text)
    for name in _FONT_FILES:
        if most == len(text):
            break
        candidate = _installed(name, size)
        if candidate is not None and _count_known(candidate, text) > most:
            best, most = candidate, _count_known(candidate, text)
    return best


@lru_cache(maxsize=256)
def _installed(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size)
    except (OSError, ValueError, ImportError):
        return None


def _count_known(font: Font, text: str) -> int:
    return sum(_has(font, letter) for letter in text)


def _has(font: Font, letter: str) -> bool:
    if letter == " ":
        return True
    try:
        return bytes(font.getmask(letter)) != bytes(font.getmask(_NO_LETTER))
    except (OSError, ValueError, UnicodeError):
        return False


@lru_cache(maxsize=1024)
def spelling(text: str, size: int) -> str:
    """Replace letters that no font has by their plain form ("é" by "e") or a question mark."""
    font = font_for(text, size)
    if _count_known(font, text) == len(text):
        return text
    letters = []
    for letter in text:
        plain = "".join(c for c in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(c))
        fallback = plain if plain and all(_has(font, c) for c in plain) else "?"
        letters.append(letter if _has(font, letter) else fallback)
    return "".join(letters)


def width(text: str, size: int) -> float:
    """The width of the text."""
    return _placed(spelling(text, size), size)[1]


@lru_cache(maxsize=512)
def _placed(text: str, size: int) -> tuple[list[tuple[int, str]], int]:
    """The words of a text, each with its left end, and the width of the text.

    Pillow rounds the blank between words to a pixel or two, so that small words run together.
    """
    font, words, left = font_for(text, size), [], 0
    for word in text.split(" ") if text.isascii() else [text]:  # other scripts may run from right to left
        words.append((left, word))
        left += round(font.getlength(word)) + round(_BLANK * size)
    return words, left - round(_BLANK * size)


@lru_cache(maxsize=512)
def _masks(text: str, size: int, halo: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the letters and of their halo, [h, w] in 0..1; the baseline starts at (2 halo, size + halo)."""
    font = font_for(text, size)
    words, length = _placed(text, size)
    area = (length + size + 4 * halo, round(1.5 * size) + 4 * halo)
    masks = []
    for stroke in (0, halo):
        sheet = Image.new("L", area, 0)
        brush = ImageDraw.Draw(sheet)
        for left, word in words:
            brush.text((2 * halo + left, size + halo), word, fill=255, font=font, anchor="ls", stroke_width=stroke)
        masks.append(np.asarray(sheet, np.float32) / 255)
    return masks[0], masks[1]


def write(
    canvas: Canvas,
    place: tuple[float, float],
    text: str,
    size: int,
    colour: Colour = PAPER,
    halo_colour: Colour | None = INK,
    opacity: float = 1.0,
    anchor: str = "left",
) -> None:
    """Write text with the middle of small letters at `place`; `anchor` is "left", "middle" or "right"."""
    shown = spelling(text, size)
    if not shown:
        return
    halo = max(1, round(size / 8)) if halo_colour is not None else 0
    letters, around = _masks(shown, size, halo)
    shift = {"left": 0.0, "middle": 0.5, "right": 1.0}[anchor] * width(shown, size)
    left = round(place[0] - shift) - 2 * halo
    top = round(place[1] + 0.36 * size) - size - halo
    if halo_colour is not None:
        canvas.blend(left, top, around * (0.85 * opacity), halo_colour)
    canvas.blend(left, top, letters * opacity, colour)
