"""How well weights that predict the errors of their points know which ones are wrong: a table by set."""

from __future__ import annotations

import math

from xpose.evaluation.scores import Scores, mean
from xpose.evaluation.tables import Table

NAME, COUNT, METRIC = "error correlation", "error points", "expected errors"


def error_correlation(scores: Scores) -> tuple[dict[str, float], list[Table]]:
    """The rank correlation of `ExpectedErrors` by set and as a mean over sets; nothing where no errors are predicted.

    The metric stands in `scores` under the name in `METRIC`.
    """
    by_set = {group: scores.metrics[group, ""][METRIC].compute() for group in scores.groups()}
    known = {group: numbers for group, numbers in by_set.items() if math.isfinite(numbers[NAME])}
    if not known:
        return {}, []
    average = mean(numbers[NAME] for numbers in known.values())
    rows = [(group, int(numbers[COUNT]), numbers[NAME]) for group, numbers in known.items()]
    rows.append((f"mean over sets ({len(known)})", sum(count for _, count, _ in rows), average))
    note = "Spearman's rank correlation of expected and true errors in pixels: 1 is the same order, 0 no relation."
    table = Table("Expected errors of points", ("set", "points", "rank correlation"), tuple(rows), (note,), decimals=3)
    return {NAME: average, **{f"{NAME}/set/{group}": numbers[NAME] for group, numbers in known.items()}}, [table]
