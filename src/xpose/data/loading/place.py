"""Where the bytes of a picture are."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from xpose.errors import DataError, quote


class Place(NamedTuple):
    """The file of a picture."""

    path: str


def content_of(place: Place) -> bytes:
    """The bytes of a picture's file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return Path(place.path).read_bytes()
    except OSError as error:
        raise DataError(
            f"The picture {quote(place.path)} cannot be read: {error.strerror}. It was there when the set was "
            "prepared. Put it back, or prepare the set again."
        ) from None
