"""Answers on disk, one line per picture as soon as it is answered, so that an interrupted run goes on where it stopped.

`OUT/answers/` holds one file per process. The first line of each says what was asked of whom; a second call with other
weights or settings is refused instead of mixed in. Each further line carries the digest of its picture
(`xpose.evaluation.digests`), which tells whether the data has changed. A line that was cut short by a crash is left
out, and its picture asked again; so are pictures that could not be read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from xpose.errors import ConfigError, quote
from xpose.results import Poses

if TYPE_CHECKING:
    from xpose.evaluation.data import Data
    from xpose.evaluation.protocols import Protocol
    from xpose.evaluation.questions import Task
    from xpose.evaluation.settings import Settings

FORMAT = "xpose-answers-2"
FOLDER = "answers"
IN_WORDS = {"source": "weights (or another system's results)", "protocol": "protocol", "split": "split"}

Answers = tuple[Poses, ...]


@dataclass(frozen=True)
class PictureFault:
    """A picture that could not be asked, and why."""

    key: str
    message: str


class AnswerJournal:
    """The answers of one run. Reads those of all processes, writes to the file of its own.

    Args:
        folder: of the run.
        identity: everything that decides the answers.
        part: the number of the process that writes.

    Raises:
        ConfigError: the folder holds answers of another run.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any], part: int = 0) -> None:
        self.folder = Path(folder) / FOLDER
        self.identity = json.loads(json.dumps(identity, sort_keys=True))
        self.path = self.folder / f"{part:03}.jsonl"
        self._known: dict[str, tuple[Path, int, str]] = {}  # file, where the line starts, digest
        self._file: IO[bytes] | None = None
        self._readers: dict[Path, IO[bytes]] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            self._index(path)

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __len__(self) -> int:
        return len(self._known)

    def _index(self, path: Path) -> None:
        """Remember where each answer of a file starts; our own file is cut where it ends in the middle of a line."""
        whole = 0
        with open(path, "rb") as file:
            for number, line in enumerate(file):
                if not line.endswith(b"\n"):
                    break
                if number == 0:
                    self._check(path, line)
                else:
                    try:
                        content = json.loads(line)
                        self._known[content["key"]] = (path, whole, str(content["of"]))
                    except (ValueError, KeyError, TypeError):
                        break
                whole += len(line)
        if path == self.path and whole < path.stat().st_size:
            with open(path, "r+b") as file:
                file.truncate(whole)

    def _check(self, path: Path, line: bytes) -> None:
        try:
            head = json.loads(line)
            stored = head["run"] if head["format"] == FORMAT else None
        except (ValueError, KeyError, TypeError):
            stored = None
        if stored == self.identity:
            return
        what = "of another version of xpose, or damaged"
        if isinstance(stored, dict):
            what = f"of another run: {'; '.join(_differences(stored, self.identity))}"
        raise ConfigError(
            f"{quote(path)} holds answers {what}. A run goes on only with "
            "the same weights, data and settings. Give another folder with --out, or begin anew with --fresh."
        )

    def digest(self, key: str) -> str:
        """The digest of a picture that is known, as it was when it was answered."""
        return self._known[key][2]

    def get(self, key: str) -> Answers:
        """The answers of a picture that is known."""
        path, start, _ = self._known[key]
        if path not in self._readers:
            self._readers[path] = open(path, "rb")  # noqa: SIM115 (closed in `close`)
        file = self._readers[path]
        file.seek(start)
        return tuple(map(_decoded, json.loads(file.readline())["answers"]))

    def put(self, key: str, answers: Answers, digest: str = "") -> None:
        """Write the answers of a picture, at once, with the digest of the picture that they belong to."""
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            fresh = not self.path.exists() or self.path.stat().st_size == 0
            self._file = open(self.path, "ab")  # noqa: SIM115 (closed in `close`)
            if fresh:
                self._write({"format": FORMAT, "run": self.identity})
        start = self._file.tell()
        self._write({"key": key, "of": digest, "answers": [_encoded(one) for one in answers]})
        self._known[key] = (self.path, start, digest)

    def _write(self, value: Any) -> None:
        assert self._file is not None
        self._file.write(json.dumps(value, separators=(",", ":"), allow_nan=False).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Let go of the files."""
        for file in self._readers.values():
            file.close()
        self._readers.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> AnswerJournal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def answered_tasks(
    protocol: Protocol, data: Data, settings: Settings, journal: AnswerJournal
) -> Iterator[tuple[Task, tuple[Poses, ...]]]:
    """Every picture of the run with its answers, from the disk."""
    for task in protocol.tasks(data, settings):
        if task.key in journal:
            yield task, journal.get(task.key)


def _differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """In words how a run's folder differs from what is asked now; settings one by one."""
    differences = []
    for name, value in sorted(asked.items(), key=lambda entry: isinstance(entry[1], dict)):
        before = stored.get(name)
        if before == value:
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            differences += [
                f"{inner} is {json.dumps(before.get(inner))} there and {json.dumps(value.get(inner))} now"
                for inner in sorted({*before, *value})
                if before.get(inner) != value.get(inner)
            ]
        elif name == "source":
            differences.append(f"other {IN_WORDS[name]}")
        else:
            differences.append(
                f"other {IN_WORDS.get(name, name)} ({json.dumps(before)} there, {json.dumps(value)} now)"
            )
    return differences


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
