"""Protocols that measure whole published sets: a row per set, its metrics, the papers' numbers beside ours.

Each is a list of `Part`s. A set with one category is asked in every picture of the split, also where nothing is
labelled, as COCO's measure wants it; one with several is asked in each picture for the categories that it shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

from xpose.errors import missing_extra
from xpose.evaluation.data import Data, Placed
from xpose.evaluation.metrics import AUC, EPE, NME, BoxAP, Metric, OksAP
from xpose.evaluation.protocols.base import Findings, Protocol
from xpose.evaluation.protocols.making_questions import ask, categories_of, find_examples, limited
from xpose.evaluation.published import published
from xpose.evaluation.questions import Question, Task, key_of, only, with_instances
from xpose.evaluation.scores import Scores, pck
from xpose.evaluation.settings import Settings
from xpose.evaluation.tables import Cell, Table, percent
from xpose.records import Record, replaced

OKS = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR")
FACTORIES: dict[str, Callable[[], Metric]] = {
    "AP": OksAP,
    "box AP": BoxAP,
    "NME": NME,
    "AUC": AUC,
    "EPE": EPE,
}
_SHARES = ("AP", "AR", "PCK", "box", "AUC", "NME")  # measures that are shown as percentages


@dataclass(frozen=True, kw_only=True)
class Part:
    """One row: a set, its evaluated splits, and what is measured.

    Attributes:
        set: by the converter's name.
        splits: those that are evaluated, together.
        measures: names of numbers, the headline first; "PCK@t" for any threshold.
        label: of the row; the set's name where None.
        families: only objects of these families (by `taxonomy.family`).
        keypoints: only these count; all where None.
        by_style: a further row for each style of picture.
        note: what a reader must know.
    """

    set: str
    splits: tuple[str, ...]
    measures: tuple[str, ...]
    label: str | None = None
    families: tuple[str, ...] = ()
    keypoints: tuple[str, ...] | None = None
    by_style: bool = False
    note: str = ""

    @property
    def row(self) -> str:
        """The row's name."""
        return self.label or self.set

    def narrowed(self, record: Record) -> Record:
        """The record with only the objects and points that count."""
        kept = []
        for one in record.instances:
            if self.families and one.category.taxonomy.family not in self.families:
                continue
            if self.keypoints is None:
                kept.append(one)
                continue
            names = tuple(name for name in one.category.keypoints if name in self.keypoints)
            edges = tuple((a, b) for a, b in one.category.edges if a in names and b in names)
            category = replace(one.category, keypoints=names, edges=edges)
            kept.append(
                replaced(one, category=category, keypoints={n: p for n, p in one.keypoints.items() if n in names})
            )
        return with_instances(record, tuple(kept))


def usual_split(parts: Sequence[Part]) -> str:
    """All evaluated splits in words; a run with this as its split takes for each set its own."""
    return ", ".join(sorted({split for part in parts for split in part.splits}))


def _records(data: Data, part: Part, usual: str) -> Iterator[Placed]:
    for split in part.splits if data.split == usual else (data.split,):
        for record, place in data.of_set(part.set, split):
            yield part.narrowed(record), place


def tasks_of(parts: Sequence[Part]) -> Callable[[Data, Settings], Iterator[Task]]:
    """The questions about some sets."""

    def tasks(data: Data, settings: Settings) -> Iterator[Task]:
        shots = find_examples(data, settings)
        usual = usual_split(parts)
        for part in _chosen(parts, data):
            listed = list(limited(_records(data, part, usual), settings.limit))
            kinds = list(dict.fromkeys(kind for record, _ in listed for kind in categories_of(record)))
            for record, place in listed:
                asked = kinds if len(kinds) == 1 and not part.families else categories_of(record)
                questions, unasked = [], []
                for category in asked:
                    prompt = ask(record, category, settings, shots)
                    truth = only(record, category)
                    count = sum(not one.iscrowd for one in truth.instances)
                    if prompt is None:
                        unasked.append(f"{record.source}: {category.name}, without an example in training")
                        continue
                    questions.append(Question((prompt,), truth, None, part.row, matched=count))
                if questions or unasked:
                    # Sets that appear in several rows may show a picture twice.
                    yield Task(f"{part.row}:{key_of(record)}", record, place, tuple(questions), tuple(unasked))

    return tasks


def _chosen(parts: Sequence[Part], data: Data) -> list[Part]:
    return [part for part in parts if not data.only or part.set in data.only]


