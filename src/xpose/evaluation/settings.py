"""The choices of one run. All of them stand in its file and above its tables, so that no number goes without them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

from xpose.errors import ConfigError, did_you_mean

PromptKind = Literal["text", "visual", "combined"]
KINDS: tuple[str, ...] = get_args(PromptKind)
MOST_SHOTS = 5


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a protocol is run.

    Attributes:
        prompts: "text", "visual" (examples from the training split) or "combined".
        shots: examples per class, for prompts with examples.
        seed: decides which objects serve as examples.
        flip: also ask the mirrored picture, and take the mean.
        limit: pictures per set at most; None takes all.
        threshold: answers must score higher; "weights" for the thresholds by class that the weights ship with, and
            their rivals. With a number there are no rivals, unless `rivals` asks for them.
        side: the longer side of the network's input in pixels; None for what the weights say.
        absent: classes that the pictures are known not to show, for `negatives`; empty asks for drawn ones.
        rivals: have the weights' rivals beside a threshold that is a number, too.
        index_pixels: the weights count pixels by index, as the released checkpoint does; nothing is moved.
        nms: of answers whose boxes overlap by more than this only the best stays; "weights" for what the weights say,
            None keeps all.

    Raises:
        ConfigError: a value is out of range; all faults are named.
    """

    prompts: PromptKind = "text"
    shots: int = 1
    seed: int = 0
    flip: bool = False
    limit: int | None = None
    threshold: float | Literal["weights"] = 0.0
    nms: float | Literal["weights"] | None = "weights"
    side: int | None = None
    absent: tuple[str, ...] = ()
    index_pixels: bool = False
    rivals: bool = False

    def __post_init__(self) -> None:
        faults = []
        if self.prompts not in KINDS:
            faults.append(
                f'prompts is "{self.prompts}".{did_you_mean(self.prompts, KINDS)} It must be one of {", ".join(KINDS)}'
            )
        if not 1 <= self.shots <= MOST_SHOTS:
            faults.append(f"shots is {self.shots}; it must be a whole number from 1 to {MOST_SHOTS}")
        if self.limit is not None and self.limit < 1:
            faults.append(f"limit is {self.limit}; it must be a whole number of at least 1")
        for name, value in (("threshold", self.threshold), ("nms", self.nms)):
            if value is not None and value != "weights" and not 0 <= value <= 1:
                faults.append(f"{name} is {value}; it must be a number from 0 to 1")
        if self.side is not None and self.side < 32:
            faults.append(f"side is {self.side}; it must be a whole number of at least 32")
        if faults:
            raise ConfigError(f"The evaluation cannot be run so: {'; '.join(faults)}. Correct these settings.")

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        values = dataclasses.asdict(self)
        if not self.rivals:  # as it was before there was a choice: runs on disk go on
            del values["rivals"]
        return values

    @property
    def shown(self) -> str:
        """The prompts in words, for the head of a table."""
        if self.prompts == "text":
            return "text"
        return f"{self.prompts}, {self.shots}-shot from the training split, seed {self.seed}"
