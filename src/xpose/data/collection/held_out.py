"""Which pictures of a training split are held out to watch the training: a share decided by each picture's name alone.

The rule needs no list and no seed, so the trainer, the evaluation and anybody else split a set in the same way, on any
machine and however the set grows: a picture is held out if the sha256 of `SET/FILE`, read as a number between 0 and 1,
is below the share.
"""

from __future__ import annotations

import hashlib

from xpose.errors import ConfigError

SHARE = 0.1


def is_held_out(source: str, file: str, share: float = SHARE) -> bool:
    """Whether a picture, by the names of its set and file in a record, belongs to the held-out share of its split."""
    if not 0 <= share <= 1:
        raise ConfigError(f"The held-out share is {share!r}. It must be a number from 0 to 1. The default is {SHARE}.")
    digest = hashlib.sha256(f"{source}/{file}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
