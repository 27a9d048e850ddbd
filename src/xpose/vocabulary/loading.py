"""Skeleton files: found by name, read once, checked in full before anything uses them.

A skeleton file is TOML. docs/vocabulary.md describes it for people who want to write their own; the smallest one is

    name = "forklift"
    keypoints = ["left fork tip", "right fork tip", "mast top"]

All faults of a file are reported together.
"""

from __future__ import annotations

import functools
import tomllib
from contextlib import suppress
from pathlib import Path

from xpose.errors import ConfigError, VocabularyError, quote, unknown
from xpose.vocabulary.names import normalise, sigma_for
from xpose.vocabulary.reading import build_skeleton
from xpose.vocabulary.skeleton import Skeleton

FOLDER = Path(__file__).with_name("skeletons")
MAX_BYTES = 1_000_000
_WAY_OUT = "docs/vocabulary.md shows the format; `xpose skeletons person` shows an example."


def load_skeleton(name: str | Path) -> Skeleton:
    """The skeleton of that name, or the one in a file: a path, or any text that ends in ".toml".

    Raises:
        VocabularyError: no skeleton has this name; the message proposes near matches.
        ConfigError: the file is missing, is not TOML, or breaks the format; every fault is named.
    """
    if isinstance(name, Path) or name.endswith(".toml"):
        return read_skeleton_file(Path(name))
    found = _index().get(normalise(name))
    if found is None:
        known = [spelling for file in _files() for spelling in (_shipped(file).name, *_shipped(file).also)]
        raise unknown("skeleton", name, known, "List them with: xpose skeletons")
    return _shipped(found)


@functools.lru_cache(maxsize=1024)
def keypoint_sigmas(skeleton: str, names: tuple[str, ...]) -> tuple[float, ...]:
    """The similarity constant of each keypoint: the skeleton's own, or by the rule for free names where it has none.

    A path is never opened, because the name of a skeleton may come from an annotation file.
    """
    known: dict[str, float] = {}
    if not skeleton.endswith(".toml"):
        with suppress(VocabularyError):  # the user's own skeleton
            known = {point.name: point.sigma for point in load_skeleton(skeleton).points}
    return tuple(known.get(name, sigma_for(name)) for name in names)


def list_skeletons() -> tuple[Skeleton, ...]:
    """All skeletons of the package, by name."""
    return tuple(_shipped(file) for file in _files())


def read_skeleton_file(path: Path) -> Skeleton:
    """The skeleton in a file; the file's own name stands in for a missing `name`.

    Raises:
        ConfigError: the file is missing, is not TOML, or breaks the format; every fault is named.
    """
    path = path.expanduser()
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(
                f"{quote(path)} has {size} bytes. A skeleton file has at most {MAX_BYTES}. Is it another file?"
            )
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"Cannot read the skeleton file {quote(path)}: {error.strerror}. It must be a readable TOML file. "
            "Check the path, or give the name of a skeleton (list them with: xpose skeletons)."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{quote(path)} is not TOML in UTF-8: {error}. {_WAY_OUT}") from None
    skeleton, faults = build_skeleton(table, default_name=path.stem)
    if skeleton is None:
        listed = "\n".join(f"  - {fault}" for fault in faults)
        many = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ConfigError(f"{quote(path)} has {many}:\n{listed}\n{_WAY_OUT}")
    return skeleton


@functools.cache
def _files() -> tuple[Path, ...]:
    return tuple(sorted(FOLDER.glob("*.toml")))


@functools.cache
def _shipped(file: Path) -> Skeleton:
    return read_skeleton_file(file)


@functools.cache
def _index() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in _files():
        skeleton = _shipped(file)
        for spelling in (skeleton.name, *skeleton.also):
            found[normalise(spelling)] = file
    return found
