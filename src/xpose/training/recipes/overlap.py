"""Training pictures that are also test pictures, or look like one, and therefore must not be learned from.

Collected sets repeat themselves: neighbouring frames of a video, one photograph in two sets. A score on a picture that
was learned by heart says nothing. The fingerprints are those of `xpose data collect`; they are worked out once a run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path
from typing import NamedTuple

from xpose.data.collection.leaks import Prints, Side, find_leaks, print_content
from xpose.data.datasets.folder_sets import PHOTOGRAPH
from xpose.data.loading.pool import content_of, read_places
from xpose.errors import DataError, SplitError, XPoseError
from xpose.pictures.atomic import write_atomically

APART_FILE = "apart.json"
_AT_ONCE = 256  # pictures in memory


def look_alikes(places: Iterable[str], split: str, tested: str, kept: Path | None = None) -> dict[str, str]:
    """The pictures of a split that equal one of another split, mirrored or not, with that other one: "SET/FILE" each.

    Pieces of one photograph, by the number that a set gives it, equal each other, though they look different.

    Args:
        places: folders of prepared sets, of a collection, or folders of sets.
        split: that is learned from.
        tested: that is tested on.
        kept: folder where the answer is kept, for as long as the pictures stay the same.

    Raises:
        DataError: a split is not there.
    """
    sides = {name: _pictures(places, name) for name in (split, tested)}
    stamp = _stamp(sides)
    known = _read(kept, stamp)
    if known is not None:
        return known
    answer = _same_photograph(sides[split], sides[tested])
    found = find_leaks(*(_side(pictures) for pictures in sides.values()))
    answer |= {leak.train: leak.evaluation for leak in found}
    if kept is not None:
        _write(kept, stamp, answer)
    return answer


class _Picture(NamedTuple):
    place: Path
    photograph: str | None  # that it is a piece of


def _pictures(places: Iterable[str], split: str) -> dict[str, _Picture]:
    """All folders together; one without such a split has nothing to add, but some folder must have it."""
    pictures: dict[str, _Picture] = {}
    missing: list[SplitError] = []
    for folder in places:
        try:
            for record, place in read_places(Path(folder).expanduser(), split):
                pictures[f"{record.source}/{record.picture.file}"] = _Picture(place, _photograph(record.group))
        except SplitError as error:
            missing.append(error)
    if missing and not pictures:
        raise missing[0]
    return pictures


def _photograph(group: str | None) -> str | None:
    """The photograph in the name of a group, which a collection puts the set's name before."""
    if group is None or PHOTOGRAPH not in group:
        return None
    return group[group.index(PHOTOGRAPH) :]


def _same_photograph(learned: dict[str, _Picture], tested: dict[str, _Picture]) -> dict[str, str]:
    owner = {seen.photograph: name for name, seen in reversed(tested.items()) if seen.photograph is not None}
    return {name: owner[seen.photograph] for name, seen in learned.items() if seen.photograph in owner}


def _side(pictures: dict[str, _Picture]) -> Side:
    side, names = Side(), list(pictures)
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        for start in range(0, len(names), _AT_ONCE):
            chunk = names[start : start + _AT_ONCE]
            for name, prints in zip(chunk, pool.map(lambda n: _prints(pictures[n].place), chunk), strict=True):
                side.add(name, prints)
    return side


def _prints(place: Path) -> Prints | None:
    try:
        return print_content(content_of(place))
    except DataError:  # whoever learns from it says so
        return None


def _stamp(sides: dict[str, dict[str, _Picture]]) -> str:
    """Changes with the names of the pictures and the sizes of their files."""
    digest = hashlib.sha256()
    for split, pictures in sides.items():
        for name, (path, photograph) in sorted(pictures.items()):
            size = path.stat().st_size if path.is_file() else 0
            digest.update(f"{split}\0{name}\0{size}\0{photograph}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _read(folder: Path | None, stamp: str) -> dict[str, str] | None:
    if folder is None:
        return None
    try:
        found = json.loads((folder / APART_FILE).read_text(encoding="utf-8"))
        same = found["stamp"] == stamp
        return {str(a): str(b) for a, b in found["pictures"].items()} if same else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # absent or damaged: made again
        return None


def _write(folder: Path, stamp: str, answer: dict[str, str]) -> None:
    text = json.dumps({"stamp": stamp, "pictures": answer}, indent=1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / APART_FILE, lambda file: file.write_text(text + "\n", encoding="utf-8"))
    except (OSError, XPoseError):
        pass  # the answer stands; it is only not kept
