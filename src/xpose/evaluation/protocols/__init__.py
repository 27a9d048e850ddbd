"""The protocols by name. Each is a module of this folder; only the one that is asked for is loaded."""

from __future__ import annotations

from importlib import import_module

from xpose.errors import ConfigError, did_you_mean, quote
from xpose.evaluation.protocols.base import Findings, Protocol

__all__ = ["PROTOCOLS", "Findings", "Protocol", "load_protocol"]

# Name -> "module:attribute".
PROTOCOLS: dict[str, str] = {
    "as-used": "as_used:PROTOCOL",
    "nano-real": "nano_real:PROTOCOL",
    "unikpt": "published_sets:UNIKPT",
    "coco": "published_sets:COCO_TABLE",
    "humanart": "published_sets:HUMANART_TABLE",
    "ap10k": "published_sets:AP10K_TABLE",
    "animal-kingdom": "published_sets:KINGDOM_TABLE",
    "animalpose": "published_sets:UNSEEN",
    "mp100-1shot": "mp100:ONE_SHOT",
    "mp100-5shot": "mp100:FIVE_SHOT",
    "clamp": "published_sets:CLAMP",
    "similarity": "similarity:PROTOCOL",
    "class-point": "class_point:PROTOCOL",
    "faces68": "faces68:PROTOCOL",
    "robustness": "robustness:PROTOCOL",
    "negatives": "negatives:PROTOCOL",
    "ablations": "ablations:PROTOCOL",
}


def load_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in PROTOCOLS:
        raise ConfigError(
            f"Unknown protocol {quote(name)}.{did_you_mean(name, PROTOCOLS)} List them with: xpose eval --list"
        )
    module, attribute = PROTOCOLS[name].split(":")
    found = getattr(import_module(f"{__name__}.{module}"), attribute)
    assert isinstance(found, Protocol)
    return found
