"""`xpose eval`: run a protocol and compare its numbers with the papers'."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _console, _options
from xpose.cli._inputs import absolute, printable
from xpose.cli._options import _option as option
from xpose.errors import ConfigError, counted

if TYPE_CHECKING:
    from xpose.evaluation.answers import PictureFault
    from xpose.evaluation.data import EvaluationData
    from xpose.evaluation.protocols import Protocol
    from xpose.evaluation.questions import Settings
    from xpose.evaluation.runner import Evaluation
    from xpose.evaluation.sources import AnswerSource, SourceMaker

BATCH = 8
HOW, WHO = "How it is asked", "Whose answers"

ABOUT_THRESHOLD = 'Keep answers with a higher score. Default: 0; for "as-used" and "negatives" those of the weights.'
ABOUT_ABSENT = 'For "negatives": ask for this class, which the pictures do not show; repeatable.'
ABOUT_INDEX = "The weights count pixels by index, as the released checkpoint does: do not subtract half a pixel."
ABOUT_RESULTS = "COCO results of another system instead of weights; or a folder with SET.json for each set."
ABOUT_PEER = "Another network instead of weights: grounding-dino=FOLDER or clip=FOLDER, in transformers' form."
ABOUT_BATCH = f'Pictures that go through the network together. Default: {BATCH}; "as-used" always uses 1.'
ABOUT_OUT = "Answers, tables, run.json, COCO results and report.html go there."
ABOUT_DATA = "Labelled pictures: a folder of sets or prepared sets; repeatable."
ABOUT_SPLIT = 'Default: the usual one of the protocol; "held-out" is a tenth of train.'

Text = str | None
Number = int | None
File = Path | None
Only = Annotated[list[str] | None, option(None, "--only SET", "Only this set; repeatable.")]
Limit = Annotated[Number, option(None, "--limit N", "At most this many pictures of each set.", min=1)]


@dataclass(frozen=True)
class EvaluationCommandOptions:
    """The options of `xpose eval`."""

    protocol: Annotated[
        Text, typer.Argument(metavar="PROTOCOL", help="Its name; --list shows all.", show_default=False)
    ] = None
    data: Annotated[list[Path] | None, option(None, "--data FOLDER", ABOUT_DATA)] = None
    weights: _options.Weights = None
    out: Annotated[File, option(None, "-o --out FOLDER", ABOUT_OUT)] = None
    split: Annotated[Text, option(None, "--split NAME", ABOUT_SPLIT)] = None
    only: Only = None
    limit: Limit = None
    prompts: Annotated[Text, option(HOW, "--prompts KIND", "text, visual or combined.")] = None
    shots: Annotated[Number, option(HOW, "--shots N", "Examples per class, for visual prompts.")] = None
    seed: Annotated[Number, option(HOW, "--seed N", "Seed for drawing examples and absent classes.")] = None
    flip: Annotated[bool, option(HOW, "--flip", "Also ask the mirrored picture and average both answers.")] = False
    side: Annotated[Number, option(HOW, "--side PIXELS", "Longer side of the network's input.")] = None
    threshold: Annotated[float | None, option(HOW, "--threshold SCORE", ABOUT_THRESHOLD, min=0, max=1)] = None
    absent: Annotated[list[str] | None, option(HOW, "--absent CLASS", ABOUT_ABSENT)] = None
    index_pixels: Annotated[bool, option(HOW, "--index-pixels", ABOUT_INDEX)] = False
    results: Annotated[File, option(WHO, "--results FILE.json", ABOUT_RESULTS)] = None
    labels: Annotated[File, option(WHO, "--labels FILE.json", "The annotation file that --results belongs to.")] = None
    peer: Annotated[Text, option(WHO, "--peer KIND=FOLDER", ABOUT_PEER)] = None
    processes: Annotated[int, option(None, "--processes N", "Processes that share the work.", min=1)] = 1
    batch: Annotated[Number, option(None, "--batch N", ABOUT_BATCH, min=1, show_default=False)] = None
    engine: _options.Engine = "local"
    gpus: _options.Gpus = 0.0
    address: _options.Address = None
    fresh: Annotated[bool, option(None, "--fresh", "Discard the answers of an earlier run in --out.")] = False
    as_json: Annotated[bool, option(None, "--json", "Print the numbers as JSON instead of tables.")] = False
    listed: Annotated[bool, option(None, "--list", "List the protocols and what each one measures.")] = False
    device: _options.Device = None
    dtype: _options.Dtype = None
    clip: _options.Clip = None


@_options.expanded
def evaluate(options: EvaluationCommandOptions) -> None:
    """Run a protocol, and compare with the papers' numbers.

    Every table states its boxes, prompts, flips and seed. With --out, answers are saved immediately, and the same
    command resumes an interrupted run.

    Examples:

    - xpose eval --list
    - xpose eval as-used --data ../shared/data --weights xpose-nano --out runs/used
    - xpose eval nano-real --data ../shared/data --weights xpose-nano --out runs/nano
    - xpose eval ap10k --data sets --weights mine --flip --processes 4 --out runs/ap10k
    - xpose eval ap10k --data sets --weights mine --engine ray --processes 16 --gpus 0.5 --address auto --out runs/ap10k
    - xpose eval coco --data sets --results other_system.json
    """
    if options.listed or options.protocol is None:
        _list(options.as_json)
        return
    if not options.data:
        raise typer.BadParameter("It must name the folder of the labelled pictures.", param_hint="--data")
    _options.check_engine(options.engine, {"--gpus": options.gpus, "--address": options.address})
    from xpose.evaluation.data import EvaluationData
    from xpose.evaluation.protocols import load_protocol

    rules = load_protocol(options.protocol)
    names = ("prompts", "shots", "seed", "limit", "side", "threshold", "flip", "index_pixels")
    changes = {name: getattr(options, name) for name in names} | {"absent": tuple(options.absent or ())}
    settings = replace(rules.usual, **{name: value for name, value in changes.items() if value not in (None, ())})
    folders = [path.expanduser() for path in options.data]
    data = EvaluationData.at(folders, options.split or rules.split, options.only or [])
    result = _measure(options, rules, settings, _source_maker(options, rules, data), data)
    _show(result, options.as_json)
    if result.faults:
        raise typer.Exit(_console.FAILURE)


def _source_maker(options: EvaluationCommandOptions, rules: Protocol, data: EvaluationData) -> SourceMaker:
    """A function that opens the source of answers, in this process or in another."""
    results, peer = options.results, options.peer
    sources = {"--results": results, "--peer": peer, "--weights": options.weights}
    given = [name for name, value in sources.items() if value]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} were given. One run has one source of answers. Give one of them.")
    if rules.alone and options.batch not in (None, 1):
        raise ConfigError(
            f'--batch is {options.batch}, but the protocol "{rules.name}" asks one picture at a time. Leave it out.'
        )
    if results is not None:
        from xpose.evaluation.results import ResultsSource

        return partial(ResultsSource, results.expanduser(), options.labels and options.labels.expanduser(), data)
    if peer is not None:
        from xpose.evaluation.peers import open_peer

        if peer.startswith("clip=") != (rules.open is not None):
            raise ConfigError(
                f'--peer {peer} does not fit the protocol "{rules.name}". CLIP finds nothing and serves "similarity" '
                "alone, and that takes CLIP or weights of ours."
            )
        return partial(open_peer, peer, device=options.device)
    from xpose.evaluation.sources import open_detector

    clip, batch = options.clip and str(options.clip.absolute()), 1 if rules.alone else options.batch or BATCH
    loading: dict[str, Any] = {"device": options.device, "dtype": options.dtype, "clip": clip, "batch": batch}
    return partial(rules.open or open_detector, absolute(options.weights), **loading)


def _measure(
    options: EvaluationCommandOptions, rules: Protocol, settings: Settings, make: SourceMaker, data: EvaluationData
) -> Evaluation:
    """Run the protocol; with a folder given, keep the answers and all files in it."""
    from xpose.evaluation.answers import FOLDER, AnswerJournal, refuse_other_data
    from xpose.evaluation.outputs import COCO, write_outputs
    from xpose.evaluation.run_file import RUN
    from xpose.evaluation.runner import evaluate as run

    several = options.processes > 1 or options.engine == "ray"
    if options.out is None:
        if several:
            raise ConfigError(
                "--processes 2 or more and --engine ray need a folder for the answers they share. Give one with --out."
            )
        with counting(rules.name) as progress:
            return run(rules, make(), data, settings=settings, progress=progress, fault=_tell)
    source: AnswerSource = make()
    folder = options.out.expanduser()
    if options.fresh and (folder / FOLDER).is_dir():
        shutil.rmtree(folder / FOLDER)
    asked = {**settings.to_json(), "limit": None}  # a later run can have more pictures
    identity = {"protocol": rules.name, "source": source.identity, "split": data.split, "settings": asked}
    with AnswerJournal(folder, identity) as journal:
        if len(journal):
            refuse_other_data(journal, rules.tasks(data, settings), reported=(folder / RUN).exists())
            _console.note(f"{counted(len(journal), 'picture is', 'pictures are')} answered already; going on.")
    with _resumable(), counting(rules.name) as progress, ExitStack() as stack:
        if several:
            source = stack.enter_context(_shared_out(options, source, make))
        journal = stack.enter_context(AnswerJournal(folder, identity))
        result = run(rules, source, data, settings=settings, journal=journal, progress=progress, fault=_tell)
        written = write_outputs(folder, result, rules, data, settings, journal)
    names = [path.name for path in written if path.parent == folder]
    if others := len(written) - len(names):
        names.append(f"{counted(others, 'file')} in {COCO}/")
    _console.note(f"Written to {printable(folder)}: {', '.join(names)}")
    return result


@contextmanager
def _shared_out(options: EvaluationCommandOptions, source: AnswerSource, make: SourceMaker) -> Iterator[AnswerSource]:
    """The source in several processes, on this machine or on a cluster."""
    from xpose.evaluation.sources import ParallelSource, RaySource

    if options.engine == "local":
        with closing(ParallelSource(source, make, options.processes)) as parallel:
            yield parallel
        return
    from xpose.cluster import connected

    with connected(options.address, options.processes, options.gpus) as ray:
        yield RaySource(source, make, options.processes, options.gpus, ray)


@contextmanager
def _resumable() -> Iterator[None]:
    """Tell how to resume if a run that keeps its answers is stopped."""
    try:
        yield
    except KeyboardInterrupt:
        _console.note("Stopped. What is answered is kept: go on with the same command.")
        raise


def _tell(fault: PictureFault) -> None:
    _console.fail(f"{printable(fault.key)}: {printable(fault.message.rstrip('. '))}. Skipped.")


@contextmanager
def counting(name: str) -> Iterator[Callable[[int], None]]:
    """A bar on standard error if it is a terminal; the number of pictures is not known in advance."""
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
        _console.show_json([{name: getattr(protocol, name) for name in shown} for protocol in known])
        return
    rows = [(protocol.name, protocol.title, protocol.source) for protocol in known]
    _console.show(_console.table(("protocol", "what it measures", "source"), rows))
    _console.note("Run one: xpose eval PROTOCOL --data FOLDER --weights WEIGHTS --out FOLDER")
