"""Run a protocol: ask questions, stream answers, compute numbers.

result = evaluate("nano-real", xpose.load("weights/mine"), "../shared/data", split="held-out")
result.summary["PCK@0.2"]
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpose.errors import ConfigError, DataError, ImageError, quote
from xpose.evaluation.answers import OTHER_FOLDER, AnswerJournal, Answers, PictureFault, difference, digest_of
from xpose.evaluation.data import EvaluationData
from xpose.evaluation.protocols import Protocol, Table, load_protocol, published_tables
from xpose.evaluation.questions import Settings, Task
from xpose.evaluation.run_file import EvaluationRun, RunObject, RunPicture
from xpose.evaluation.scores import ObjectScore, Scores
from xpose.evaluation.sources import AnswerSource, DetectorSource, trimmed

if TYPE_CHECKING:
    from xpose.inference import Detector


@dataclass(frozen=True, kw_only=True)
class Evaluation(EvaluationRun):
    """A finished run: the content of its file, and everything that reports show."""

    headline: str = ""  # the name of the main value in `summary`
    statement: dict[str, str] = field(default_factory=dict)  # the statement of every table
    tables: tuple[Table, ...] = ()
    faults: tuple[PictureFault, ...] = ()  # pictures that were skipped
    scores: Scores = field(default_factory=Scores)

    @property
    def value(self) -> float:
        """The headline number."""
        return self.summary[self.headline]


def evaluate(
    protocol: str | Protocol,
    source: Detector | AnswerSource,
    data: EvaluationData | str | Path | Iterable[str | Path],
    *,
    split: str | None = None,
    only: Iterable[str] = (),
    settings: Settings | None = None,
    batch: int = 8,
    journal: AnswerJournal | None = None,
    progress: Callable[[int], None] = lambda done: None,
    fault: Callable[[PictureFault], None] = lambda fault: None,
) -> Evaluation:
    """Run a protocol, by name (`xpose eval --list`) or your own, on one or several folders of labelled pictures.

    `split`, `only` and `settings` default to the protocol's own. `batch` applies to a detector, if the protocol allows
    it. The journal keeps the answers on disk, including those of an interrupted run. `progress` is called with the
    number of finished pictures, `fault` with every skipped one.

    Raises:
        ConfigError: there is no such protocol, or the journal has answers about other data.
        DataError: the data cannot be read, or no picture can be processed.
    """
    from xpose.inference import Detector

    rules = load_protocol(protocol) if isinstance(protocol, str) else protocol
    settings = settings or rules.usual
    placed = data if isinstance(data, EvaluationData) else EvaluationData.at(data, split or rules.split, only)
    if isinstance(source, DetectorSource) and rules.alone:
        source = source.detector
    asked = DetectorSource(source, 1 if rules.alone else batch) if isinstance(source, Detector) else source
    scores = rules.scores(placed, settings)
    faults: list[PictureFault] = []
    for done, (task, answers) in enumerate(answered(rules.tasks(placed, settings), asked, settings, journal), start=1):
        scores.unasked.update(task.unasked)
        if isinstance(answers, PictureFault):
            faults.append(answers)
            fault(answers)
        else:
            for question, predicted in zip(task.questions, answers, strict=True):
                scores.add(task, question, predicted)
        progress(done)
    for key, why in placed.skipped.items():
        faults.append(PictureFault(key, why))
        fault(faults[-1])
    return conclude(rules, placed, settings, scores, faults, asked.name)


def answered(
    tasks: Iterable[Task], source: AnswerSource, settings: Settings, journal: AnswerJournal | None = None
) -> Iterator[tuple[Task, Answers | PictureFault]]:
    """Every task with its answers, or its picture's fault, in order; answers in the journal are reused."""
    waiting = iter(tasks)
    while group := list(islice(waiting, max(1, source.batch))):
        readable, results = [], dict[int, Answers | PictureFault]()
        for number, task in enumerate(group):
            if journal is not None and task.key in journal:
                if what := difference(journal.digest(task.key), digest_of(task)):
                    raise ConfigError(f"The answers about {quote(task.key)} on disk belong to {what}. {OTHER_FOLDER}")
                results[number] = journal.get(task.key)
                continue
            try:
                readable.append((number, task, task.pixels()))
            except (ImageError, DataError) as error:
                results[number] = PictureFault(task.key, str(error))
        asked, pixels = [task for _, task, _ in readable], [pixels for *_, pixels in readable]
        answers = source.answer(asked, pixels, settings) if readable else []
        for (number, task, _), of_task in zip(readable, answers, strict=True):
            results[number] = tuple(trimmed(a, q) for a, q in zip(of_task, task.questions, strict=True))
        for number, task in enumerate(group):
            result = results[number]
            if journal is not None and task.key not in journal and not isinstance(result, PictureFault):
                journal.put(task.key, result, digest_of(task))
            yield task, result


def conclude(
    protocol: Protocol,
    data: EvaluationData,
    settings: Settings,
    scores: Scores,
    faults: Sequence[PictureFault],
    weights: str,
) -> Evaluation:
    """Compute the run's numbers and tables; a DataError if nothing was scored."""
    from xpose import __version__

    if not scores.pictures:
        first = f" The first fault: {faults[0].message}" if faults else ""
        raise DataError(
            f'No picture could be asked in "{data.split}" of {", ".join(map(str, data.places))}.{first} '
            f"The protocol takes {', '.join(protocol.sets) or 'any set'} and needs enough labelled pictures of it. "
            "Check the folder and the split."
        )
    findings = protocol.conclude(scores, data, settings)
    statement = protocol.statement(data, settings)
    if scores.unasked:
        statement["not asked"] = "; ".join(f"{what} ({n} times)" for what, n in sorted(scores.unasked.items()))
    return Evaluation(
        protocol=protocol.name,
        settings={**settings.to_json(), "split": data.split, "only": list(data.only), **statement},
        weights=weights,
        summary=dict(findings.values),
        means=dict(findings.means),
        pictures=tuple(_pictures(scores.objects, protocol, findings.left_out)),
        version=__version__,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        headline=protocol.headline,
        statement=statement,
        tables=(*findings.tables, *(published_tables()[key] for key in protocol.published)),
        faults=tuple(faults),
        scores=scores,
    )


def _pictures(objects: Iterable[ObjectScore], protocol: Protocol, left_out: Collection[str]) -> Iterator[RunPicture]:
    """The rows of the run's file: an entry for each picture and question."""
    together: dict[tuple[str, str, str], list[ObjectScore]] = {}
    for score in objects:
        together.setdefault((score.task, score.group, score.variant), []).append(score)
    keys: Counter[str] = Counter()
    for (task, group, variant), scores in together.items():
        key = f"{task}#{variant}" if variant else task
        keys[key] += 1
        unique = key if keys[key] == 1 else f"{key}#{keys[key]}"
        yield RunPicture(unique, group, tuple(_object(score, protocol, group in left_out) for score in scores))


def _object(score: ObjectScore, protocol: Protocol, left_out: bool) -> RunObject:
    values: dict[str, Any] = {f"PCK@{t:g}": score.share(t) for t in protocol.thresholds}
    values["IoU"] = score.iou
    if protocol.thresholds:
        values["error"] = math.fsum(score.values) / len(score.values)
    values |= score.further
    # A separate name also excludes these numbers from the means that `xpose compare` computes again.
    named = {f"{name} (left out of the means)" if left_out else name: value for name, value in values.items()}
    return RunObject(f"{score.category}/{score.number}", score.category, len(score.names), named)
