"""Writes the measured values as a page with tables and plots."""

from __future__ import annotations

import os
import platform
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.measuring import Result, Row
from benchmarks.peers.plots import plot_growth, plot_peers, seconds_text

PEER_PLOT, GROWTH_PLOT = "peers.png", "growth.png"
QUIET = 0.1  # share of the machine that other programs may use without a warning


@dataclass(frozen=True)
class Goal:
    """A ratio of two rows of a comparison that the project wants to reach; rows are given by parts of their names."""

    text: str
    comparison: str
    slower: str
    faster: str
    limit: float
    is_minimum: bool = True


GOALS = (
    Goal("The padded form takes at least 6 times as long as float32.", "swin-t", "padded", "float32", 6),
    Goal("The padded form takes at least 10 times as long as bfloat16.", "swin-t", "padded", "bfloat16", 10),
    Goal("GroundingDINO takes at least 4 times as long as float32.", "swin-t", "GroundingDINO", "float32", 4),
    Goal("20 people take less than 1.15 times as long as one.", "growth-objects", "20", "1", 1.15, is_minimum=False),
)


def write_page(
    results: Sequence[Result], page: Path, images: Path, command: str, goals: Sequence[Goal] = GOALS
) -> None:
    """Write the page, and its plots to `images`."""
    peers = [result for result in results if not result.comparison["axis"]]
    growth = [result for result in results if result.comparison["axis"]]
    images.mkdir(parents=True, exist_ok=True)
    parts = [_introduction(results, command), *([_goals(results, goals)] if goals else [])]
    if peers:
        plot_peers(peers, images / PEER_PLOT)
        parts += [
            "## Other systems",
            _picture("Seconds per picture", page, images / PEER_PLOT),
            *map(peer_table, peers),
        ]
    if growth:
        plot_growth(growth, images / GROWTH_PLOT)
        parts += [_GROWTH, _picture("Growth of the time per picture", page, images / GROWTH_PLOT)]
        parts += map(growth_table, growth)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n\n".join(parts) + "\n", "utf-8")


_GROWTH = """## How the time grows

These are times of `detect` with the bundled weights `xpose-nano` and PyTorch, from the decoded picture to the result,
when only one quantity changes. *Relative* compares each time with the first row. For *objects*, `detect` returns as
many poses as there are people on the canvas (`max_instances`, without thresholds); the network decodes 20 candidates,
or 50 for 50 poses. *Classes* are words of the vocabulary with their own keypoints; as always, rivals are added, and
words that are unlike all rivals are decoded in a second pass. *Keypoints* are those of a person. In the encoder of
`xpose-nano`, every token of the two coarser levels attends to all others, so the time grows faster than the number of
pixels."""


def _introduction(results: Sequence[Result], command: str) -> str:
    measured = sorted({result.measured for result in results})
    when = measured[0] if len(measured) == 1 else f"{measured[0]} to {measured[-1]}"
    versions = {name: value for result in results for row in result.rows for name, value in row.versions.items()}
    packages = ", ".join(f"{name} {value}" for name, value in sorted(versions.items()))
    threads = ", ".join(sorted({str(result.threads) for result in results}))
    conditions = (
        f"Measured {when} on {_processor()} with {os.cpu_count()} cores ({platform.system()}, Python "
        f"{platform.python_version()}, {packages}). Threads per contestant: {threads}. {_load(results)}"
    )
    return f"""# Benchmarks

This page is the output of one command, which compares xpose with other systems on the same pictures:

```bash
{command}
```

{_wrapped(conditions)}

{_METHOD}

{_wrapped(_photographs(results))}"""


_METHOD = """Every contestant runs in its own process, and other systems in their own virtual environments. The
contestants of a table take turns (A B C A B C ...), so that slow changes of other load affect all of them.

- *Seconds* is the median over all calls except the first one, and *range* gives the fastest and the slowest round.
- *Ratio* is the time divided by that of the first row (the median over the rounds).
- *Memory* is the peak of the process, including libraries and weights.
- *First result* is the time from the start of a new process to its first result.
- *Found* is the mean number of detected objects per picture. Networks with random weights detect nothing meaningful."""


