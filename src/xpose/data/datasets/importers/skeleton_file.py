"""A skeleton as the TOML file that `xpose.vocabulary` reads: what an import leaves beside its set."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from xpose.data.collection.store import write_atomically
from xpose.vocabulary import Keypoint, Skeleton


def write_skeleton(path: Path, skeleton: Skeleton) -> None:
    """Write the file, whole or not at all; the same skeleton gives the same bytes."""
    text = skeleton_toml(skeleton)
    write_atomically(path, lambda file: file.writelines((text,)))


def skeleton_toml(skeleton: Skeleton) -> str:
    """The text of the file."""
    source = skeleton.source
    lines = [
        _line("name", skeleton.name),
        _line("title", skeleton.title),
        _line("left_right", skeleton.left_right),
        *([_line("note", skeleton.note)] if skeleton.note else []),
        "",
        *(_line(f"source.{key}", value) for key, value in dataclasses.asdict(source).items() if value is not None),
        "",
        "keypoints = [",
        *(f"  {{ {_point(point)} }}," for point in skeleton.points),
        "]",
        "",
        "edges = [",
        *(f"  {_value(list(edge))}," for edge in skeleton.edges),
        "]",
    ]
    return "\n".join(lines) + "\n"


def _point(point: Keypoint) -> str:
    fields = dataclasses.asdict(point).items()
    return ", ".join(_line(key, value) for key, value in fields if value not in (None, (), False))


def _line(key: str, value: Any) -> str:
    return f"{key} = {_value(value)}"


def _value(value: Any) -> str:
    # JSON's texts, numbers, truth values and flat lists are TOML's too, but for one control character.
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")
