"""What labelled pictures teach a calibration: which answers of the network are right, which points are visible.

Each picture is asked for the classes that it shows and, one at a time, for a few that it certainly lacks (as in
`negatives`), at threshold 0: beside a dog that is asked for as well no cat is seen in it, alone it easily is. Every
answer is then right or wrong (`matching.judge`), every point of a matched pose visible or absent.

Letters: n answers, m points.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xpose.errors import DataError
from xpose.evaluation.data import Data, Placed
from xpose.evaluation.matching import HIT, IGNORED, judge, plain_name
from xpose.evaluation.metrics.confidence import confidences_and_labels
from xpose.evaluation.protocols.making_questions import known_categories, limited, tasks_of
from xpose.evaluation.protocols.negatives import absent_classes
from xpose.evaluation.questions import Asked, Question, Task, key_of, with_instances
from xpose.evaluation.settings import Settings
from xpose.model.checkpoints.calibration import Calibration
from xpose.records import HIDDEN, VISIBLE, Category, Record
from xpose.results import Poses

if TYPE_CHECKING:
    from xpose.inference import Detector


@dataclass(frozen=True, slots=True)
class CalibrationSample:
    """What one picture teaches; scores are those of the network as it is, without any temperature.

    Attributes:
        key: of the picture.
        labelled: objects by class, for every class that was asked: 0 for absent ones.
        classes: n names.
        scores: [n].
        right: [n] bool.
        confidences: [m] of points in matched poses whose label is visible or absent.
        visible: [m] bool.
    """

    key: str
    labelled: Mapping[str, int]
    classes: tuple[str, ...]
    scores: np.ndarray
    right: np.ndarray
    confidences: np.ndarray
    visible: np.ndarray


def collect(
    detector: Detector,
    data: Data,
    *,
    absent: int = 3,
    rivals: Sequence[str] = (),
    limit: int | None = None,
    seed: int = 0,
    batch: int = 1,
    progress: Callable[[int], None] | None = None,
    fault: Callable[[str, str], None] | None = None,
) -> list[CalibrationSample]:
    """Ask the network about every picture, without the thresholds and temperatures that it has.

    Args:
        detector: the network.
        data: labelled pictures.
        absent: how many classes that a picture lacks are asked beside those it holds.
        rivals: classes that stand beside all prompts.
        limit: pictures per set at most.
        seed: decides which absent classes are asked.
        batch: pictures that go through the network together.
        progress: called with how many pictures are done.
        fault: called with the key of every picture that is skipped, and why.

    Raises:
        DataError: no picture could be asked.
    """
    from xpose.evaluation.answers import PictureFault
    from xpose.evaluation.runner import answered
    from xpose.evaluation.sources import DetectorSource

    before = detector.calibration
    plain = Calibration({"": 0.0}, nms=before.nms, nms_oks=before.nms_oks, rivals=tuple(rivals))
    detector = detector.calibrated(plain)
    detector.prompts.objects(plain.rivals)  # faults of theirs show before any picture is asked
    samples = []
    asked = Settings(threshold="weights")  # which are 0 now, and the rivals
    tasks = list(_tasks(limited(data.records(), limit), absent, seed))
    for done, (task, answers) in enumerate(answered(tasks, DetectorSource(detector, batch), asked), start=1):
        if isinstance(answers, PictureFault):
            if fault:
                fault(answers.key, answers.message)
        else:
            samples.append(joined([sample(task.key, *one) for one in zip(task.questions, answers, strict=True)]))
        if progress:
            progress(done)
    for key, why in data.skipped.items():
        if fault:
            fault(key, why)
    if not samples:
        raise DataError(
            f'No picture could be asked in "{data.split}" of {", ".join(map(str, data.places))}. Calibration needs '
            "labelled pictures that the network has not been trained on. Check the folder and the split."
        )
    return samples


def _tasks(records: Iterable[Placed], absent: int, seed: int) -> Iterator[Task]:
    listed = list(records)
    known = known_categories(listed)
    return tasks_of(listed, lambda record: _questions(record, absent_classes(record, known), absent, seed))


def _questions(record: Record, lacking: Sequence[Category], absent: int, seed: int) -> tuple[Question, ...]:
    """All classes of a picture at once, then some that it lacks, each alone; names stand once."""
    present = {plain_name(one.category.name): one.category for one in record.instances}
    others = {plain_name(one.name): one for one in lacking if plain_name(one.name) not in present}
    drawn = sorted(others)
    # By the picture's name, so that the same classes are asked whatever else is in the folder's order.
    random.Random(hashlib.sha256(f"{seed}/{key_of(record)}".encode()).digest()).shuffle(drawn)
    absences = [others[name] for name in drawn[:absent]]
    # In the truth of an absent class there is nothing, so that every answer is wrong.
    nothing = with_instances(record, ())
    alone = (Question((Asked.of(one),), nothing, None, record.source) for one in absences)
    together = Question(tuple(Asked.of(one) for one in present.values()), record, None, record.source)
    return (*([together] if present else []), *alone)


def sample(key: str, question: Question, found: Poses) -> CalibrationSample:
    """What the answer to a question teaches."""
    truth = question.truth
    verdicts, _ = judge(truth, found)
    keep = verdicts != IGNORED
    labelled = {one.called: 0 for one in question.asked}
    names = {plain_name(one.category.name): one.called for one in question.asked}
    for instance in truth.instances:
        labelled[names[plain_name(instance.category.name)]] += not instance.iscrowd
    confidences, labels = confidences_and_labels(truth, found, "best box")
    clear = labels != HIDDEN
    return CalibrationSample(
        key,
        labelled,
        tuple(name for name, kept in zip(found.categories, keep, strict=True) if kept),
        found.scores[keep].astype(np.float64),
        verdicts[keep] == HIT,
        confidences[clear],
        labels[clear] == VISIBLE,
    )


def joined(samples: Sequence[CalibrationSample]) -> CalibrationSample:
    """What several questions about one picture teach together."""
    return CalibrationSample(
        samples[0].key,
        {name: count for one in samples for name, count in one.labelled.items()},
        tuple(name for one in samples for name in one.classes),
        stacked(samples, "scores"),
        stacked(samples, "right", bool),
        stacked(samples, "confidences"),
        stacked(samples, "visible", bool),
    )


def stacked(samples: Iterable[CalibrationSample], what: str, kind: type = float) -> np.ndarray:
    """One of the arrays of all samples."""
    return np.concatenate([np.zeros(0, dtype=kind), *(getattr(one, what) for one in samples)])
