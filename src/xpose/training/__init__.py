"""Training: targets, matcher, losses, denoising, averaging and schedules.

    targets → [noised objects] → network with reports → matcher → losses

Nothing here is imported by the network or by inference: what detects never depends on what trains.
"""

from xpose.training.objective.closed_set import ClosedSetClassifier, close, is_closed
from xpose.training.objective.denoising import DenoisingSettings, Noised, noised_objects
from xpose.training.objective.losses import Criterion, LossWeights
from xpose.training.objective.matcher import Assignment, MatchCosts, Matcher
from xpose.training.objective.targets import TargetBatch
from xpose.training.run.ema import MovingAverage
from xpose.training.run.schedule import Schedule

__all__ = [
    "Assignment",
    "ClosedSetClassifier",
    "Criterion",
    "DenoisingSettings",
    "LossWeights",
    "MatchCosts",
    "Matcher",
    "MovingAverage",
    "Noised",
    "Schedule",
    "TargetBatch",
    "close",
    "is_closed",
    "noised_objects",
]
