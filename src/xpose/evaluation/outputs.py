"""The files of a run: `run.json` for `xpose compare`, `tables.md` for people, COCO results for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xpose.evaluation.answers import AnswerJournal, answered_tasks
from xpose.evaluation.coco_truth import CocoTruth, annotation_file, read_truth
from xpose.evaluation.data import Data
from xpose.evaluation.protocols import Protocol
from xpose.evaluation.report import write_report
from xpose.evaluation.results import write_results
from xpose.evaluation.run_file import RUN, write_run
from xpose.evaluation.settings import Settings
from xpose.pictures.atomic import write_text
from xpose.results import Poses

if TYPE_CHECKING:
    from xpose.evaluation.runner import Evaluation

TABLES, REPORT, COCO = "tables.md", "report.html", "coco"


def write_outputs(
    folder: Path, result: Evaluation, protocol: Protocol, data: Data, settings: Settings, journal: AnswerJournal
) -> list[Path]:
    """Write everything; the files in the order in which a reader would open them.

    Raises:
        XPoseError: the folder cannot be written to.
    """
    write_run(folder / RUN, result)
    write_text(folder / TABLES, markdown(result))
    write_report(folder / REPORT, result, protocol, data, settings, journal)
    written = [folder / REPORT, folder / TABLES, folder / RUN]
    return written + write_coco(folder / COCO, protocol, data, settings, journal)


def markdown(result: Evaluation) -> str:
    """All tables, under everything that has to be said about them."""
    lines = [f"# {result.statement['protocol']}", "", f"- weights: {result.weights}"]
    lines += [f"- {name}: {value}" for name, value in result.statement.items() if name != "protocol"]
    lines += [f"- xpose {result.version}, {result.made}", ""]
    lines += [table.markdown() for table in result.tables]
    if result.faults:
        lines += ["### Pictures that were skipped", ""]
        lines += [f"- {fault.key}: {fault.message}" for fault in result.faults]
    return "\n".join(lines) + "\n"


def write_coco(folder: Path, protocol: Protocol, data: Data, settings: Settings, journal: AnswerJournal) -> list[Path]:
    """COCO results of every set whose annotation file lies in the given folders, poses and boxes in two files.

    Only questions in the usual words count, not their variants (typos, other prompts): a file holds one answer.
    """
    truths: dict[tuple[str, str], CocoTruth | None] = {}
    poses: dict[tuple[str, str], list[tuple[int, Poses]]] = {}
    for task, answers in answered_tasks(protocol, data, settings, journal):
        key = (task.record.source, task.record.split)
        if key not in truths:
            labels = annotation_file(data, *key)
            truths[key] = None if labels is None else read_truth(labels)
        truth = truths[key]
        if truth is not None and not any(question.trim for question in task.questions):
            plain = [answer for question, answer in zip(task.questions, answers, strict=True) if not question.variant]
            if plain:
                image_id = truth.id_of(task.record)
                poses.setdefault(key, []).extend((image_id, answer) for answer in plain)
    written = []
    for (source, split), answers_of_set in poses.items():
        truth = truths[source, split]
        assert truth is not None
        for kind in ("keypoints", "boxes"):
            written.append(folder / f"{source}.{split}.{kind}.json")
            write_results(written[-1], answers_of_set, truth.unified_categories, kind)
    return written
