"""`xpose eval`: run a protocol and write its numbers beside the papers'."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _console, _options
from xpose.cli._inputs import printable
from xpose.errors import ConfigError, counted

if TYPE_CHECKING:
    from xpose.evaluation.answers import Fault
    from xpose.evaluation.protocols import Protocol
    from xpose.evaluation.runner import Evaluation
    from xpose.evaluation.settings import Settings
    from xpose.evaluation.sources import Source

BATCH = 8
HOW, WHO = "How it is asked", "Whose answers"


def evaluate(
    protocol: Annotated[
        str | None, typer.Argument(metavar="PROTOCOL", help="Its name; --list shows all.", show_default=False)
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data", metavar="FOLDER", help="Labelled pictures: folder of sets or prepared sets; repeatable."
        ),
    ] = None,
    weights: _options.Weights = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="FOLDER", help="Answers, tables, run.json, COCO results and report.html go there."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help='Instead of the usual one; "held-out" is a tenth of train.')
    ] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="SET", help="Only this set; repeatable.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many pictures of each set.")] = None,
    prompts: Annotated[
        str | None, typer.Option(metavar="KIND", rich_help_panel=HOW, help="text, visual or combined.")
    ] = None,
    shots: Annotated[
        int | None, typer.Option(metavar="N", rich_help_panel=HOW, help="Examples per class, for visual prompts.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", rich_help_panel=HOW, help="Draws the examples.")] = None,
    flip: Annotated[
        bool, typer.Option("--flip", rich_help_panel=HOW, help="Ask the mirrored picture too; take the mean.")
    ] = False,
    side: Annotated[
        int | None, typer.Option(metavar="PIXELS", rich_help_panel=HOW, help="Longer side of the network's input.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="SCORE",
            rich_help_panel=HOW,
            help='Answers must score higher. Usual: 0; for "as-used" and "negatives" the thresholds of the weights, '
            "by class.",
        ),
    ] = None,
    absent: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS",
            rich_help_panel=HOW,
            help='For "negatives": ask for this class, which the pictures do not show; repeatable.',
        ),
    ] = None,
    index_pixels: Annotated[
        bool,
        typer.Option(
            "--index-pixels",
            rich_help_panel=HOW,
            help="The weights count pixels by index, as the released checkpoint does: take no half pixel off.",
        ),
    ] = False,
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            rich_help_panel=WHO,
            help="COCO results of another system instead of weights; or a folder with SET.json for each set.",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", rich_help_panel=WHO, help="The annotation file that --results belongs to."),
    ] = None,
    peer: Annotated[
        str | None,
        typer.Option(
            metavar="KIND=FOLDER",
            rich_help_panel=WHO,
            help="Another network instead of weights: grounding-dino=FOLDER or clip=FOLDER, in transformers' form.",
        ),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, metavar="N", help="Processes that share the work.")] = 1,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help=f'Pictures that go through the network together. Usual: {BATCH}; for "as-used" always 1.',
            show_default=False,
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the answers of an earlier run in --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON instead of tables.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the protocols and what each one measures.")] = False,
    device: _options.Device = None,
    dtype: _options.Dtype = None,
    clip: _options.Clip = None,
) -> None:
    """Measure weights by a protocol, beside the papers' numbers.

    Every table says which boxes, prompts, flips and seed. With --out the answers are kept as they come: the same
    command goes on where an interrupted one stopped.

    Examples:

    - xpose eval --list
    - xpose eval as-used --data ../shared/data --weights xpose-nano --out runs/used
    - xpose eval nano-real --data ../shared/data --weights xpose-nano --out runs/nano
    - xpose eval ap10k --data sets --weights mine --flip --processes 4 --out runs/ap10k
    - xpose eval coco --data sets --results other_system.json
    """
    if listed or protocol is None:
        _list(as_json)
        return
    if not data:
        raise typer.BadParameter("It must name the folder of the labelled pictures.", param_hint="--data")
    from xpose.evaluation.protocols import load_protocol

    rules = load_protocol(protocol)
    changes: dict[str, Any] = {"prompts": prompts, "shots": shots, "seed": seed, "limit": limit, "side": side}
    changes |= {
        "threshold": threshold,
        "flip": flip or None,
        "index_pixels": index_pixels or None,
        "absent": tuple(absent) if absent else None,
    }
    wanted = {name: value for name, value in changes.items() if value is not None}
    settings = replace(rules.usual, **wanted)
    if rules.alone and batch not in (None, 1):
        raise ConfigError(
            f'--batch is {batch}, but the protocol "{rules.name}" asks one picture at a time, as in use. Leave it out.'
        )
    together = 1 if rules.alone else batch or BATCH
    make = _source_maker(
        rules, results, labels, peer, weights, device, dtype, clip, together, data, split or rules.split
    )
    if out is None and processes > 1:
        raise ConfigError("--processes 2 or more need a folder for the answers they share. Give one with --out.")
    result = _run(rules, settings, make, data, split, only or [], out, processes, fresh)
    _show(result, as_json)
    if result.faults:
        raise typer.Exit(_console.FAILURE)


def _source_maker(
    rules: Protocol,
    results: Path | None,
    labels: Path | None,
    peer: str | None,
    weights: str | None,
    device: str | None,
    dtype: str | None,
    clip: Path | None,
    batch: int,
    data: list[Path],
    split: str,
) -> Callable[[], Source]:
    """How each process gets whoever answers."""
    given = [name for name, value in (("--results", results), ("--peer", peer), ("--weights", weights)) if value]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} were given. One run has one source of answers. Give one of them.")
    if results is not None:
        from xpose.evaluation.peers.results_file import open_results

        return partial(
            open_results, str(results), None if labels is None else str(labels), tuple(map(str, data)), split
        )
    if peer is not None:
        from xpose.evaluation.peers import open_peer

        if peer.startswith("clip=") != (rules.open is not None):
            raise ConfigError(
                f'--peer {peer} does not fit the protocol "{rules.name}". CLIP finds nothing and serves "similarity" '
                "alone, and that takes CLIP or weights of ours."
            )
        return partial(open_peer, peer, device=device, batch=batch)
    return partial(
        rules.open or _open_detector,
        weights,
        device=device,
        dtype=dtype,
        clip=None if clip is None else str(clip),
        batch=batch,
    )


def _open_detector(weights: str | None, **options: Any) -> Source:
    from xpose.evaluation.sources import open_detector

    return open_detector(weights, **options)


def _run(
    rules: Protocol,
    settings: Settings,
    make: Callable[[], Source],
    data: list[Path],
    split: str | None,
    only: list[str],
    out: Path | None,
    processes: int,
    fresh: bool,
) -> Evaluation:
    from xpose.evaluation.answers import FOLDER, Journal
    from xpose.evaluation.data import Data
    from xpose.evaluation.digests import refuse_other_data
    from xpose.evaluation.outputs import COCO, write_outputs
    from xpose.evaluation.parallel import Work, answer_in_parallel
    from xpose.evaluation.run_file import RUN
    from xpose.evaluation.runner import evaluate as run

    placed = Data.at([path.expanduser() for path in data], split or rules.split, only)
    source = make()
    if out is None:
        with _bar(rules.name) as progress:
            return run(rules, source, placed, settings=settings, progress=progress, fault=_tell)
    folder = out.expanduser()
    if fresh and (folder / FOLDER).is_dir():
        shutil.rmtree(folder / FOLDER)
    asked = {**settings.to_json(), "limit": None}  # more pictures of the same run may be asked later
    identity = {"protocol": rules.name, "source": source.identity, "split": placed.split, "settings": asked}
    with Journal(folder, identity) as journal:
        if len(journal):
            refuse_other_data(journal, rules.tasks(placed, settings), reported=(folder / RUN).exists())
            _console.note(f"{counted(len(journal), 'picture is', 'pictures are')} answered already; going on.")
    with _resumable(), _bar(rules.name) as progress:
        if processes > 1:
            answer_in_parallel(Work(rules.name, placed, settings, str(folder), identity, make), processes, progress)
        with Journal(folder, identity) as journal:
            result = run(rules, source, placed, settings=settings, journal=journal, progress=progress, fault=_tell)
            written = write_outputs(folder, result, rules, placed, settings, journal)
    own = [path.name for path in written if path.parent == folder]
    others = len(written) - len(own)
    if others:
        own.append(f"{counted(others, 'file')} in {COCO}/")
    _console.note(f"Written to {printable(folder)}: {', '.join(own)}")
    return result


@contextmanager
def _resumable() -> Iterator[None]:
    """Whoever stops a run that keeps its answers is told how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        _console.note("Stopped. What is answered is kept: go on with the same command.")
        raise


