"""`xpose eval`: run a protocol and write its numbers beside the papers'."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _console, _options
from xpose.cli._inputs import printable
from xpose.errors import ConfigError, counted

if TYPE_CHECKING:
    from xpose.evaluation.answers import PictureFault
    from xpose.evaluation.data import EvaluationData
    from xpose.evaluation.protocols import Protocol
    from xpose.evaluation.runner import Evaluation
    from xpose.evaluation.settings import Settings
    from xpose.evaluation.sources import AnswerSource, SourceMaker

BATCH = 8
HOW, WHO = "How it is asked", "Whose answers"

ProtocolName = Annotated[
    str | None, typer.Argument(metavar="PROTOCOL", help="Its name; --list shows all.", show_default=False)
]
DataFolders = Annotated[
    list[Path] | None,
    typer.Option("--data", metavar="FOLDER", help="Labelled pictures: a folder of sets or prepared sets; repeatable."),
]
OutFolder = Annotated[
    Path | None,
    typer.Option(
        "-o", "--out", metavar="FOLDER", help="Answers, tables, run.json, COCO results and report.html go there."
    ),
]
Split = Annotated[
    str | None,
    typer.Option(metavar="NAME", help='Default: the usual one of the protocol; "held-out" is a tenth of train.'),
]
Only = Annotated[list[str] | None, typer.Option("--only", metavar="SET", help="Only this set; repeatable.")]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="At most this many pictures of each set.")]
PromptKinds = Annotated[str | None, typer.Option(metavar="KIND", rich_help_panel=HOW, help="text, visual or combined.")]
Shots = Annotated[
    int | None, typer.Option(metavar="N", rich_help_panel=HOW, help="Examples per class, for visual prompts.")
]
Seed = Annotated[
    int | None, typer.Option(metavar="N", rich_help_panel=HOW, help="Seed for drawing examples and absent classes.")
]
Flip = Annotated[
    bool, typer.Option("--flip", rich_help_panel=HOW, help="Also ask the mirrored picture and average both answers.")
]
Side = Annotated[
    int | None, typer.Option(metavar="PIXELS", rich_help_panel=HOW, help="Longer side of the network's input.")
]
Threshold = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="SCORE",
        rich_help_panel=HOW,
        help='Keep answers with a higher score. Default: 0; for "as-used" and "negatives" the thresholds of the '
        "weights, by class.",
    ),
]
Absent = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CLASS",
        rich_help_panel=HOW,
        help='For "negatives": ask for this class, which the pictures do not show; repeatable.',
    ),
]
IndexPixels = Annotated[
    bool,
    typer.Option(
        "--index-pixels",
        rich_help_panel=HOW,
        help="The weights count pixels by index, as the released checkpoint does: do not subtract half a pixel.",
    ),
]
Results = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.json",
        rich_help_panel=WHO,
        help="COCO results of another system instead of weights; or a folder with SET.json for each set.",
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(metavar="FILE.json", rich_help_panel=WHO, help="The annotation file that --results belongs to."),
]
Peer = Annotated[
    str | None,
    typer.Option(
        metavar="KIND=FOLDER",
        rich_help_panel=WHO,
        help="Another network instead of weights: grounding-dino=FOLDER or clip=FOLDER, in transformers' form.",
    ),
]
Processes = Annotated[int, typer.Option(min=1, metavar="N", help="Processes that share the work.")]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help=f'Pictures that go through the network together. Default: {BATCH}; "as-used" always uses 1.',
        show_default=False,
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Discard the answers of an earlier run in --out.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the numbers as JSON instead of tables.")]
ListProtocols = Annotated[bool, typer.Option("--list", help="List the protocols and what each one measures.")]


def evaluate(
    protocol: ProtocolName = None,
    data: DataFolders = None,
    weights: _options.Weights = None,
    out: OutFolder = None,
    split: Split = None,
    only: Only = None,
    limit: Limit = None,
    prompts: PromptKinds = None,
    shots: Shots = None,
    seed: Seed = None,
    flip: Flip = False,
    side: Side = None,
    threshold: Threshold = None,
    absent: Absent = None,
    index_pixels: IndexPixels = False,
    results: Results = None,
    labels: Labels = None,
    peer: Peer = None,
    processes: Processes = 1,
    batch: BatchSize = None,
    fresh: Fresh = False,
    as_json: AsJson = False,
    listed: ListProtocols = False,
    device: _options.Device = None,
    dtype: _options.Dtype = None,
    clip: _options.Clip = None,
) -> None:
    """Measure weights by a protocol, beside the papers' numbers.

    Every table states its boxes, prompts, flips and seed. With --out the answers are saved as they come, and the same
    command resumes an interrupted run.

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
    from xpose.evaluation.data import EvaluationData
    from xpose.evaluation.protocols import load_protocol

    rules = load_protocol(protocol)
    changes: dict[str, Any] = {"prompts": prompts, "shots": shots, "seed": seed, "limit": limit, "side": side}
    changes |= {"threshold": threshold, "flip": flip or None, "index_pixels": index_pixels or None}
    changes |= {"absent": tuple(absent) if absent else None}
    settings = replace(rules.usual, **{name: value for name, value in changes.items() if value is not None})
    placed = EvaluationData.at([path.expanduser() for path in data], split or rules.split, only or [])
    options = {"device": device, "dtype": dtype, "clip": None if clip is None else str(clip)}
    make = _source_maker(rules, results, labels, peer, weights, batch, placed, options)
    result = _measure(out, rules, settings, make, placed, processes, fresh)
    _show(result, as_json)
    if result.faults:
        raise typer.Exit(_console.FAILURE)


