"""The papers' ablations on AP-10K: the weights of one recipe per run, by words and by examples, beside their rows.

The rows differ in how weights were trained, so the table needs one run per recipe: train with the switch named in the
published row (recipes/ablations), run this protocol, and compare the runs with `xpose compare`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from xpose.evaluation.data import EvaluationData
from xpose.evaluation.metrics.average_precision import OksAP
from xpose.evaluation.protocols.base import Findings, Protocol
from xpose.evaluation.protocols.making_questions import ask, find_examples, limited, present, tasks_of
from xpose.evaluation.protocols.published_sets import need_precision
from xpose.evaluation.questions import Question, Task
from xpose.evaluation.scores import Scores, pck
from xpose.evaluation.settings import PromptKind, Settings
from xpose.evaluation.tables import Cell, Table, percent
from xpose.records import Record

SET, SPLIT = "ap10k", "val"
KINDS: tuple[PromptKind, ...] = ("text", "visual")
PRECISION = ("AP", "AP50", "AP75")


def _tasks(data: EvaluationData, settings: Settings) -> Iterator[Task]:
    by_kind = {kind: replace(settings, prompts=kind) for kind in KINDS}
    shots = find_examples(data, by_kind["visual"])

    def questions(record: Record) -> Iterator[Question | str]:
        for category, truth, count in present(record):
            for kind, kind_settings in by_kind.items():
                asked = ask(record, category, kind_settings, shots)
                if asked is None:
                    yield f"{category.name} by examples: the training split shows none"
                else:
                    yield Question((asked,), truth, None, SET, kind, matched=count)

    return tasks_of(limited(data.of_set(SET, data.split), settings.limit), questions)


def _scores(data: EvaluationData, settings: Settings) -> Scores:
    need_precision()
    return Scores(metrics=lambda key: {"AP": OksAP()})


def _conclude(scores: Scores, data: EvaluationData, settings: Settings) -> Findings:
    values: dict[str, float] = {}
    rows: list[tuple[Cell, ...]] = []
    for kind in KINDS:
        numbers = scores.numbers(SET, kind)
        values |= {f"{name}/{kind}": numbers.get(name, math.nan) for name in PRECISION}
        values[f"PCK@0.2/{kind}"] = pck(scores.of(SET, kind), 0.2)
        shown = [percent(values[f"{name}/{kind}"]) for name in (*PRECISION, "PCK@0.2")]
        rows.append((kind, len(scores.of(SET, kind)), *shown))
    columns = ("tested with", "objects", *PRECISION, "PCK@0.2")
    return Findings(values, (Table("These weights on AP-10K", columns, tuple(rows)),))


PROTOCOL = Protocol(
    name="ablations",
    title="the ablation tables on AP-10K: one run per recipe, by words and by examples",
    source="ECCV paper, ablations",
    data="ap10k (val of split 1), weights trained on four sets by the recipe of a published row",
    boxes="found, not given; for PCK the answer whose box fits the labelled box best",
    prompts="the category's name and keypoint names; one object of the training split; only categories present",
    pck="longer side of the labelled box; labelled points, 0.2",
    metrics=("OKS-AP", "AP50", "AP75", "PCK@0.2"),
    headline="AP/text",
    split=SPLIT,
    sets=(SET,),
    tasks=_tasks,
    scores=_scores,
    conclude=_conclude,
    published=("ablations",),
)
