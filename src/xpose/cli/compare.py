"""`xpose compare`: compare two evaluation runs, with confidence intervals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _console, _options

if TYPE_CHECKING:
    from xpose.evaluation.compare import ComparedNumber, RunComparison


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A folder written by xpose eval, or its run.json.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another run of the same protocol.")],
    sets: Annotated[bool, typer.Option("--sets", help="Show the results of each set as well.")] = False,
    draws: Annotated[int, typer.Option(min=100, metavar="N", help="Number of bootstrap samples.")] = 2000,
    level: Annotated[float, typer.Option(min=0.5, max=0.999, metavar="NUMBER", help="Confidence level.")] = 0.95,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the bootstrap samples.")] = 0,
    fail_if_worse: Annotated[
        bool, typer.Option("--fail-if-worse", help="Exit with code 1 if a number of B is significantly worse, for CI.")
    ] = False,
    as_json: _options.AsJson = False,
) -> None:
    """Compare two runs of one protocol.

    Shows the difference B − A of each number with its confidence interval, estimated by bootstrapping over the
    pictures. Pictures that both runs contain are resampled together. A number is called better or worse only if its
    interval excludes 0.

    Exit codes: 0 compared; 1 a file cannot be read, or with --fail-if-worse a number is worse; 2 wrong usage.

    Example: xpose compare runs/old runs/new
    """
    from xpose.evaluation.compare import compare as compare_runs
    from xpose.evaluation.run_file import read_run

    run_a, run_b = read_run(first), read_run(second)
    result = compare_runs(run_a, run_b, draws=draws, level=level, seed=seed)
    rows = [row for row in result.rows if sets or "/set/" not in row.name]
    if as_json:
        about = {"protocol": run_a.protocol, "a": run_a.weights, "b": run_b.weights, "level": level}
        about |= {"paired pictures": result.pictures, "notes": result.notes}
        _console.show_json({**about, "numbers": [_as_dict(row) for row in rows]})
    else:
        _console.show(f"{run_a.protocol}: A is {run_a.weights}, B is {run_b.weights}")
        _show(result, rows, level)
    if fail_if_worse and any(row.verdict == "worse" for row in rows):
        _console.note("B is significantly worse than A.")
        raise typer.Exit(_console.FAILURE)


def _show(result: RunComparison, rows: list[ComparedNumber], level: float) -> None:
    cells = []
    for row in rows:
        interval = "" if math.isnan(row.low) else f"{row.low:+.4f} to {row.high:+.4f}"
        numbers = [_number(row.first), _number(row.second), _number(row.difference, "+")]
        cells.append([row.name, *numbers, interval, row.verdict])
    titles = ("A", "B", "B − A", f"{level:.0%} interval")
    _console.show(_console.table(("number", *titles, "verdict"), cells, right=titles))
    both = f"the {result.pictures} pictures of both runs"
    pairing = both if result.pictures else "the pictures of each run separately"
    _console.note(f"Intervals by bootstrapping over {pairing}; numbers without one do not come from single objects.")
    _console.note("Shares are between 0 and 1 here, as in run.json; xpose eval shows them as percentages.")
    for note in result.notes:
        _console.note(f"Note: {note}.")


def _number(value: float, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.4f}"


def _as_dict(row: ComparedNumber) -> dict[str, Any]:
    numbers = {"a": row.first, "b": row.second, "difference": row.difference}
    plain = {name: None if math.isnan(value) else value for name, value in numbers.items()}
    interval = None if math.isnan(row.low) else [row.low, row.high]
    return {"name": row.name, **plain, "interval": interval, "verdict": row.verdict}
