"""The protocols by name. Each is a module of this folder; only the one that is asked for is loaded."""

from __future__ import annotations

from importlib import import_module

from xpose.errors import ConfigError, did_you_mean, quote
from xpose.evaluation.protocols.base import Findings, Protocol

__all__ = ["PROTOCOLS", "Findings", "Protocol", "load_protocol"]

# Name -> "module:attribute", or the module whose `BY_NAME` has it.
PROTOCOLS: dict[str, str] = {
    "as-used": "as_used:PROTOCOL",
    "nano-real": "nano_real:PROTOCOL",
    "unikpt": "published_sets",
    "coco": "published_sets",
    "humanart": "published_sets",
    "ap10k": "published_sets",
    "animal-kingdom": "published_sets",
    "animalpose": "published_sets",
    "mp100-1shot": "mp100:ONE_SHOT",
    "mp100-5shot": "mp100:FIVE_SHOT",
    "clamp": "published_sets",
    "similarity": "similarity:PROTOCOL",
    "class-point": "paper_figures:CLASS_POINT",
    "faces68": "paper_figures:FACES68",
    "robustness": "robustness:PROTOCOL",
    "negatives": "negatives:PROTOCOL",
    "ablations": "published_sets:ABLATIONS",
}


def load_protocol(name: str) -> Protocol:
    """The protocol of that name; a ConfigError if there is none."""
    if name not in PROTOCOLS:
        raise ConfigError(
            f"Unknown protocol {quote(name)}.{did_you_mean(name, PROTOCOLS)} List them with: xpose eval --list"
        )
    module_name, _, attribute = PROTOCOLS[name].partition(":")
    module = import_module(f"{__name__}.{module_name}")
    protocol = getattr(module, attribute) if attribute else module.BY_NAME[name]
    assert isinstance(protocol, Protocol)
    return protocol
