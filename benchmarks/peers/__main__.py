"""Measure everything: `python -m benchmarks.peers --help`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import benchmarks.peers as description
from benchmarks.peers.comparisons import ENVIRONMENTS, Comparison, all_comparisons
from benchmarks.peers.environments import create_all
from benchmarks.peers.measuring import ROOT, Result, measure
from benchmarks.peers.page import GOALS, write_page

from xpose.pictures.reading import PICTURE_ENDINGS


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what was asked for, and write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=description.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--threads", type=int, default=2, help="of each contestant (2)")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="photographs to use besides the sample")
    parser.add_argument("--only", metavar="NAME", help="measure only the comparisons with this in their names")
    parser.add_argument("--resume", action="store_true", help="keep finished comparisons")
    parser.add_argument("--quick", action="store_true", help="small sizes and few repeats, written to out/peers/quick")
    given = parser.parse_args(arguments)
    work = ROOT / "out" / "peers"
    place = work / "quick" if given.quick else work
    comparisons = all_comparisons(work / "pictures", _pictures(parser, given.pictures), given.quick)
    chosen = [comparison for comparison in comparisons if (given.only or "") in comparison.name]
    if not chosen:
        parser.error(
            f'no comparison is named "{given.only}". They are: {", ".join(entry.name for entry in comparisons)}'
        )
    measure_all(chosen, place, given.threads, resume=given.resume, environments=work / "environments")
    stored = [place / "results" / f"{comparison.name}.json" for comparison in comparisons]
    results = [Result.read(path) for path in stored if path.exists()]
    docs = place if given.quick else ROOT / "docs"
    command = "python -m benchmarks.peers" + " --quick" * given.quick
    command += f" --threads {given.threads}" * (given.threads != 2) + " --pictures FOLDER" * (
        given.pictures is not None
    )
    goals = () if given.quick else GOALS  # these hold for full sizes
    write_page(results, docs / "benchmarks.md", docs / "images" / "benchmarks", command, goals)
    _say(f"Wrote {docs / 'benchmarks.md'}.")


def _pictures(parser: argparse.ArgumentParser, folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in PICTURE_ENDINGS)
    if not found:
        parser.error(f"{folder} holds no pictures.")
    return [path.resolve() for path in found]


def measure_all(
    comparisons: Sequence[Comparison], place: Path, threads: int, *, resume: bool, environments: Path
) -> None:
    """Measure comparisons and store each result as soon as it is there."""
    files = {comparison.name: place / "results" / f"{comparison.name}.json" for comparison in comparisons}
    waiting = [
        comparison
        for comparison in comparisons
        if not (resume and _finished(files[comparison.name], comparison, threads))
    ]
    used = {contestant.environment for comparison in waiting for contestant in comparison.contestants}
    interpreters = create_all(environments, {name: ENVIRONMENTS[name] for name in ENVIRONMENTS if name in used})
    left, pace, done = sum(comparison.estimate for comparison in waiting), 1.0, 0.0
    begin = time.perf_counter()
    for number, comparison in enumerate(waiting, 1):
        print(
            f"[{number}/{len(waiting)}] {comparison.title}; about {_minutes(pace * left)} left",
            file=sys.stderr,
            flush=True,
        )
        result = measure(comparison, interpreters, threads, place / "logs")
        result.write(files[comparison.name])
        for row in result.rows:
            text = row.error or f"{1000 * row.median:.1f} ms, {row.megabytes or 0:.0f} MB"
            _say(f"    {row.contestant}: {text}")
        left, done = left - comparison.estimate, done + comparison.estimate
        pace = (time.perf_counter() - begin) / done


def _finished(path: Path, comparison: Comparison, threads: int) -> bool:
    return path.exists() and Result.read(path).finished(comparison, threads)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


if __name__ == "__main__":
    main()
