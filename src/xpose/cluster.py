"""The connection to Ray, for the commands with `--engine ray`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from xpose.errors import ConfigError, first_line, missing_extra, quote


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The module `ray`, connected to a cluster until the end of the block.

    Args:
        address: of a cluster that runs, as for `ray.init`; by default that of RAY_ADDRESS, or a new cluster on this
            machine for the length of the block.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: there is no cluster at this address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # otherwise Ray reports its use to its authors
    try:
        import ray
    except ImportError:
        raise missing_extra("The engine ray", "ray", "ray") from None
    try:
        ray.init(address, include_dashboard=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = quote(address or os.environ.get("RAY_ADDRESS") or "this machine")
        raise ConfigError(
            f"Ray cannot be reached at {where} ({first_line(error)}). The address is the one that ray start --head "
            "prints. Omit it to start Ray on this machine."
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()
