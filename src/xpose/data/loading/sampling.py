"""The pictures of each step: balanced over sets and categories, with one keypoint-count bucket per batch.

The order is a pure function of the seed: the pictures of step s depend only on (seed, s), so a run resumed at any
step continues as if it had never stopped, with any number of workers and ranks. An epoch is a fixed number of steps in
which every picture appears in proportion to its weight, rounded up or down at random.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from xpose.data.loading.pool import Pool
from xpose.errors import ConfigError, did_you_mean, out_of_range, quote, refuse

BALANCE = {"none": 0.0, "sqrt": 0.5, "uniform": 1.0}
_ORDER, _BATCHES = 11, 12  # random streams; those of steps have smaller numbers


@dataclass(frozen=True)
class Sampling:
    """How often pictures are shown."""

    sets: str = "sqrt"  # "none": in proportion to size; "sqrt": to its root; "uniform": equally
    categories: str = "sqrt"  # the same for the categories within each set
    set_weights: Mapping[str, float] = field(default_factory=dict)  # additional factors, by set
    most_repeats: float = 20.0  # of a picture in an epoch, relative to an unbalanced epoch
    buckets: tuple[int, ...] = (8, 20, 36, 68)  # most keypoints of a category in a batch; larger ones get a bucket
    epoch: int | None = None  # pictures per epoch; None for the number of pictures

    def __post_init__(self) -> None:
        faults = [
            f"{name} is {quote(getattr(self, name))}, not one of {', '.join(BALANCE)}"
            for name in ("sets", "categories")
            if getattr(self, name) not in BALANCE
        ]
        if any(not (weight >= 0 and math.isfinite(weight)) for weight in self.set_weights.values()):
            faults.append(f"set_weights are {dict(self.set_weights)}, not finite numbers from 0 up")
        if list(self.buckets) != sorted(set(self.buckets)) or min(self.buckets, default=1) < 1:
            faults.append(f"buckets are {self.buckets}, not rising numbers from 1 up")
        faults += out_of_range(self, 1, "most_repeats") + out_of_range(self, 1, "epoch", whole=True)
        refuse("The settings of the sampling do", faults)


def weights_of(pool: Pool, sampling: Sampling) -> np.ndarray:
    """How often each picture appears in an epoch of default size: 1 on average; 0 in sets with weight 0."""
    for name in sampling.set_weights:
        if name not in pool.sets:
            names = f"{did_you_mean(name, pool.sets)} There are: {', '.join(pool.sets)}."
            raise ConfigError(f"set_weights names the set {quote(name)}, which is not in the pool.{names}")
    weights = np.zeros(len(pool))
    rarity = _rarity(pool, BALANCE[sampling.categories])
    for number, name in enumerate(pool.sets):
        members = np.flatnonzero(pool.set_of == number)
        share = len(members) ** (1 - BALANCE[sampling.sets]) * sampling.set_weights.get(name, 1.0)
        weights[members] = share * rarity[members] / rarity[members].sum()
    if not weights.sum() > 0:
        raise ConfigError("No picture has a weight above 0. At least one set needs one. Correct set_weights.")
    return _bounded(weights, sampling.most_repeats)


def _rarity(pool: Pool, strength: float) -> np.ndarray:
    """The rarity of each picture's rarest category in its set: (1 / pictures that show it) ** strength."""
    pictures, kinds = pool.picture_of(), pool.kind_of.astype(np.int64)
    pairs = np.unique(pictures * len(pool.kinds) + kinds) if len(kinds) else np.zeros(0, np.int64)
    picture, kind = pairs // max(1, len(pool.kinds)), pairs % max(1, len(pool.kinds))
    group = pool.set_of[picture].astype(np.int64) * len(pool.kinds) + kind
    _, inverse, counts = np.unique(group, return_inverse=True, return_counts=True)
    rarity = np.zeros(len(pool))
    np.maximum.at(rarity, picture, (1.0 / counts[inverse]) ** strength)
    empty = rarity == 0  # pictures without any object count as a category of their own
    for number in np.unique(pool.set_of[empty]):
        members = empty & (pool.set_of == number)
        rarity[members] = (1.0 / members.sum()) ** strength
    return rarity


def _bounded(weights: np.ndarray, most: float) -> np.ndarray:
    """Weights with mean 1 over the pictures in use, none above `most`; the excess goes to the others."""
    used = weights > 0
    result = weights * used.sum() / weights.sum()
    capped = np.zeros(len(weights), bool)
    while (over := (result > most) & ~capped).any():
        capped |= over
        result[capped] = most
        free = used & ~capped
        rest = used.sum() - most * capped.sum()
        if free.any():
            result[free] *= max(rest, 0.0) / result[free].sum()
    return result


