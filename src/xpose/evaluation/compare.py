"""Two runs side by side: what differs, and whether the difference is more than the luck of the pictures.

Pictures are drawn anew with replacement, within each set, many times (the bootstrap); the numbers are computed again
from the rows of the drawn pictures, and the middle 95 % of what comes out is the confidence interval. Where the runs
hold the same pictures, both get the same draws: what makes a picture hard for both falls out of the difference.

Letters: P pictures, G groups (sets or categories), B draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xpose.errors import ConfigError, quote
from xpose.evaluation.run_file import Run, RunObject, RunPicture

DRAWS = 2000
LEVEL = 0.95
LOWER_IS_BETTER = ("NME", "EPE", "ECE", "error", "swaps", "false alarms", "wrong answers")
HIGHER_IS_BETTER = ("error correlation",)  # though it begins like one of the others
_ROUNDING = 1e-12
_CHUNK = 2_000_000  # numbers of drawn counts in memory at once


@dataclass(frozen=True, slots=True)
class ComparedNumber:
    """One number of both runs.

    Attributes:
        name: as in the runs' summaries.
        first: of the first run.
        second: of the second run.
        low: where the interval of second − first begins; NaN where the number does not come from rows of objects.
        high: where it ends.
    """

    name: str
    first: float
    second: float
    low: float = math.nan
    high: float = math.nan

    @property
    def difference(self) -> float:
        """Second − first."""
        return self.second - self.first

    @property
    def verdict(self) -> str:
        """ "better" or "worse" where the interval leaves out 0; otherwise, or without an interval, ""."""
        if not (self.low > _ROUNDING or self.high < -_ROUNDING):
            return ""
        lower = self.name.startswith(LOWER_IS_BETTER) and not self.name.startswith(HIGHER_IS_BETTER)
        return "better" if (self.low > 0) != lower else "worse"


@dataclass(frozen=True, slots=True)
class RunComparison:
    """The result of `compare`.

    Attributes:
        rows: the numbers; those with intervals first, sets behind their mean.
        pictures: how many pictures both runs hold; 0 where they hold different ones.
        notes: what makes the comparison less than fair, in words.
    """

    rows: tuple[ComparedNumber, ...]
    pictures: int
    notes: tuple[str, ...]

    @property
    def paired(self) -> bool:
        """Whether both runs were drawn alike, picture by picture."""
        return self.pictures > 0


def compare(first: Run, second: Run, *, draws: int = DRAWS, level: float = LEVEL, seed: int = 0) -> RunComparison:
    """Compare two runs of one protocol.

    Args:
        first: the one to compare with.
        second: the other.
        draws: how often pictures are drawn anew.
        level: share of the draws that the interval holds.
        seed: of the draws.

    Raises:
        ConfigError: the runs are of different protocols, or an option is out of range.
    """
    if type(draws) is not int or draws < 1:
        raise ConfigError(f"draws is {draws!r}. It must be a whole number of at least 1, usually {DRAWS}.")
    if not 0 < level < 1:
        raise ConfigError(f"level is {level!r}. It must lie between 0 and 1, usually {LEVEL}.")
    if first.protocol != second.protocol:
        raise ConfigError(
            f"The first run is of the protocol {quote(first.protocol)}, the second of {quote(second.protocol)}. "
            "Numbers of different protocols say nothing about each other. Run both weights on one."
        )
    notes = []
    for key in sorted({*first.settings, *second.settings}):
        one, other = (run.settings.get(key, "not stated") for run in (first, second))
        if one != other:
            notes.append(f"{key} differs: {one} and {other}")
    bootstrap, common = _bootstrap(first, second, draws, level, seed, notes)
    rows: list[ComparedNumber] = []
    for name, mean in first.means.items():
        if second.means.get(name) == mean:
            rows += bootstrap.rows(name, mean)
    taken = {row.name for row in rows}
    for name in first.summary:
        if name in second.summary and name not in taken and "/" not in name:
            rows.append(ComparedNumber(name, first.summary[name], second.summary[name]))
    if not rows:
        notes.append("the runs have no number in common")
    return RunComparison(tuple(rows), common, tuple(notes))


def _bootstrap(
    first: Run, second: Run, draws: int, level: float, seed: int, notes: list[str]
) -> tuple[_Bootstrap, int]:
    """The pictures to draw from, in the same order where both runs have them, and how many these are."""
    one, other = ({picture.key: picture for picture in run.pictures} for run in (first, second))
    keys = [key for key in one if key in other and one[key].set == other[key].set]
    if not keys:
        if one and other:
            notes.append("the runs hold different pictures, so each is drawn by itself and the intervals are wide")
        return _Bootstrap(first.pictures, second.pictures, False, draws, level, seed), 0
    left = len(one) + len(other) - 2 * len(keys)
    if left:
        notes.append(f"{left} pictures are in only one of the runs and left out, so numbers differ from the summaries")
    return _Bootstrap([one[key] for key in keys], [other[key] for key in keys], True, draws, level, seed), len(keys)


@dataclass(frozen=True, slots=True)
class _Sums:
    """What a number is computed from: sums and weights of each picture's rows by group, both [P, G]."""

    values: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, pictures: Sequence[RunPicture], name: str, mean: str) -> _Sums:
        """The rows that a number is the mean of; NaN values are left out."""
        rows = [
            (place, _group(picture, one, mean), one.values[name], one.points if mean == "points" else 1)
            for place, picture in enumerate(pictures)
            for one in picture.objects
            if not math.isnan(one.values.get(name, math.nan))
        ]
        columns = {group: column for column, group in enumerate(sorted({group for _, group, *_ in rows}))}
        values, weights = (np.zeros((len(pictures), len(columns))) for _ in range(2))
        for place, group, value, weight in rows:
            values[place, columns[group]] += value * weight
            weights[place, columns[group]] += weight
        return cls(values, weights)

    def number(self, counts: np.ndarray) -> np.ndarray:
        """[B] the number for pictures drawn that often [B, P]: the mean over groups of the means within."""
        weights = counts @ self.weights
        means = np.full(weights.shape, np.nan)
        np.divide(counts @ self.values, weights, out=means, where=weights > 0)
        known = ~np.isnan(means)
        total, number = np.where(known, means, 0).sum(1), known.sum(1)
        return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _group(picture: RunPicture, one: RunObject, mean: str) -> str:
    return picture.set if mean == "sets" else one.category if mean == "categories" else ""