def _tell(fault: Fault) -> None:
    _console.fail(f"{printable(fault.key)}: {printable(fault.message.rstrip('. '))}. Skipped.")


@contextmanager
def _bar(name: str) -> Iterator[Callable[[int], None]]:
    """A bar on standard error where somebody watches; the number of pictures is not known beforehand."""
    if _console.is_quiet() or not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} pictures"))
    with Progress(*columns, TimeElapsedColumn(), console=_console.console(sys.stderr), transient=True) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done: progress.update(task, completed=done)


def _show(result: Evaluation, as_json: bool) -> None:
    import math

    if as_json:
        plain = {name: value if math.isfinite(value) else None for name, value in result.summary.items()}
        skipped = [{"picture": fault.key, "error": printable(fault.message)} for fault in result.faults]
        _console.show_json(
            {"protocol": result.protocol, "weights": result.weights, "rules": result.statement, "numbers": plain}
            | {"headline": plain.get(result.headline), "skipped": skipped}
        )
        return
    for name, value in {"weights": result.weights, **result.statement}.items():
        _console.show(f"{name}: {printable(value)}")
    for table in result.tables:
        numeric = [all(not isinstance(row[i], str) for row in table.rows) for i in range(len(table.columns))]
        right = [title for title, number in zip(table.columns, numeric, strict=True) if number]
        _console.show(f"\n{table.title}")
        _console.show(_console.table(table.columns, table.cells(), right=right))
        for line in table.notes:
            _console.show(printable(line))


def _list(as_json: bool) -> None:
    from xpose.evaluation.protocols import PROTOCOLS, load_protocol

    known = [load_protocol(name) for name in PROTOCOLS]
    if as_json:
        _console.show_json(
            [
                {
                    **{name: getattr(one, name) for name in ("name", "title", "source", "data", "split", "boxes")},
                    **{name: getattr(one, name) for name in ("prompts", "pck", "metrics", "sets")},
                }
                for one in known
            ]
        )
        return
    rows = [(one.name, one.title, one.source) for one in known]
    _console.show(_console.table(("protocol", "what it measures", "source"), rows))
    _console.note("Run one: xpose eval PROTOCOL --data FOLDER --weights WEIGHTS --out FOLDER")