def scores_of(parts: Sequence[Part]) -> Callable[[Data, Settings], Scores]:
    """Scores with the metrics that the rows want."""
    by_row = {part.row: part for part in parts}

    def scores(data: Data, settings: Settings) -> Scores:
        need_precision()

        def metrics(key: tuple[str, str]) -> Mapping[str, Metric]:
            wanted = by_row[key[0]].measures
            return {name: make() for name, make in FACTORIES.items() if any(_belongs(one, name) for one in wanted)}

        return Scores(metrics=metrics)

    return scores


def need_precision() -> None:
    """Say before the first picture, not after the last one, that average precision cannot be computed here.

    Raises:
        MissingExtraError: its package is not installed.
    """
    if find_spec("faster_coco_eval") is None:
        raise missing_extra("Average precision", "faster-coco-eval", "eval")


def _belongs(measure: str, factory: str) -> bool:
    if measure.startswith("box "):
        return factory == "box AP"
    if measure in OKS:
        return factory == "AP"
    return measure.split("@")[0] == factory


def conclude_of(parts: Sequence[Part], title: str, keys: Sequence[str]) -> Callable[[Scores, Data, Settings], Findings]:
    """Tables of the rows, each beside the papers' numbers."""

    def conclude(scores: Scores, data: Data, settings: Settings) -> Findings:
        values: dict[str, float] = {}
        columns = list(dict.fromkeys(name for part in parts for name in part.measures))
        rows: list[tuple[Cell, ...]] = []
        for part in _chosen(parts, data):
            numbers = numbers_of(scores, part)
            values |= {f"{name}/{part.row}": value for name, value in numbers.items()}
            values.setdefault("headline", numbers.get(part.measures[0], math.nan))
            shown = [shown_as(name, numbers.get(name)) if name in part.measures else None for name in columns]
            pictures = scores.pictures.get((part.row, ""), 0)
            rows.append((part.row, ", ".join(part.splits), pictures, len(scores.of(part.row)), *shown))
        notes = [f"{part.row}: {part.note}" for part in parts if part.note]
        missing = [part.row for part in _chosen(parts, data) if (part.row, "") not in scores.pictures]
        if missing:
            notes.append(f"No evaluated picture of these is under the given folders: {', '.join(missing)}.")
        tables = [Table(title, ("set", "split", "questions", "objects", *columns), tuple(rows), tuple(notes))]
        tables += [_by_style(scores, part) for part in parts if part.by_style and part.row in scores.groups()]
        tables += published(keys)
        return Findings(values, tuple(tables))

    return conclude


def numbers_of(scores: Scores, part: Part, variant: str = "") -> dict[str, float]:
    """The numbers of a row: those of its metrics, and PCK at its thresholds."""
    numbers: dict[str, float] = {}
    for metric in scores.metrics.get((part.row, variant), {}).values():
        numbers |= {name: value for name, value in metric.compute().items() if name in part.measures}
    objects = scores.of(part.row, variant)
    for name in part.measures:
        if name.startswith("PCK@"):
            numbers[name] = pck(objects, float(name.removeprefix("PCK@")))
    return numbers


def shown_as(name: str, value: float | None) -> float | None:
    """Shares as percentages, distances as they are."""
    return percent(value) if name.startswith(_SHARES) else value


def _by_style(scores: Scores, part: Part) -> Table:
    styles: dict[str, list] = {}
    for one in scores.of(part.row):
        styles.setdefault(one.style or "not stated", []).append(one)
    rows = tuple((style, len(own), percent(pck(own, 0.2))) for style, own in sorted(styles.items()))
    return Table(f"{part.row}, by style of picture", ("style", "objects", "PCK@0.2"), rows)


def protocol_of(
    name: str, title: str, source: str, parts: Sequence[Part], *, published_keys: Sequence[str] = (), prompts: str = ""
) -> Protocol:
    """A protocol that measures some sets."""
    return Protocol(
        name=name,
        title=title,
        source=source,
        data="; ".join(f"{part.row} ({', '.join(part.splits)})" for part in parts),
        boxes="found, not given; for numbers on points the answer whose box has the highest IoU with the labelled box, "
        "of as many answers as there are objects; for average precision all answers",
        prompts=prompts
        or "the category's name and its set's keypoint names; sets with several categories only for those present",
        pck="longer side of the labelled box; labelled points, hidden ones too",
        metrics=tuple(dict.fromkeys(measure for part in parts for measure in part.measures)),
        headline="headline",
        tasks=tasks_of(parts),
        scores=scores_of(parts),
        conclude=conclude_of(parts, title[:1].upper() + title[1:], published_keys),
        split=usual_split(parts),
        sets=tuple(dict.fromkeys(part.set for part in parts)),
        published=tuple(published_keys),
    )