def buckets_of(pool: Pool, limits: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, ...]]:
    """The bucket of each picture, by its category with the most keypoints, and the limits of all buckets."""
    most = np.zeros(len(pool), np.int64)
    np.maximum.at(most, pool.picture_of(), pool.lengths[pool.kind_of])
    largest = int(pool.lengths.max(initial=0))
    if not limits or largest > limits[-1]:
        limits = (*limits, largest)
    return np.searchsorted(np.array(limits), most).astype(np.int64), limits


@dataclass(frozen=True)
class Step:
    """The pictures of one step: the whole batch, over all ranks."""

    number: int
    pictures: tuple[int, ...]
    bucket: int
    limit: int  # most keypoints of a category


class SamplingPlan:
    """The pictures of every step."""

    def __init__(self, pool: Pool, sampling: Sampling, batch: int, seed: int) -> None:
        """`batch` is the size of the whole batch, over all ranks."""
        if batch < 1 or seed < 0:
            raise ConfigError(f"A batch of {batch} with seed {seed}: they must be at least 1 and 0.")
        self.batch, self.seed = batch, seed
        self.bucket_of, self.limits = buckets_of(pool, sampling.buckets)
        self.weights = weights_of(pool, sampling)
        self._set_of = pool.set_of
        used = self.weights > 0
        share = (sampling.epoch or int(used.sum())) / self.weights.sum()
        self._members = [np.flatnonzero((self.bucket_of == bucket) & used) for bucket in range(len(self.limits))]
        self._steps = [
            max(1, round(float(self.weights[members].sum() * share) / batch)) if len(members) else 0
            for members in self._members
        ]
        self.steps_per_epoch = sum(self._steps)
        self._epochs: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # the last two that were requested

    def step(self, number: int) -> Step:
        """The pictures of step `number`, counted from 0 over all epochs."""
        epoch, place = divmod(number, self.steps_per_epoch)
        epochs = self._epochs  # another thread may replace it
        if epoch not in epochs:
            self._epochs = epochs = {**dict(list(epochs.items())[-1:]), epoch: self._make_epoch(epoch)}
        pictures, buckets = epochs[epoch]
        bucket = int(buckets[place])
        return Step(number, tuple(pictures[place].tolist()), bucket, self.limits[bucket])

    def partners(self, picture: int) -> np.ndarray:
        """The pictures that can be mixed with this one: its set and bucket, including itself."""
        same = (self._set_of == self._set_of[picture]) & (self.bucket_of == self.bucket_of[picture])
        return np.flatnonzero(same)

    def _make_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([self.seed, epoch, _ORDER])
        batches, buckets = [], []
        for bucket, (members, steps) in enumerate(zip(self._members, self._steps, strict=True)):
            if not steps:
                continue
            drawn = members[systematic(rng, self.weights[members], steps * self.batch)]
            batches.append(_apart(rng, drawn).reshape(steps, self.batch))
            buckets += [bucket] * steps
        order = np.random.default_rng([self.seed, epoch, _BATCHES]).permutation(len(buckets))
        return np.concatenate(batches)[order], np.array(buckets)[order]


def systematic(rng: np.random.Generator, weights: np.ndarray, count: int) -> np.ndarray:
    """Draw `count` rows, each in proportion to its weight, rounded up or down at random."""
    order = rng.permutation(len(weights))
    edges = np.cumsum(weights[order])
    ticks = (np.arange(count) + rng.random()) * (edges[-1] / count)
    return np.asarray(order[np.minimum(np.searchsorted(edges, ticks, side="right"), len(order) - 1)])


def _apart(rng: np.random.Generator, drawn: np.ndarray) -> np.ndarray:
    """A random order with evenly spaced repeats of a picture, so that a batch seldom has two of them."""
    values, inverse, counts = np.unique(drawn, return_inverse=True, return_counts=True)
    by_value = np.argsort(inverse, kind="stable")
    rank = np.empty(len(drawn), np.int64)
    rank[by_value] = np.arange(len(drawn)) - np.repeat(np.cumsum(counts) - counts, counts)
    offset = rng.random(len(values))[inverse]
    return np.asarray(drawn[np.argsort((rank + offset) / counts[inverse], kind="stable")])
