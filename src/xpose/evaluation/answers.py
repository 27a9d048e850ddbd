"""Answers on disk: one line per picture, written immediately, so that an interrupted run can be resumed.

The first line of `OUT/answers/000.jsonl` identifies the run; a later call with other weights or settings is refused.
Each further line has the digest of its picture (file, labels, questions), so that answers about other data under the
same names are refused, too. A line that a crash cut short is ignored. Its picture is processed again, as are pictures
that could not be read.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from xpose.data.collection.store import dump
from xpose.errors import ConfigError, quote
from xpose.evaluation.questions import AskedClass, Task
from xpose.records import Instance
from xpose.results import Poses

FORMAT = "xpose-answers-2"
FOLDER = "answers"
DIGEST_PARTS = ("other picture files", "other labels", "other examples or questions")
OTHER_FOLDER = "Give another folder with --out, or start again with --fresh."
_TAIL = 4096  # bytes at a file's end; together with the size they distinguish compressed pictures

Answers = tuple[Poses, ...]


@dataclass(frozen=True)
class PictureFault:
    """A picture that failed, and the reason."""

    key: str
    message: str


class AnswerJournal(AbstractContextManager["AnswerJournal"]):
    """The answers of one run.

    Raises:
        ConfigError: the folder holds answers of a run with another `identity` (all that affects the answers).
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any]) -> None:
        self.path = Path(folder) / FOLDER / "000.jsonl"
        self.identity = json.loads(json.dumps(identity, sort_keys=True))
        self._lines: dict[str, tuple[int, str]] = {}  # by key: start of the line, digest
        self._file: IO[bytes] | None = None
        if self.path.exists():
            self._index()

    def __contains__(self, key: str) -> bool:
        return key in self._lines

    def __len__(self) -> int:
        return len(self._lines)

    def _index(self) -> None:
        """Remember where each answer starts, and remove a last line that was cut short."""
        whole = 0
        with open(self.path, "r+b") as file:
            for number, line in enumerate(file):
                if not line.endswith(b"\n"):
                    break
                if number == 0:
                    self._check(line)
                else:
                    try:
                        content = json.loads(line)
                        self._lines[content["key"]] = (whole, str(content["of"]))
                    except (ValueError, KeyError, TypeError):
                        break
                whole += len(line)
            file.truncate(whole)

    def _check(self, line: bytes) -> None:
        what = "of another version of xpose, or damaged"
        try:
            head = json.loads(line)
            if head["format"] == FORMAT:
                if head["run"] == self.identity:
                    return
                what = f"of another run: {'; '.join(_differences(head['run'], self.identity))}"
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        raise ConfigError(
            f"{quote(self.path)} holds answers {what}. A run can only be resumed with the same weights, data and "
            f"settings. {OTHER_FOLDER}"
        )

    def digest(self, key: str) -> str:
        """The stored digest of an answered picture."""
        return self._lines[key][1]

    def get(self, key: str) -> Answers:
        """The answers about a picture."""
        file = self._opened()
        file.seek(self._lines[key][0])
        return tuple(map(_decoded, json.loads(file.readline())["answers"]))

    def put(self, key: str, answers: Answers, digest: str = "") -> None:
        """Write a picture's answers immediately, with its digest."""
        start = self._opened().seek(0, 2)
        if not start:
            start = self._write({"format": FORMAT, "run": self.identity})
        self._write({"key": key, "of": digest, "answers": [_encoded(poses) for poses in answers]})
        self._lines[key] = (start, digest)

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "a+b")  # noqa: SIM115 (closed in `__exit__`)
        return self._file

    def _write(self, value: Any) -> int:
        """Append a line, and return where it ends."""
        file = self._opened()
        file.write(json.dumps(value, separators=(",", ":"), allow_nan=False).encode() + b"\n")
        file.flush()
        return file.tell()

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Describe the differences between two identities by setting."""
    differences = []
    for name, value in asked.items():
        before = stored.get(name)
        if name == "source" and before != value:
            differences.append("other weights (or another system's results)")
        elif name != "settings" and before != value:
            differences.append(f"other {name} ({json.dumps(before)} there, {json.dumps(value)} now)")
    then, now = stored.get("settings", {}), asked.get("settings", {})
    return differences + [
        f"{name} is {json.dumps(then.get(name))} there and {json.dumps(now.get(name))} now"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]


def _encoded(poses: Poses) -> dict[str, Any]:
    kinds: dict[tuple[Any, ...], int] = {}
    rows = []
    for row, pose in enumerate(poses):
        kind = kinds.setdefault((pose.category, pose.names, pose.edges), len(kinds))
        points = zip(pose.xy.tolist(), pose.keypoint_scores.tolist(), pose.visibility.tolist(), strict=True)
        flat = [value for (x, y), score, v in points for value in (_tidy(x, 3), _tidy(y, 3), _tidy(score, 5), v)]
        box = [_tidy(value, 3) for value in poses.boxes[row].tolist()]
        rows.append([kind, float(f"{pose.score:.7g}"), box, flat])
    encoded = {"size": list(poses.image_size), "kinds": [list(kind) for kind in kinds], "rows": rows}
    if poses.keypoint_errors is not None:
        encoded["errors"] = [[_tidy(value, 3) for value in errors] for errors in poses.keypoint_errors.tolist()]
    return encoded


def _decoded(value: Mapping[str, Any]) -> Poses:
    kinds = [(category, tuple(names), tuple((a, b) for a, b in edges)) for category, names, edges in value["kinds"]]
    rows = value["rows"]
    widest = max((len(kinds[kind][1]) for kind, *_ in rows), default=0)
    points = np.full((len(rows), widest, 4), np.nan)
    points[..., 3] = 0
    for row, (kind, _, _, flat) in enumerate(rows):
        points[row, : len(kinds[kind][1])] = np.array(flat, dtype=np.float64).reshape(-1, 4)  # null becomes NaN
    errors = value.get("errors")
    return Poses(
        boxes=np.array([box for _, _, box, _ in rows], dtype=np.float64).reshape(-1, 4),
        scores=np.array([score for _, score, _, _ in rows], dtype=np.float64),
        categories=tuple(kinds[kind][0] for kind, *_ in rows),
        xy=points[..., :2],
        keypoint_scores=points[..., 2],
        visibility=points[..., 3],
        keypoint_errors=None if errors is None else np.array(errors, dtype=np.float64).reshape(len(rows), -1),
        keypoint_names=tuple(kinds[kind][1] for kind, *_ in rows),
        edges=tuple(kinds[kind][2] for kind, *_ in rows),
        image_size=(value["size"][0], value["size"][1]),
    )


def _tidy(value: float, decimals: int) -> float | None:
    return round(value, decimals) if math.isfinite(value) else None


def digest_of(task: Task) -> str:
    """Checksums of a task's picture file, of its labels, and of its questions with their examples."""
    asked = [[question.group, question.variant, list(map(_asked, question.asked))] for question in task.questions]
    return "/".join((_file(task.place), _short(_labels(task.record.instances)), _short(asked)))


