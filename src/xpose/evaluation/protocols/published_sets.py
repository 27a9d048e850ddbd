"""The published sets: UniKPT, COCO, Human-Art, AP-10K, Animal Kingdom, the unseen AnimalPose, CLAMP's families.

Which they are, on which splits and by which measures, stands in `published_sets.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from xpose.evaluation.protocols.base import Protocol
from xpose.evaluation.protocols.of_sets import MeasuredSet, protocol_of
from xpose.vocabulary import load_skeleton


def _measured_set(name: str, entry: Mapping[str, Any]) -> MeasuredSet:
    skeleton = entry.get("keypoints_of")
    return MeasuredSet(
        set=entry.get("set", name),
        label=name,
        splits=tuple(entry["splits"]),
        measures=tuple(entry["measures"]),
        families=tuple(entry.get("families", ())),
        keypoints=None if skeleton is None else tuple(load_skeleton(skeleton).keypoints),
        by_style=entry.get("by_style", False),
        note=entry.get("note", ""),
    )


def _protocols() -> dict[str, Protocol]:
    content = tomllib.loads(files("xpose.evaluation.protocols").joinpath("published_sets.toml").read_text("utf-8"))
    sets = {name: _measured_set(name, entry) for name, entry in content["sets"].items()}
    return {
        name: protocol_of(
            name, entry["title"], entry["source"], [sets[of] for of in entry["sets"]], entry.get("published", ())
        )
        for name, entry in content["protocols"].items()
    }


BY_NAME = _protocols()
