"""The options of one run. All of them are in its file and above its tables, so that no number is without them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

from xpose.errors import ConfigError, did_you_mean

PromptKind = Literal["text", "visual", "combined"]
KINDS: tuple[PromptKind, ...] = get_args(PromptKind)
MOST_SHOTS = 5


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a protocol is run; a ConfigError names all values that are out of range."""

    prompts: PromptKind = "text"  # "visual" takes examples from the training split
    shots: int = 1  # examples per class
    seed: int = 0  # for drawing examples and absent classes
    flip: bool = False  # also ask the mirrored picture, and average both answers
    limit: int | None = None  # pictures per set at most
    # Answers must have a higher score; "weights" for the thresholds by class and the rivals stored with the weights.
    threshold: float | Literal["weights"] = 0.0
    side: int | None = None  # the longer side of the network's input in pixels; None for the weights' own
    absent: tuple[str, ...] = ()  # classes that the pictures do not show, for `negatives`; empty to draw them
    index_pixels: bool = False  # the weights use pixel indices, as the released checkpoint does
    rivals: bool = False  # use the weights' rivals with a threshold that is a number, too

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
        if not 0 <= self.least_score(0.0) <= 1:
            faults.append(f"threshold is {self.threshold}; it must be a number from 0 to 1")
        if self.side is not None and self.side < 32:
            faults.append(f"side is {self.side}; it must be a whole number of at least 32")
        if faults:
            raise ConfigError(f"The evaluation cannot be run: {'; '.join(faults)}. Correct these settings.")

    @property
    def stored_thresholds(self) -> bool:
        """Whether the thresholds that are stored with the weights apply."""
        return self.threshold == "weights"

    def least_score(self, stored: float) -> float:
        """The threshold; `stored` where it is that of the weights."""
        return stored if self.threshold == "weights" else self.threshold

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values, in the form that runs on disk are compared with."""
        values = {**dataclasses.asdict(self), "nms": "weights"}
        return values if self.rivals else {name: value for name, value in values.items() if name != "rivals"}

    def describe(self) -> dict[str, str]:
        """The settings in words, for the head of a table."""
        threshold = "those of the weights, by class"
        if not self.stored_thresholds:
            threshold = f"{self.threshold:g}" + (", beside the rivals of the weights" if self.rivals else "")
        examples = f"{self.prompts}, {self.shots}-shot from the training split, seed {self.seed}"
        return {
            "prompts": "text" if self.prompts == "text" else examples,
            "threshold": f"{threshold}, duplicates removed as the weights say",
            "input": f"longer side {self.side}" if self.side else "as the weights say",
            "pixels": "by index, as in the labels" if self.index_pixels else "continuous, half a pixel taken off",
            "flip test": "yes, mean of both" if self.flip else "no",
            "seed": str(self.seed),
        }