def _source_maker(
    rules: Protocol,
    results: Path | None,
    labels: Path | None,
    peer: str | None,
    weights: str | None,
    batch: int | None,
    data: EvaluationData,
    options: dict[str, str | None],
) -> SourceMaker:
    """A function that opens the source of answers, in this process or in another."""
    given = [name for name, value in (("--results", results), ("--peer", peer), ("--weights", weights)) if value]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} were given. One run has one source of answers. Give one of them.")
    if rules.alone and batch not in (None, 1):
        raise ConfigError(
            f'--batch is {batch}, but the protocol "{rules.name}" asks one picture at a time, as in use. Leave it out.'
        )
    if results is not None:
        from xpose.evaluation.results import ResultsSource

        return partial(ResultsSource, results.expanduser(), labels and labels.expanduser(), data)
    if peer is not None:
        from xpose.evaluation.peers import open_peer

        if peer.startswith("clip=") != (rules.open is not None):
            raise ConfigError(
                f'--peer {peer} does not fit the protocol "{rules.name}". CLIP finds nothing and serves "similarity" '
                "alone, and that takes CLIP or weights of ours."
            )
        return partial(open_peer, peer, device=options["device"])
    from xpose.evaluation.sources import open_detector

    return partial(rules.open or open_detector, weights, **options, batch=1 if rules.alone else batch or BATCH)


def _measure(
    out: Path | None,
    rules: Protocol,
    settings: Settings,
    make: SourceMaker,
    data: EvaluationData,
    processes: int,
    fresh: bool,
) -> Evaluation:
    """Run the protocol; with a folder, keep the answers and write all files there."""
    from xpose.evaluation.answers import FOLDER, AnswerJournal, refuse_other_data
    from xpose.evaluation.outputs import COCO, write_outputs
    from xpose.evaluation.run_file import RUN
    from xpose.evaluation.runner import evaluate as run
    from xpose.evaluation.sources import ParallelSource

    if out is None:
        if processes > 1:
            raise ConfigError("--processes 2 or more need a folder for the answers they share. Give one with --out.")
        with counting(rules.name) as progress:
            return run(rules, make(), data, settings=settings, progress=progress, fault=_tell)
    source: AnswerSource = make()
    folder = out.expanduser()
    if fresh and (folder / FOLDER).is_dir():
        shutil.rmtree(folder / FOLDER)
    asked = {**settings.to_json(), "limit": None}  # more pictures of the same run may be asked later
    identity = {"protocol": rules.name, "source": source.identity, "split": data.split, "settings": asked}
    with AnswerJournal(folder, identity) as journal:
        if len(journal):
            refuse_other_data(journal, rules.tasks(data, settings), reported=(folder / RUN).exists())
            _console.note(f"{counted(len(journal), 'picture is', 'pictures are')} answered already; going on.")
    with _resumable(), counting(rules.name) as progress, ExitStack() as stack:
        if processes > 1:
            source = stack.enter_context(closing(ParallelSource(source, make, processes)))
        journal = stack.enter_context(AnswerJournal(folder, identity))
        result = run(rules, source, data, settings=settings, journal=journal, progress=progress, fault=_tell)
        written = write_outputs(folder, result, rules, data, settings, journal)
    names = [path.name for path in written if path.parent == folder]
    if others := len(written) - len(names):
        names.append(f"{counted(others, 'file')} in {COCO}/")
    _console.note(f"Written to {printable(folder)}: {', '.join(names)}")
    return result


@contextmanager
def _resumable() -> Iterator[None]:
    """Say how to resume a run that keeps its answers when it is stopped."""
    try:
        yield
    except KeyboardInterrupt:
        _console.note("Stopped. What is answered is kept: go on with the same command.")
        raise


def _tell(fault: PictureFault) -> None:
    _console.fail(f"{printable(fault.key)}: {printable(fault.message.rstrip('. '))}. Skipped.")


@contextmanager
def counting(name: str) -> Iterator[Callable[[int], None]]:
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
        right = [title for i, title in enumerate(table.columns) if i not in table.words]
        _console.show(f"\n{table.title}")
        _console.show(_console.table(table.columns, table.cells(), right=right))
        for line in table.notes:
            _console.show(printable(line))


def _list(as_json: bool) -> None:
    from xpose.evaluation.protocols import PROTOCOLS, load_protocol

    known = [load_protocol(name) for name in PROTOCOLS]
    if as_json:
        shown = ("name", "title", "source", "data", "split", "boxes", "prompts", "pck", "metrics", "sets")
        _console.show_json([{name: getattr(one, name) for name in shown} for one in known])
        return
    rows = [(one.name, one.title, one.source) for one in known]
    _console.show(_console.table(("protocol", "what it measures", "source"), rows))
    _console.note("Run one: xpose eval PROTOCOL --data FOLDER --weights WEIGHTS --out FOLDER")
