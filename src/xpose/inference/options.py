"""Detection options, shared by the Python API, the command line and the detector."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict, Unpack

from xpose.errors import ConfigError
from xpose.inference.postprocess import check_share
from xpose.model.checkpoints.calibration import Calibration, are_names


class OptionValues(TypedDict, total=False):
    """The keywords that `Detector.detect` takes; see `DetectionOptions`."""

    threshold: float | Mapping[str, float] | None
    keypoint_threshold: float | None
    nms: float | None
    nms_oks: float | None
    max_instances: int | None
    rivals: Sequence[str] | None
    side: int | None
    region: Sequence[float] | None
    best: bool


@dataclass(frozen=True, kw_only=True)
class DetectionOptions:
    """Which detections are kept. None always means the value stored with the weights.

    Attributes:
        threshold: objects must score above this: one number, or numbers by class name; other classes use the stored
            ones (`Detector.limits` shows them). 0 keeps all.
        keypoint_threshold: keypoints with a lower confidence get visibility 0. 0 keeps all.
        nms: among boxes overlapping by more than this, of any class, keep only the best. 1 keeps all.
        nms_oks: among poses more similar than this (object keypoint similarity), keep only the best. 1 keeps all.
        max_instances: keep at most this many poses per picture, best first.
        rivals: names of classes that compete silently with the prompts, so that fewer objects of other classes are
            found. Rivals that mean the same as a prompted class are ignored. Classes that are unlike all rivals are
            detected separately, without rivals. () means no rivals.
        side: scale pictures so that their longer side has this many pixels, unless they are already encoded.
        region: x, y, width, height in pixels of the only part of every picture that is searched, as if it were cropped.
            Results are in the coordinates of the whole picture. None searches the whole picture.
        best: also return the best candidate of each class without detections, whatever its score, in addition to
            `max_instances`. `Poses.tentative` tells these candidates from detections.

    Raises:
        ConfigError: a value is out of range.
    """

    threshold: float | Mapping[str, float] | None = None
    keypoint_threshold: float | None = None
    nms: float | None = None
    nms_oks: float | None = None
    max_instances: int | None = None
    rivals: Sequence[str] | None = None
    side: int | None = None
    region: Sequence[float] | None = None
    best: bool = False

    def __post_init__(self) -> None:
        for name in ("keypoint_threshold", "nms", "nms_oks"):
            if getattr(self, name) is not None:
                check_share(name, getattr(self, name))
        if self.threshold is not None and not isinstance(self.threshold, Mapping):
            check_share("threshold", self.threshold)
        if self.rivals is not None and not are_names(self.rivals):
            raise ConfigError(f"rivals is {self.rivals!r}. It must be a list of names, or None for the stored ones.")
        for name in ("max_instances", "side"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        if self.region is not None:
            check_region(self.region)

    def changed(self, **values: Unpack[OptionValues]) -> DetectionOptions:
        """The same options with other values."""
        return dataclasses.replace(self, **values) if values else self

    def choosing(self) -> list[str]:
        """The names of the given options that choose among detections, which known boxes exclude."""
        names = ("threshold", "nms", "nms_oks", "max_instances", "rivals", "best")
        return [name for name in names if getattr(self, name) != getattr(DetectionOptions, name)]

    def over(self, stored: Calibration) -> Calibration:
        """The stored calibration with these options in place of its values.

        Thresholds are kept, because they also decide between classes.
        """
        values = {name: getattr(self, name) for name in ("keypoint_threshold", "nms", "nms_oks")}
        values["rivals"] = None if self.rivals is None else tuple(self.rivals)
        return dataclasses.replace(stored, **{name: value for name, value in values.items() if value is not None})


def check_count(name: str, value: object) -> None:
    """Check that a value is a whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name} is {value!r}. It must be a whole number of at least 1.")


def check_region(region: object) -> None:
    """Check that a value is x, y, width, height of a part of some picture."""
    try:
        x, y, width, height = (float(value) for value in region)  # type: ignore[attr-defined]
        valid = x >= 0 and y >= 0 and width > 0 and height > 0 and math.isfinite(x + y + width + height)
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ConfigError(
            f"region is {region!r}. It must be x, y, width, height in pixels, with x and y of at least 0 and a size "
            "above 0."
        )