def refuse_other_data(journal: AnswerJournal, tasks: Iterable[Task], *, reported: bool = False) -> None:
    """Compare a run's stored answers with the current tasks, before anything is answered or written.

    Raises:
        ConfigError: an answered picture has changed, or it is no longer included although the run was `reported`.
    """
    changed: dict[str, list[str]] = {}  # keys of pictures by what differs
    answered = total = 0
    for task in tasks:
        total += 1
        if task.key in journal:
            answered += 1
            if what := difference(journal.digest(task.key), digest_of(task)):
                changed.setdefault(what, []).append(task.key)
    folder = quote(journal.path.parents[1])
    if changed:
        raise ConfigError(
            f"{folder} holds answers about other data "
            f"({'; '.join(f'{what}: {_listed(keys)}' for what, keys in changed.items())}). A run can only be resumed "
            f"with the same pictures and labels. {OTHER_FOLDER}"
        )
    if reported and answered < len(journal):
        raise ConfigError(
            f"{folder} holds a run of {len(journal)} pictures, not all of which are asked now (kept: {answered}, asked "
            f"now: {total}). A report is not replaced by one of fewer pictures. Give the same --data, --only and "
            f"--limit (or a higher one). {OTHER_FOLDER}"
        )


def difference(before: str, now: str) -> str:
    """What differs between two digests, in words; empty if they are equal."""
    parts = zip(before.split("/"), now.split("/"), DIGEST_PARTS, strict=False)
    return "" if before == now else next((what for a, b, what in parts if a != b), DIGEST_PARTS[0])


def _listed(keys: list[str]) -> str:
    return ", ".join(map(quote, keys[:3])) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def _file(place: Path) -> str:
    """The checksum of a picture's size and its last bytes; a file that cannot be read has none."""
    try:
        state = place.stat()
        return _content(place, state.st_size, state.st_mtime_ns)
    except OSError:
        return "unread"


@lru_cache(maxsize=4096)  # examples belong to many questions
def _content(place: Path, size: int, _changed: int) -> str:
    with place.open("rb") as file:
        file.seek(max(0, size - _TAIL))
        return _short([size, file.read(_TAIL).hex()])


def _labels(instances: Iterable[Instance]) -> list[Any]:
    return [
        [
            [instance.category.name, instance.category.skeleton, instance.category.keypoints],
            [float(value) for value in instance.box],
            {name: [float(x), float(y), int(v)] for name, (x, y, v) in instance.keypoints.items() if v},
            bool(instance.iscrowd),
            None if instance.area is None else float(instance.area),
        ]
        for instance in instances
    ]


def _asked(asked: AskedClass) -> list[Any]:
    examples = [[example.key, _file(example.place), _labels([example.instance])] for example in asked.examples]
    return [asked.called, asked.label, None, dict(asked.names), examples]  # runs on disk contain the empty entry


def _short(value: Any) -> str:
    return hashlib.sha256(dump(value).encode()).hexdigest()[:12]
