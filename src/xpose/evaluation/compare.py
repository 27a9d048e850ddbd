"""Two runs side by side: what differs, and whether the difference is more than the luck of the pictures.

Pictures are drawn anew with replacement, within each set, many times (the bootstrap); the numbers are computed again
from the rows of the drawn pictures, and the middle 95 % of what comes out is the confidence interval. Where the runs
hold the same pictures, both get the same draws: what makes a picture hard for both falls out of the difference.

Letters: P pictures, G groups (sets or categories), B draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xpose.errors import ConfigError, quote
from xpose.evaluation.run_file import Run, RunObject, RunPicture

DRAWS = 2000
LEVEL = 0.95
LOWER_IS_BETTER = ("NME", "EPE", "ECE", "error", "swaps", "false alarms", "wrong answers")
_ROUNDING = 1e-12
_CHUNK = 2_000_000  # numbers of drawn counts in memory at once


@dataclass(frozen=True, slots=True)
class Row:
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
        """ "better" or "worse" where the interval leaves out 0, "" where it does not or there is none."""
        if not (self.low > _ROUNDING or self.high < -_ROUNDING):
            return ""
        lower = self.name.startswith(LOWER_IS_BETTER)
        return "better" if (self.low > 0) != lower else "worse"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` found.

    Attributes:
        rows: the numbers; those with intervals first, sets behind their mean.
        pictures: how many pictures both runs hold; 0 where they hold different ones.
        notes: what makes the comparison less than fair, in words.
    """

    rows: tuple[Row, ...]
    pictures: int
    notes: tuple[str, ...]

    @property
    def paired(self) -> bool:
        """Whether both runs were drawn alike, picture by picture."""
        return self.pictures > 0


def compare(first: Run, second: Run, *, draws: int = DRAWS, level: float = LEVEL, seed: int = 0) -> Comparison:
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
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise ConfigError(f"draws is {draws!r}. It must be a whole number of at least 1, usually {DRAWS}.")
    if not 0 < level < 1:
        raise ConfigError(f"level is {level!r}. It must lie between 0 and 1, usually {LEVEL}.")
    if first.protocol != second.protocol:
        raise ConfigError(
            f"The first run is of the protocol {quote(first.protocol)}, the second of {quote(second.protocol)}. "
            "Numbers of different protocols say nothing about each other. Run both weights on one."
        )
    notes = list(_differing(first, second))
    one, other, common = _pictures(first, second, notes)
    rows: list[Row] = []
    for name, mean in first.means.items():
        if second.means.get(name) == mean:
            rows += _drawn_rows(name, mean, one, other, bool(common), draws, level, seed)
    taken = {row.name for row in rows}
    for name in first.summary:
        if name in second.summary and name not in taken and "/" not in name:
            rows.append(Row(name, first.summary[name], second.summary[name]))
    if not rows:
        notes.append("the runs have no number in common")
    return Comparison(tuple(rows), common, tuple(notes))


def _differing(first: Run, second: Run) -> Iterator[str]:
    for key in sorted({*first.settings, *second.settings}):
        one, other = first.settings.get(key, "not stated"), second.settings.get(key, "not stated")
        if one != other:
            yield f"{key} differs: {one} and {other}"


def _pictures(first: Run, second: Run, notes: list[str]) -> tuple[Sequence[RunPicture], Sequence[RunPicture], int]:
    """The pictures to draw from, in the same order where both have them, and how many these are."""
    mine, theirs = ({one.key: one for one in run.pictures} for run in (first, second))
    keys = [key for key in mine if key in theirs and mine[key].set == theirs[key].set]
    if not keys:
        if mine and theirs:
            notes.append("the runs hold different pictures, so each is drawn by itself and the intervals are wide")
        return first.pictures, second.pictures, 0
    left = len(mine) + len(theirs) - 2 * len(keys)
    if left:
        notes.append(f"{left} pictures are in only one of the runs and left out, so numbers differ from the summaries")
    return [mine[key] for key in keys], [theirs[key] for key in keys], len(keys)


