"""The connection to Ray, for the commands with `--engine ray`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from xpose.errors import ConfigError, counted, first_line, missing_extra, quote


@contextmanager
def connected(address: str | None, processes: int = 1, gpus: float = 0.0, **of_new: Any) -> Iterator[Any]:
    """The module `ray`, connected to a cluster until the end of the block.

    Args:
        address: of a cluster that runs, as for `ray.init`; by default that of RAY_ADDRESS, or a new cluster on this
            machine for the length of the block.
        processes: that need one CPU each.
        gpus: for each process.
        of_new: options of `ray.init` for a new cluster.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: there is no cluster at this address, or this machine has too few CPUs or GPUs.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # otherwise Ray reports its use to its authors
    try:
        import ray
    except ImportError:
        raise missing_extra("The engine ray", "ray", "ray") from None
    place = address or os.environ.get("RAY_ADDRESS") or "local"  # Ray would take any cluster that it finds here
    options = of_new if place == "local" else {}
    try:
        ray.init(place, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = "this machine" if place == "local" else quote(place)
        raise ConfigError(
            f"Ray cannot be reached at {where} ({first_line(error)}). The address is the one that ray start --head "
            "prints. Omit it to start Ray on this machine."
        ) from None
    try:
        if place == "local":  # a cluster elsewhere may grow
            _check_room(ray.cluster_resources(), processes, gpus)
        yield ray
    finally:
        ray.shutdown()


def _check_room(resources: Mapping[str, float], processes: int, gpus: float) -> None:
    for name, needed in (("CPU", processes), ("GPU", processes * gpus)):
        if needed > (present := resources.get(name, 0.0)):
            raise ConfigError(
                f"{counted(processes, 'process', 'processes')} would need {needed:g} {name}s, and this machine has "
                f"{present:g}. Ask for fewer, or give the --address of a cluster."
            )
