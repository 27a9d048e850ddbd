"""Digests that tie an answer to its picture as it was: the file, the labels, and what was asked.

Every answer on disk carries the digest of its picture. A second call compares them before it goes on, so that answers
about other pictures or other labels under the same names are refused, whatever folder they come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpose.data.collection.store import dump
from xpose.errors import ConfigError, quote
from xpose.evaluation.questions import Asked, Task

if TYPE_CHECKING:
    from xpose.evaluation.answers import AnswerJournal

PARTS = ("other picture files", "other labels", "other examples or questions")
_TAIL = 4096  # bytes at a file's end: beside its size they tell compressed pictures apart without reading them whole
_LETTERS = 12  # of each checksum
_NAMED = 3  # pictures in a message


def digest_of(task: Task) -> str:
    """Checksums of a task's picture file, of its labels, and of its questions with their examples."""
    asked = [[question.group, question.variant, [_asked(one) for one in question.asked]] for question in task.questions]
    return "/".join((_file(task.place), _short(_labels(task.record.instances)), _short(asked)))


def refuse_other_data(journal: AnswerJournal, tasks: Iterable[Task], *, reported: bool = False) -> None:
    """Compare what a run's folder holds with what is asked now, before anything is answered or written.

    Args:
        journal: the answers.
        tasks: all that is asked now.
        reported: the folder holds a report, so that it must not shrink to one of fewer pictures.

    Raises:
        ConfigError: an answered picture is another one now, or with `reported` some are not asked any more.
    """
    changed: dict[str, list[str]] = {}  # keys of pictures by what differs
    kept = total = 0
    for task in tasks:
        total += 1
        if task.key in journal:
            kept += 1
            if what := difference(journal.digest(task.key), digest_of(task)):
                changed.setdefault(what, []).append(task.key)
    folder = quote(journal.folder.parent)
    if changed:
        differences = "; ".join(f"{what}: {_listed(keys)}" for what, keys in changed.items())
        raise ConfigError(
            f"{folder} holds answers about other data ({differences}). A run goes on only with the same pictures and "
            "labels. Give another folder with --out, or begin anew with --fresh."
        )
    if reported and kept < len(journal):
        raise ConfigError(
            f"{folder} holds a run of {len(journal)} pictures, not all of which are asked now (kept: {kept}, asked "
            f"now: {total}). A report is not replaced by one of fewer pictures. Give the same --data, "
            "--only and --limit (or a higher one), another folder with --out, or begin anew with --fresh."
        )


def difference(before: str, now: str) -> str:
    """What differs between two digests, in words; empty where nothing does."""
    if before == now:
        return ""
    pairs = zip(before.split("/"), now.split("/"), PARTS, strict=False)
    return next((what for one, other, what in pairs if one != other), PARTS[0])


def _listed(keys: list[str]) -> str:
    shown = ", ".join(map(quote, keys[:_NAMED]))
    return shown + (f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else "")


def _file(place: Path) -> str:
    """The size of a picture's file and its last bytes; a file that cannot be read has no checksum."""
    try:
        state = place.stat()
        return _content(place, state.st_size, state.st_mtime_ns)
    except OSError:
        return "unread"


@lru_cache(maxsize=4096)
def _content(place: Path, size: int, _changed: int) -> str:
    """The checksum, remembered for as long as the file stays as it is: examples belong to many questions."""
    with place.open("rb") as file:
        file.seek(max(0, size - _TAIL))
        return _short([size, file.read(_TAIL).hex()])


def _labels(instances: Iterable[Any]) -> list[Any]:
    return [
        [
            [one.category.name, one.category.skeleton, one.category.keypoints],
            [float(value) for value in one.box],
            {name: [float(x), float(y), int(v)] for name, (x, y, v) in one.keypoints.items() if v},
            bool(one.iscrowd),
            None if one.area is None else float(one.area),
        ]
        for one in instances
    ]


def _asked(one: Asked) -> list[Any]:
    examples = [[example.key, _file(example.place), _labels([example.instance])] for example in one.examples]
    return [one.called, one.label, one.style, dict(one.names), examples]


def _short(value: Any) -> str:
    return hashlib.sha256(dump(value).encode()).hexdigest()[:_LETTERS]