def _photographs(results: Sequence[Result]) -> str:
    others = max(len(result.comparison["pictures"]) for result in results) - 1
    if others < 1:
        return "The photograph is scikit-image's astronaut; `--pictures FOLDER` adds others."
    return f"The photographs are scikit-image's astronaut and {others} of `FOLDER`, one in each round."


def _load(results: Sequence[Result]) -> str:
    shares = [result.others for result in results if result.others is not None]
    if not shares:
        return "The load by other programs is unknown."
    if max(shares) <= QUIET:
        return f"Other programs used at most {max(shares):.0%} of the machine."
    return (
        f"**Other programs used {min(shares):.0%} to {max(shares):.0%} of the machine at the same time, so neither the "
        "times nor the ratios are reliable. They show only that everything can be measured.**"
    )


def _goals(results: Sequence[Result], goals: Sequence[Goal]) -> str:
    rows = {(result.name, row.contestant): row for result in results for row in result.rows if row.error is None}
    lines = ["## Goals", "", "| goal | measured | reached |", "|---|---:|---|"]
    for goal in goals:
        slower, faster = (_row(rows, goal.comparison, part) for part in (goal.slower, goal.faster))
        if slower is None or faster is None:
            lines.append(f"| {goal.text} | not measured | |")
            continue
        ratio = slower.ratio(faster)
        reached = ratio >= goal.limit if goal.is_minimum else ratio < goal.limit
        lines.append(f"| {goal.text} | {ratio:.2f} | {'yes' if reached else 'no'} |")
    return "\n".join(lines)


def _row(rows: Mapping[tuple[str, str], Row], comparison: str, part: str) -> Row | None:
    """The row with exactly this name, or else the first one with this part in its name."""
    exact = rows.get((comparison, part))
    return exact or next(
        (row for (name, row_name), row in rows.items() if name == comparison and part in row_name), None
    )


def peer_table(result: Result) -> str:
    """The table of a comparison with other systems."""
    lines = [
        f"### {result.comparison['title']}",
        "",
        _wrapped(result.comparison["note"]),
        "",
        "| system | seconds | range | ratio | memory (MB) | first result (s) | found |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    base = result.rows[0]
    for row in result.rows:
        if row.error is not None:
            lines.append(f"| {row.contestant} | not measured: {_cell(row.error)} | | | | | |")
            continue
        rounds = [statistics.median(values) for values in row.seconds]
        found = [count for count in row.found if count is not None]
        cells = (
            row.contestant,
            seconds_text(row.median),
            f"{seconds_text(min(rounds))}–{seconds_text(max(rounds))}",
            "" if base.error else f"{row.ratio(base):.2f}",
            "" if row.megabytes is None else f"{row.megabytes:.0f}",
            f"{statistics.median(row.starts):.1f}",
            f"{statistics.mean(found):.3g}" if found else "",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def growth_table(result: Result) -> str:
    """The table of one growth curve."""
    lines = [
        f"| {result.comparison['axis']} | seconds | relative | memory (MB) | found |",
        "|---:|---:|---:|---:|---:|",
    ]
    base = result.rows[0]
    for row in result.rows:
        if row.error is not None:
            lines.append(f"| {row.contestant} | not measured: {_cell(row.error)} | | | |")
            continue
        relative = "" if base.error else f"{row.ratio(base):.2f}"
        memory = "" if row.megabytes is None else f"{row.megabytes:.0f}"
        found = statistics.mean(count or 0 for count in row.found)
        lines.append(f"| {row.contestant} | {seconds_text(row.median)} | {relative} | {memory} | {found:.3g} |")
    return "\n".join(lines)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _cell(text: str) -> str:
    return text.replace("|", "/")


def _picture(title: str, page: Path, image: Path) -> str:
    return f"![{title}]({Path(os.path.relpath(image, page.parent)).as_posix()})"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    names = information.read_text().splitlines() if information.exists() else []
    name = next((line.partition(":")[2].strip() for line in names if line.startswith("model name")), "")
    return name or platform.processor() or platform.machine()
