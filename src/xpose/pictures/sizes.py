"""Width and height of picture files from their heads, and whether the files are whole."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from xpose.errors import DataError, quote
from xpose.pictures.reading import opened

WEBP_HEAD = 30  # bytes of a WebP file that tell its size
TAIL = 4096  # bytes at a picture's end in which its end mark is looked for


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height from the header; a file without its end mark is decoded to see whether it is whole."""
    try:
        with open(path, "rb") as file:
            whole = webp_size(file.read(WEBP_HEAD), path.stat().st_size)
            if whole is not None:
                return whole
            file.seek(0)
            with opened(file) as picture:
                size, kind = picture.size, picture.format
            if not _ends_properly(file, kind):
                file.seek(0)
                with opened(file) as picture:
                    picture.load()
            return size
    except Exception as error:  # decoders meet damaged files with errors of every kind
        raise DataError(f"the picture {quote(path.name)} cannot be read: {error or type(error).__name__}") from None


def webp_size(head: bytes, length: int) -> tuple[int, int] | None:
    """Width and height of a WebP file by its first `WEBP_HEAD` bytes; None where it is none, or is cut short.

    Pillow reads such a file as a whole to say its size, which takes two milliseconds for each picture.
    """
    if len(head) < WEBP_HEAD or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    if int.from_bytes(head[4:8], "little") + 8 > length:
        return None

    def number(start: int, count: int) -> int:
        return int.from_bytes(head[start : start + count], "little")

    kind = head[12:16]
    if kind == b"VP8X":
        return number(24, 3) + 1, number(27, 3) + 1
    if kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        size = number(26, 2) & 0x3FFF, number(28, 2) & 0x3FFF
    elif kind == b"VP8L" and head[20] == 0x2F:
        size = (number(21, 4) & 0x3FFF) + 1, (number(21, 4) >> 14 & 0x3FFF) + 1
    else:
        return None
    return size if min(size) > 0 else None


def _ends_properly(file: IO[bytes], kind: str | None) -> bool:
    marks = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}
    file.seek(0, 2)
    file.seek(max(0, file.tell() - TAIL))
    return kind in marks and marks[kind] in file.read()
