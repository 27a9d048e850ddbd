"""`xpose compare`: two runs side by side, with confidence intervals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _console

if TYPE_CHECKING:
    from xpose.evaluation.compare import ComparedNumber, RunComparison
    from xpose.evaluation.run_file import EvaluationRun


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A folder that xpose eval wrote, or its run.json.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another run of the same protocol.")],
    sets: Annotated[bool, typer.Option("--sets", help="Show every set as well.")] = False,
    draws: Annotated[int, typer.Option(min=100, metavar="N", help="How often pictures are resampled.")] = 2000,
    level: Annotated[
        float, typer.Option(min=0.5, max=0.999, metavar="NUMBER", help="Share of the draws in the interval.")
    ] = 0.95,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the draws.")] = 0,
    fail_if_worse: Annotated[
        bool,
        typer.Option("--fail-if-worse", help="Exit with 1 where a number of B is worse beyond its interval, for CI."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Compare two runs of one protocol.

    The interval is that of the difference B − A, found by resampling the pictures (bootstrap); both runs get the same
    samples if they hold the same pictures. A number is called better or worse only if the interval excludes 0.

    Exit codes: 0 compared; 1 a file cannot be read, or with --fail-if-worse something is worse; 2 wrong usage.

    Example: xpose compare runs/old runs/new
    """
    from xpose.evaluation.compare import compare as compared
    from xpose.evaluation.run_file import read_run

    run, other = read_run(first), read_run(second)
    result = compared(run, other, draws=draws, level=level, seed=seed)
    rows = [row for row in result.rows if sets or "/set/" not in row.name]
    if as_json:
        _console.show_json(_as_dict(result, rows, run, other.weights, level))
    else:
        _show(result, rows, run, other.weights, level)
    if fail_if_worse and any(row.verdict == "worse" for row in rows):
        _console.note("B is worse than A beyond the interval.")
        raise typer.Exit(_console.FAILURE)


def _show(result: RunComparison, rows: list[ComparedNumber], run: EvaluationRun, weights: str, level: float) -> None:
    from rich.table import Table

    table = Table(title=f"{run.protocol}: A is {run.weights}, B is {weights}", box=None, header_style="bold")
    for column in ("", "A", "B", "B − A", f"{level:.0%} interval", ""):
        table.add_column(column, justify="left" if column == "" else "right")
    for row in rows:
        interval = "" if math.isnan(row.low) else f"{row.low:+.4f} to {row.high:+.4f}"
        table.add_row(
            row.name, *map(_number, (row.first, row.second)), _number(row.difference, "+"), interval, row.verdict
        )
    _console.show(table)
    how = f"drawn alike from {result.pictures} pictures" if result.pictures else "drawn apart"
    _console.note(f"Intervals by bootstrap, {how}; numbers without one do not come from single objects.")
    _console.note("Shares run from 0 to 1 here, as in run.json; xpose eval shows them as percentages.")
    for note in result.notes:
        _console.note(f"Note: {note}.")


def _number(value: float, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.4f}"


def _as_dict(
    result: RunComparison, rows: list[ComparedNumber], run: EvaluationRun, weights: str, level: float
) -> dict[str, Any]:
    def plain(value: float) -> float | None:
        return None if math.isnan(value) else value

    return {
        "protocol": run.protocol,
        "a": run.weights,
        "b": weights,
        "level": level,
        "paired pictures": result.pictures,
        "notes": list(result.notes),
        "numbers": [
            {
                "name": row.name,
                "a": plain(row.first),
                "b": plain(row.second),
                "difference": plain(row.difference),
                "interval": None if math.isnan(row.low) else [row.low, row.high],
                "verdict": row.verdict,
            }
            for row in rows
        ],
    }
