"""Where the bytes of a picture are: a file, or a piece of one."""

from __future__ import annotations

from typing import NamedTuple

from xpose.errors import DataError, quote

WHOLE = -1  # the length of a picture that fills its file


class Place(NamedTuple):
    """Where the bytes of a picture are: a file, or a piece of one."""

    path: str
    offset: int = 0
    length: int = WHOLE


def content_of(place: Place, name: str) -> bytes:
    """The bytes of a picture's file; `name` is for messages.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with open(place.path, "rb") as file:
            file.seek(place.offset)
            content = file.read(place.length)
    except OSError as error:
        raise DataError(
            f"The picture {quote(place.path)} cannot be read: {error.strerror}. It was there when the set was "
            "prepared. Put it back, or prepare the set again."
        ) from None
    if place.length != WHOLE and len(content) != place.length:
        raise DataError(
            f"{quote(place.path)} ends before the picture {quote(name)}. The shard is cut short or was "
            "replaced: write the shards again."
        )
    return content
