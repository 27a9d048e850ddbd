"""The calibration of a network's scores, stored in `calibration.json` next to the architecture."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xpose.errors import CheckpointError, ConfigError, quote
from xpose.model.config import CALIBRATION_KEYS, read_settings, refuse_unknown
from xpose.pictures.atomic import write_text

CALIBRATION_FILE = "calibration.json"
DEFAULT_THRESHOLD, DEFAULT_NMS = 0.1, 0.9  # from the released post-processing
_FORMAT = "xpose-calibration-1"


@dataclass(frozen=True)
class Calibration:
    """Values fitted by `xpose calibrate`, used for `DetectionOptions` that are None.

    Attributes:
        thresholds: scores that objects must exceed, by class name; "" applies to all other classes.
        keypoint_threshold: minimum confidence of a keypoint to count as present.
        temperature: divides the logits of objects before they become scores; 1 changes nothing.
        keypoint_temperature: the same for keypoints.
        nms: among boxes overlapping by more than this only the best is kept; 1 keeps all.
        nms_oks: among poses more similar than this (object keypoint similarity) only the best is kept; 1 keeps all.
        rivals: classes that compete silently with every prompt; see `inference.competing_classes`.

    Raises:
        ConfigError: values are out of range; the message lists them all.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    keypoint_threshold: float = 0.0
    temperature: float = 1.0
    keypoint_temperature: float = 1.0
    nms: float = DEFAULT_NMS
    nms_oks: float = 1.0
    rivals: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        faults = [
            f"{name} is {getattr(self, name)!r}; it must be a number above 0"
            for name in ("temperature", "keypoint_temperature")
            if not _is_number(getattr(self, name)) or not 0 < getattr(self, name) < math.inf
        ]
        if not are_names(self.rivals):
            faults.append(f"rivals is {self.rivals!r}; it must be a list of names")
        shares: dict[str, object] = {name: getattr(self, name) for name in ("keypoint_threshold", "nms", "nms_oks")}
        if isinstance(self.thresholds, Mapping):
            shares |= {f'the threshold of "{name}"': value for name, value in self.thresholds.items()}
        else:
            faults.append(f"thresholds is {self.thresholds!r}; it must hold numbers by class name")
        faults += [
            f"{name} is {value!r}; it must be a number from 0 to 1"
            for name, value in shares.items()
            if not _is_number(value) or not 0 <= value <= 1  # type: ignore[operator]
        ]
        if faults:
            raise ConfigError("The calibration does not fit:\n  " + "\n  ".join(faults))

    def threshold(self, name: str) -> float:
        """The score that objects of a class must exceed."""
        return self.thresholds.get(name, self.thresholds.get("", DEFAULT_THRESHOLD))

    def to_json(self) -> str:
        """The calibration as readable JSON."""
        values = dataclasses.asdict(self) | {"thresholds": dict(self.thresholds)}
        return json.dumps({"format": _FORMAT, **values}, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = CALIBRATION_FILE) -> Calibration:
        """Read `calibration.json`; `where` is the file's name in messages."""
        return cls.from_values(read_settings(text, where, _FORMAT))

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Calibration:
        """A calibration from plain values; omitted ones have their default."""
        refuse_unknown("calibration", values, [entry.name for entry in dataclasses.fields(cls)])
        if isinstance(values.get("rivals"), list):
            values["rivals"] = tuple(values["rivals"])
        return cls(**values)


def read_calibration(folder: Path) -> Calibration:
    """The calibration of a weight folder; older folders have it in `config.json`."""
    file = folder / CALIBRATION_FILE
    if file.is_file():
        return Calibration.from_json(file.read_text(encoding="utf-8"), quote(file))
    file = folder / "config.json"
    values = read_settings(file.read_text(encoding="utf-8"), quote(file))
    return Calibration.from_values({name: values[name] for name in CALIBRATION_KEYS if name in values})


def write_calibration(folder: str | Path, calibration: Calibration) -> None:
    """Write `calibration.json` into a weight folder atomically.

    Raises:
        XPoseError: this is not a weight folder, or the file cannot be written.
    """
    folder = Path(folder).expanduser()
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{quote(folder)} has no config.json. A calibration belongs to a weight folder; make one from an official "
            "file with: xpose convert"
        )
    write_text(folder / CALIBRATION_FILE, calibration.to_json())


def are_names(value: object) -> bool:
    """Whether this is a list of non-empty strings."""
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    return listed and all(isinstance(name, str) and name.strip() for name in value)  # type: ignore[attr-defined]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
