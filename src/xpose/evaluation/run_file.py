"""The file of one evaluation run: its settings, and the numbers of every object of every picture.

    {"format": "xpose-run-1", "protocol": "nano-real", "weights": "xpose-nano", "version": "0.1.0", "made": "2025-...",
     "settings": {"boxes": "best IoU", "prompts": "text", "flip": false, "seed": 0},
     "means": {"PCK@0.2": "sets"},
     "summary": {"PCK@0.2": 0.469, "PCK@0.2/set/lspet": 0.43},
     "pictures": [{"key": "lspet/images/1.jpg", "set": "lspet",
                   "objects": [{"id": "17", "category": "person", "points": 14, "values": {"PCK@0.2": 0.5}}]}]}

`means` defines how a number of the summary is computed from the objects ("points": weighted by their points; "objects":
with equal weight; "categories", "sets": the mean over these of the mean over their objects), so that `xpose compare`
can compute it again for resampled pictures. Other numbers, like AP, have no entry there. A number that could not be
measured is null. A picture with several questions (such as episodes) has several entries with different keys:
"a/1.jpg#3". Fields that are not named here are ignored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from xpose.errors import DataError, first_line, quote
from xpose.pictures.atomic import write_text

FORMAT = "xpose-run-1"
RUN = "run.json"  # its name in the folder of a run
MOST = 1e300  # larger numbers are treated as errors
MOST_BYTES = 4 << 30  # of a JSON file
MEANS = ("points", "objects", "categories", "sets")


@dataclass(frozen=True, slots=True)
class RunObject:
    """One labelled object: number by metric, NaN if it could not be measured."""

    id: str
    category: str
    points: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RunPicture:
    """One picture (or one question about it). Runs are compared picture by picture through `key`."""

    key: str
    set: str
    objects: tuple[RunObject, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRun:
    """The content of the file."""

    protocol: str
    settings: Mapping[str, Any]  # boxes, prompts, flips, seed, sets: all that a table states
    weights: str  # as the user named them
    summary: Mapping[str, float]  # the numbers of the whole run
    means: Mapping[str, str] = field(default_factory=dict)  # how the summary averages the objects' numbers
    pictures: tuple[RunPicture, ...] = ()
    version: str = ""  # of this package
    made: str = ""  # time in ISO 8601


def write_run(path: str | Path, run: EvaluationRun) -> None:
    """Write the file atomically."""
    content: dict[str, Any] = {"format": FORMAT, "protocol": run.protocol, "weights": run.weights}
    content |= {"version": run.version, "made": run.made, "settings": dict(run.settings), "means": dict(run.means)}
    content["summary"] = _plain(run.summary)
    content["pictures"] = [asdict(picture) for picture in run.pictures]
    for picture in content["pictures"]:
        for labelled in picture["objects"]:
            labelled["values"] = _plain(labelled["values"])
    write_text(Path(path), json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")


def read_run(path: str | Path) -> EvaluationRun:
    """Read a file of `write_run`, or run.json in a folder of `xpose eval`."""
    path = Path(path).expanduser()
    if path.is_dir():
        path = path / RUN
    content = read_json(path, "A run as xpose eval writes it")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(
            f'{quote(path)} is not a run: it lacks "format": "{FORMAT}". Give a results file that xpose eval wrote.'
        )
    try:
        means = {name: MEANS[MEANS.index(mean)] for name, mean in content["means"].items()}
        pictures = tuple(_picture(entry) for entry in content["pictures"])
        if len({picture.key for picture in pictures}) < len(pictures):
            raise ValueError("two pictures have the same key")
        texts = {name: str(content[name]) for name in ("protocol", "weights", "version", "made")}
        summary, settings = _numbers(content["summary"]), dict(content["settings"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        fault = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{quote(path)} was cut or edited ({fault}). Run xpose eval again.") from None
    return EvaluationRun(**texts, settings=settings, summary=summary, means=means, pictures=pictures)


def _picture(entry: dict[str, Any]) -> RunPicture:
    objects = tuple(
        RunObject(str(row["id"]), str(row["category"]), int(row["points"]), _numbers(row["values"]))
        for row in entry["objects"]
    )
    if any(labelled.points < 0 for labelled in objects):
        raise ValueError("an object has fewer than 0 points")
    return RunPicture(str(entry["key"]), str(entry["set"]), objects)


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    for name, value in values.items():
        if value is not None and (type(value) not in (int, float) or not abs(value) < MOST):
            raise ValueError(f"{quote(name)} is {quote(value)}, not a number or null")
    return {name: math.nan if value is None else float(value) for name, value in values.items()}


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: float(value) if math.isfinite(value) else None for name, value in values.items()}


def read_json(path: str | Path, kind: str) -> Any:
    """The content of a JSON file; `kind` says in errors what was expected."""
    path = Path(path).expanduser()
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"larger than {MOST_BYTES >> 30} GiB")
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"There is no file {quote(path)}. {kind} was expected. Check the path.") from None
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        fault = f"byte {error.start} is not UTF-8" if isinstance(error, UnicodeDecodeError) else first_line(error)
        raise DataError(f"{quote(path)} is not a JSON file ({fault}). {kind} was expected. Write it again.") from None
