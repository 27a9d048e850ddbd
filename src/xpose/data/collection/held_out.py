"""The share of a training split that is held out to monitor training, decided by each picture's name alone.

The rule needs no list and no seed, so the trainer, the evaluation and other programs split a set in the same way on any
machine, even after the set grows: a picture is held out if the sha256 of `SET/FILE`, read as a number between 0 and 1,
is below the share.
"""

from __future__ import annotations

import hashlib

from xpose.errors import ConfigError

SHARE = 0.1


def is_held_out(source: str, file: str, share: float = SHARE) -> bool:
    """Whether a picture, given by its set and file name in a record, is in the held-out share of its split."""
    if not 0 <= share <= 1:
        raise ConfigError(f"The held-out share is {share!r}. It must be a number from 0 to 1. The default is {SHARE}.")
    digest = hashlib.sha256(f"{source}/{file}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
