"""A COCO results file of any program as a source of answers."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xpose.errors import ConfigError, DataError, quote
from xpose.evaluation.answers import Answers
from xpose.evaluation.coco_truth import CocoTruth, annotation_file, read_truth, unified_name
from xpose.evaluation.data import Data
from xpose.evaluation.matching import columns_of, same_category
from xpose.evaluation.questions import Question, Task
from xpose.evaluation.results import ResultsFile, read_results
from xpose.evaluation.settings import Settings
from xpose.model.checkpoints.calibration import DEFAULT_THRESHOLD
from xpose.results import Poses


class ResultsSource:
    """Answers from files: one for each set, each read when its first picture comes.

    Coordinates of results files are those of the annotation file, so nothing is moved.
    """

    batch = 16

    def __init__(self, path: Path, labels: Path | None, places: Sequence[str], split: str) -> None:
        if not path.exists():
            raise DataError(f"There is no file {quote(path)}. --results is a COCO results file. Check the path.")
        self.path, self.labels, self.split = path, labels, split
        self.data = Data.at(places, split)
        self.name = str(path)
        self._sets: dict[tuple[str, str], tuple[CocoTruth, ResultsFile]] = {}

    @property
    def identity(self) -> str:
        """The sha256 of the files."""
        state = hashlib.sha256()
        for path in sorted(self.path.glob("*.json")) if self.path.is_dir() else [self.path]:
            state.update(path.name.encode() + path.read_bytes())
        return state.hexdigest()

    def answer(self, tasks: Sequence[Task], pixels: Sequence[np.ndarray], settings: Settings) -> list[Answers]:
        """For each task what the file says about its picture; examples, flips and input sizes are the file's own."""
        return [tuple(self._one(task, question, settings) for question in task.questions) for task in tasks]

    def _one(self, task: Task, question: Question, settings: Settings) -> Poses:
        truth, results = self._of(task)
        picture = task.record.picture
        found = results.poses(truth.id_of(task.record), (picture.height, picture.width))
        rows, categories = [], []
        for row, name in enumerate(found.categories):
            called = unified_name(name)
            fits = [one for one in question.asked if same_category(one.category.name, called)]
            if fits:
                # Of several categories of one name the one that shares most keypoints.
                best = max(fits, key=lambda one: int((_columns(one.category.keypoints, found, row) >= 0).sum()))
                rows.append(row)
                categories.append(best.category.name)
        kept = dataclasses.replace(found[rows], categories=tuple(categories))
        if settings.threshold == "weights":  # a file has none of its own
            kept = kept.filter(threshold=DEFAULT_THRESHOLD)
        elif settings.threshold > 0:  # at 0 all count, since scores of other programs may be below it
            kept = kept.filter(threshold=settings.threshold)
        return kept[: question.most]

    def _of(self, task: Task) -> tuple[CocoTruth, ResultsFile]:
        key = (task.record.source, task.record.split)
        if key not in self._sets:
            path = self.path / f"{key[0]}.json" if self.path.is_dir() else self.path
            if self._sets and not self.path.is_dir():
                raise ConfigError(
                    f"{quote(self.path)} is one file, but the data holds several sets. Name its set with --only, or "
                    "give a folder with SET.json for each set."
                )
            labels = self.labels or annotation_file(self.data, *key)
            if labels is None:
                raise ConfigError(
                    f"The annotation file of {quote(key[0])} is not in the given folders. Results files speak of its "
                    "ids. Give it with --labels."
                )
            truth = read_truth(labels)
            self._sets[key] = truth, read_results(path, truth)
        return self._sets[key]


def _columns(names: tuple[str, ...], found: Poses, row: int) -> np.ndarray:
    return columns_of(names, found.keypoint_names[row], found.canonical_names[row])


def open_results(path: str, labels: str | None, places: Sequence[str], split: str) -> ResultsSource:
    """A results file (or a folder of them) as a source.

    Raises:
        DataError: there is no such file.
    """
    return ResultsSource(Path(path).expanduser(), None if labels is None else Path(labels).expanduser(), places, split)
