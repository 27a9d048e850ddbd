"""Reading a small yaml file of a user: `yaml.safe_load`, which builds plain values and nothing else."""

from __future__ import annotations

from typing import Any

from xpose.data.datasets.sources import Source
from xpose.errors import DataError, missing_extra, quote

MAX_BYTES = 1 << 20
MAX_ALIASES = 20  # references to an earlier value; many of them, nested, make a small file unfold without end


def read_yaml(source: Source, name: str) -> dict[str, Any]:
    """The mapping in a yaml file.

    Raises:
        DataError: it is missing, too large, no yaml, or asks for more than plain values.
    """
    try:
        import yaml
    except ImportError:
        raise missing_extra("Reading yaml files", "pyyaml", "data") from None
    way_out = "Write it by the example in docs/data-import.md."
    path = source.path(name)
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise DataError(
            f"{quote(name)} has more than {MAX_BYTES:,} bytes. A description of a set is shorter. {way_out}"
        )
    try:
        text = source.text(name)
        aliases = sum(isinstance(token, yaml.AliasToken) for token in yaml.scan(text))
        content = yaml.safe_load(text) if aliases <= MAX_ALIASES else f"{aliases} references (*name)"
    except DataError:
        raise
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = str(error).replace("\n", " ")
        raise DataError(f"{quote(name)} is not plain yaml: {reason}. {way_out}") from None
    if not isinstance(content, dict):
        raise DataError(f"{quote(name)} holds {quote(content)} instead of named values. {way_out}")
    return content
