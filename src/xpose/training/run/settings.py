"""How a network is trained: the recipe's table `run`."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from xpose.errors import out_of_range, refuse
from xpose.training.objective.denoising import DenoisingSettings
from xpose.training.objective.losses import LossWeights
from xpose.training.run.schedule import Schedule

AMP = {"none": None, "auto": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class RunSettings:
    """How long and how a network is trained."""

    steps: int
    seed: int = 0
    schedule: Schedule = field(default_factory=Schedule)
    weights: LossWeights = field(default_factory=LossWeights)
    denoising: DenoisingSettings | None = None
    clip: float = 0.1
    average: float = 0.9997
    amp: str = "none"  # "bf16", "fp16", or "auto": bf16 where the device multiplies it itself, otherwise float32
    accumulate: int = 1  # batches per step of the optimiser
    checkpointing: bool = False  # layers are computed again in the backward pass: less memory, more time
    compile: bool = False  # torch.compile for the layers of encoder and decoders
    shard: bool = False  # weights, gradients and optimiser state parted among the processes (FSDP)
    channels_last: bool = False
    frozen_norms: bool = True  # batch norms of the backbone keep their statistics
    frozen_stages: int = 0  # of the backbone, from the picture on, that are not trained; 1 is what stride 2 or 4 sees
    # The most keypoint groups of a picture in training; those that stand for no object teach little.
    groups: int | None = None
    point_queries: int | None = None  # the most keypoint queries of a picture in training: fewer groups of many points
    save_minutes: float = 5.0
    keep: int = 2  # states on disk
    log_steps: int = 20

    def __post_init__(self) -> None:
        counts = ("steps", "accumulate", "log_steps", "keep", "groups", "point_queries")
        faults = out_of_range(self, 1, *counts, whole=True) + out_of_range(self, 0, "frozen_stages", whole=True)
        faults += [
            f"{name} is {getattr(self, name)}, not above 0"
            for name in ("clip", "save_minutes")
            if not getattr(self, name) > 0
        ]
        if self.amp not in AMP:
            faults.append(f'amp is "{self.amp}", not one of {", ".join(AMP)}')
        if self.shard and self.amp == "fp16":
            faults.append('shard and amp = "fp16" are both set; a loss scale cannot be kept over shards: take "bf16"')
        if self.shard and self.compile:
            faults.append("shard and compile are both set; compiled layers cannot be sharded: switch one of them off")
        refuse("The run does", faults)