@dataclass(frozen=True, slots=True)
class _Sums:
    """What a number is computed from: sums and weights of each picture's rows by group."""

    values: np.ndarray  # [P, G]
    weights: np.ndarray  # [P, G]

    def number(self, counts: np.ndarray) -> np.ndarray:
        """The number under drawn counts [B, P]: the mean over groups of their means, [B]; NaN of nothing."""
        weights = counts @ self.weights
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (counts @ self.values) / weights
        some = weights > 0
        total = np.where(some, means, 0.0).sum(1)
        number = some.sum(1)
        return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _sums(pictures: Sequence[RunPicture], name: str, mean: str) -> _Sums:
    rows = [
        (place, _group(picture, one, mean), one.values[name], one.points if mean == "points" else 1)
        for place, picture in enumerate(pictures)
        for one in picture.objects
        if not math.isnan(one.values.get(name, math.nan))
    ]
    groups = {group: column for column, group in enumerate(sorted({group for _, group, *_ in rows}))}
    values, weights = np.zeros((len(pictures), len(groups))), np.zeros((len(pictures), len(groups)))
    for place, group, value, weight in rows:
        values[place, groups[group]] += value * weight
        weights[place, groups[group]] += weight
    return _Sums(values, weights)


def _group(picture: RunPicture, one: RunObject, mean: str) -> str:
    return picture.set if mean == "sets" else one.category if mean == "categories" else ""


def _drawn_rows(
    name: str,
    mean: str,
    first: Sequence[RunPicture],
    second: Sequence[RunPicture],
    paired: bool,
    draws: int,
    level: float,
    seed: int,
) -> Iterator[Row]:
    """The number itself, then each set's, where there are several."""
    yield _drawn_row(name, mean, first, second, paired, draws, level, seed)
    sets = sorted({picture.set for picture in first} & {picture.set for picture in second})
    if len(sets) < 2:
        return
    within = "objects" if mean == "sets" else mean
    for own in sets:
        mine, theirs = ([one for one in pictures if one.set == own] for pictures in (first, second))
        if any(name in one.values for picture in (*mine, *theirs) for one in picture.objects):
            yield _drawn_row(f"{name}/set/{own}", within, mine, theirs, paired, draws, level, seed, name)


def _drawn_row(
    name: str,
    mean: str,
    first: Sequence[RunPicture],
    second: Sequence[RunPicture],
    paired: bool,
    draws: int,
    level: float,
    seed: int,
    value: str | None = None,
) -> Row:
    one, other = (_sums(pictures, value or name, mean) for pictures in (first, second))
    before, after = (float(sums.number(np.ones((1, len(sums.values))))[0]) for sums in (one, other))
    if not math.isfinite(before + after):
        return Row(name, before, after)
    differences = []
    for mine, theirs in _counts(first, None if paired else second, draws, seed):
        differences.append(other.number(theirs) - one.number(mine))
    edges = np.nanquantile(np.concatenate(differences), [(1 - level) / 2, (1 + level) / 2])
    return Row(name, before, after, float(edges[0]), float(edges[1]))


def _counts(
    first: Sequence[RunPicture], second: Sequence[RunPicture] | None, draws: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """How often each picture is drawn, [B, P] for both runs: the same where there is no second list."""
    random = np.random.default_rng(seed)
    most = max(len(first), len(second or ()), 1)
    step = max(1, _CHUNK // most)
    strata = [list(_strata(pictures)) for pictures in ((first,) if second is None else (first, second))]
    for start in range(0, draws, step):
        number = min(step, draws - start)
        counts = [_drawn(random, own, number) for own in strata]
        yield counts[0], counts[-1]


def _strata(pictures: Iterable[RunPicture]) -> Iterator[np.ndarray]:
    sets: dict[str, list[int]] = {}
    for place, picture in enumerate(pictures):
        sets.setdefault(picture.set, []).append(place)
    yield from (np.array(places) for _, places in sorted(sets.items()))


def _drawn(random: np.random.Generator, strata: Sequence[np.ndarray], number: int) -> np.ndarray:
    counts = np.zeros((number, sum(map(len, strata))))
    rows = np.arange(number)[:, None]
    for places in strata:
        np.add.at(counts, (rows, places[random.integers(0, len(places), (number, len(places)))]), 1)
    return counts