@dataclass(frozen=True, slots=True)
class _Bootstrap:
    """Draws pictures of both runs; the same ones of both where they are `paired`."""

    first: Sequence[RunPicture]
    second: Sequence[RunPicture]
    paired: bool
    draws: int
    level: float
    seed: int

    def rows(self, name: str, mean: str) -> Iterator[ComparedNumber]:
        """The number itself, then each set's, where there are several."""
        yield self._row(name, name, mean)
        sets = sorted({picture.set for picture in self.first} & {picture.set for picture in self.second})
        for of_set in sets if len(sets) > 1 else ():
            first, second = ([one for one in pictures if one.set == of_set] for pictures in (self.first, self.second))
            if any(name in one.values for picture in (*first, *second) for one in picture.objects):
                within = _Bootstrap(first, second, self.paired, self.draws, self.level, self.seed)
                yield within._row(f"{name}/set/{of_set}", name, "objects" if mean == "sets" else mean)

    def _row(self, name: str, value: str, mean: str) -> ComparedNumber:
        first, second = (_Sums.of(pictures, value, mean) for pictures in (self.first, self.second))
        before, after = (float(sums.number(np.ones((1, len(sums.values))))[0]) for sums in (first, second))
        if not math.isfinite(before + after):
            return ComparedNumber(name, before, after)
        differences = [second.number(theirs) - first.number(ours) for ours, theirs in self._counts()]
        edges = np.nanquantile(np.concatenate(differences), [(1 - self.level) / 2, (1 + self.level) / 2])
        return ComparedNumber(name, before, after, float(edges[0]), float(edges[1]))

    def _counts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """How often each picture is drawn, [B, P] for both runs."""
        random = np.random.default_rng(self.seed)
        step = max(1, _CHUNK // max(len(self.first), len(self.second), 1))
        strata = [_strata(pictures) for pictures in ([self.first] if self.paired else [self.first, self.second])]
        for start in range(0, self.draws, step):
            counts = [_drawn(random, places, min(step, self.draws - start)) for places in strata]
            yield counts[0], counts[-1]


def _strata(pictures: Sequence[RunPicture]) -> list[np.ndarray]:
    """The places of the pictures of each set."""
    sets = np.array([picture.set for picture in pictures], dtype=object)
    return [np.flatnonzero(sets == name) for name in sorted(set(sets))]


def _drawn(random: np.random.Generator, strata: Sequence[np.ndarray], number: int) -> np.ndarray:
    counts = np.zeros((number, sum(map(len, strata))))
    rows = np.arange(number)[:, None]
    for places in strata:
        np.add.at(counts, (rows, places[random.integers(0, len(places), (number, len(places)))]), 1)
    return counts
