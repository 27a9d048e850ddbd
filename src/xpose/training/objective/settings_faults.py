"""Checks that the settings of training share; all faults of a table are reported together."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xpose.errors import ConfigError


def out_of_range(settings: object, low: float, *names: str, high: float = math.inf, whole: bool = False) -> list[str]:
    """A sentence for each of the named settings that is neither None nor a finite number from `low` to `high`."""
    kind = "a whole number" if whole else "a number"
    rule = f"{kind} from {low:g} up" if high == math.inf else f"{kind} from {low:g} to {high:g}"
    values = {name: getattr(settings, name) for name in names}
    return [
        f"{name} is {value}, not {rule}"
        for name, value in values.items()
        if value is not None
        and not (low <= value <= high and math.isfinite(value) and (not whole or isinstance(value, int)))
    ]


def refuse(what: str, faults: Sequence[str]) -> None:
    """Raise a ConfigError with all faults, a line each, if there are any."""
    if faults:
        raise ConfigError(f"{what} not fit:\n  " + "\n  ".join(faults))
