"""The result of a detection: `Poses`, its validation, its drawing, and other programs' formats."""

from xpose.results.poses import Point, Pose, Poses

__all__ = ["Point", "Pose", "Poses"]
