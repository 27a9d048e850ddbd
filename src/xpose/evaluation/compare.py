"""Compare two runs: what differs, and whether the difference exceeds the sampling error of the pictures.

Pictures are resampled with replacement, within each set, many times (the bootstrap); the numbers are computed again
from the rows of the resampled pictures, and the middle 95 % of the results is the confidence interval. If the runs hold
the same pictures, both get the same samples: a picture's difficulty for both cancels out in the difference.

Letters: P pictures, G groups (sets or categories), B draws.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xpose.errors import ConfigError, quote
from xpose.evaluation.run_file import EvaluationRun, RunObject, RunPicture

DRAWS, LEVEL = 2000, 0.95
LOWER_IS_BETTER = ("NME", "EPE", "ECE", "error", "swaps", "false alarms", "wrong answers")
HIGHER_IS_BETTER = ("error correlation",)  # despite the prefix "error"
_ROUNDING = 1e-12
_CHUNK = 2_000_000  # counts in memory


@dataclass(frozen=True, slots=True)
class ComparedNumber:
    """One number of both runs, and the interval of second − first; NaN if it is not computed from objects."""

    name: str  # as in the runs' summaries
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
        """ "better" or "worse" if the interval excludes 0; otherwise, or without an interval, ""."""
        if not (self.low > _ROUNDING or self.high < -_ROUNDING):
            return ""
        lower = self.name.startswith(LOWER_IS_BETTER) and not self.name.startswith(HIGHER_IS_BETTER)
        return "better" if (self.low > 0) != lower else "worse"


@dataclass(frozen=True, slots=True)
class RunComparison:
    """The result of `compare`."""

    rows: tuple[ComparedNumber, ...]  # rows with intervals first, each followed by its sets' rows
    pictures: int  # number of pictures in both runs, resampled together; 0 if theirs differ
    notes: tuple[str, ...]  # what limits the comparison, in words


def compare(
    first: EvaluationRun, second: EvaluationRun, *, draws: int = DRAWS, level: float = LEVEL, seed: int = 0
) -> RunComparison:
    """Compare two runs of one protocol; `level` is the share of draws in the interval.

    Raises:
        ConfigError: the runs are of different protocols.
    """
    if first.protocol != second.protocol:
        protocols = f"The first run is of the protocol {quote(first.protocol)}, the second of {quote(second.protocol)}"
        raise ConfigError(f"{protocols}, so they cannot be compared. Run both weights on one.")
    settings = {
        key: [run.settings.get(key, "not stated") for run in (first, second)]
        for key in sorted({*first.settings, *second.settings})
    }
    notes = [f"{key} differs: {before} and {after}" for key, (before, after) in settings.items() if before != after]
    pictures, others = ({picture.key: picture for picture in run.pictures} for run in (first, second))
    keys = [key for key in pictures if key in others and pictures[key].set == others[key].set]
    if keys:
        bootstrap = _Bootstrap([pictures[k] for k in keys], [others[k] for k in keys], True, draws, level, seed)
        if left := len(pictures) + len(others) - 2 * len(keys):
            notes.append(f"{left} pictures are in only one run and ignored, so numbers differ from the summaries")
    else:
        bootstrap = _Bootstrap(first.pictures, second.pictures, False, draws, level, seed)
        if pictures and others:
            notes.append("the runs hold different pictures, so each is resampled by itself and the intervals are wide")
    rows: list[ComparedNumber] = []
    for name, mean in first.means.items():
        if second.means.get(name) == mean:
            rows += bootstrap.rows(name, mean)
    names = {row.name for row in rows}
    for name in first.summary:
        if name in second.summary and name not in names and "/" not in name:
            rows.append(ComparedNumber(name, first.summary[name], second.summary[name]))
    if not rows:
        notes.append("the runs have no number in common")
    return RunComparison(tuple(rows), len(keys), tuple(notes))


def _group(picture: RunPicture, row: RunObject, mean: str) -> str:
    return picture.set if mean == "sets" else row.category if mean == "categories" else ""


def _number_of(pictures: Sequence[RunPicture], name: str, mean: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from the pictures' draw counts [B, P] to the number [B], the mean of the groups' means."""
    rows = [
        (place, _group(picture, row, mean), row.values[name], row.points if mean == "points" else 1)
        for place, picture in enumerate(pictures)
        for row in picture.objects
        if not math.isnan(row.values.get(name, math.nan))
    ]
    columns = {group: column for column, group in enumerate(sorted({group for _, group, *_ in rows}))}
    values, weights = np.zeros((2, len(pictures), len(columns)))  # of each picture's rows by group
    for place, group, value, weight in rows:
        values[place, columns[group]] += value * weight
        weights[place, columns[group]] += weight

    def number(counts: np.ndarray) -> np.ndarray:
        drawn = counts @ weights
        means = np.full(drawn.shape, np.nan)
        np.divide(counts @ values, drawn, out=means, where=drawn > 0)
        groups = (~np.isnan(means)).sum(1)
        return np.where(groups > 0, np.nansum(means, axis=1) / np.maximum(groups, 1), np.nan)

    return number


@dataclass(frozen=True, slots=True)
class _Bootstrap:
    """Resamples the pictures of both runs; identically if `paired`."""

    first: Sequence[RunPicture]
    second: Sequence[RunPicture]
    paired: bool
    draws: int
    level: float
    seed: int

    def rows(self, name: str, mean: str) -> Iterator[ComparedNumber]:
        """The number itself, then each set's, if there are several."""
        yield self._row(name, name, mean)
        sets = sorted({picture.set for picture in self.first} & {picture.set for picture in self.second})
        for of_set in sets if len(sets) > 1 else ():
            first, second = ([picture for picture in run if picture.set == of_set] for run in (self.first, self.second))
            if any(name in row.values for picture in (*first, *second) for row in picture.objects):
                within = dataclasses.replace(self, first=first, second=second)
                yield within._row(f"{name}/set/{of_set}", name, "objects" if mean == "sets" else mean)

    def _row(self, name: str, value: str, mean: str) -> ComparedNumber:
        first, second = (_number_of(pictures, value, mean) for pictures in (self.first, self.second))
        before, after = first(np.ones((1, len(self.first))))[0], second(np.ones((1, len(self.second))))[0]
        if not math.isfinite(before + after):
            return ComparedNumber(name, float(before), float(after))
        differences = [second(theirs) - first(ours) for ours, theirs in self._counts()]
        edges = np.nanquantile(np.concatenate(differences), [(1 - self.level) / 2, (1 + self.level) / 2])
        return ComparedNumber(name, *map(float, (before, after, *edges)))

    def _counts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """How often each picture is drawn, [B, P] for both runs."""
        random = np.random.default_rng(self.seed)
        step = max(1, _CHUNK // max(len(self.first), len(self.second), 1))
        strata = [_strata(pictures) for pictures in ([self.first] if self.paired else [self.first, self.second])]
        for start in range(0, self.draws, step):
            counts = [_drawn(random, places, min(step, self.draws - start)) for places in strata]
            yield counts[0], counts[-1]


def _strata(pictures: Sequence[RunPicture]) -> list[np.ndarray]:
    """The indices of the pictures of each set."""
    sets = np.array([picture.set for picture in pictures], dtype=object)
    return [np.flatnonzero(sets == name) for name in sorted(set(sets))]


def _drawn(random: np.random.Generator, strata: Sequence[np.ndarray], number: int) -> np.ndarray:
    counts = np.zeros((number, sum(map(len, strata))))
    rows = np.arange(number)[:, None]
    for places in strata:
        np.add.at(counts, (rows, places[random.integers(0, len(places), (number, len(places)))]), 1)
    return counts
