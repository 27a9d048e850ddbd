"""Names of a foreign file: made readable, matched to a skeleton, or kept as they are with a skeleton of their own.

Three ways lead from a source's keypoint names to ours:

- a mapping file (`--names`) gives every name its unified one, and a name that it leaves out stops the import;
- a skeleton (`--skeleton`) is searched for each name, its aliases and field names included; what it does not know
  stays a free name;
- without either all names stay free.

Free names are the source's with blanks for underscores. They get a skeleton of their own: the source's edges, mirror
partners as the source states them or by the names, sigmas by the rule of `xpose.vocabulary`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xpose.data.datasets.converters.base import NameTable
from xpose.errors import DataError, UnmappedKeypointError, did_you_mean, quote
from xpose.vocabulary import Skeleton, flip_name, list_skeletons, load_skeleton, normalise, sigma_for
from xpose.vocabulary.reading import build_skeleton

MAX_NAME = 200  # characters
MAX_POINTS = 2000  # of one kind of object
_HALVES = {"left": "right", "right": "left", "l": "r", "r": "l"}
_GLUED = re.compile(r"(?<![a-zA-Z])(left|right)|(left|right)(?![a-zA-Z])", re.IGNORECASE)
_LETTER = re.compile(r"(?<![a-zA-Z])[LR](?![a-z])|(?<![a-zA-Z])[lr](?![a-zA-Z])|(?<=[a-z])[LR](?![a-z])")


@dataclass(frozen=True)
class ObjectKind:
    """One kind of object in a source: its keypoints by the source's names, in the source's order."""

    name: str  # as the source calls it, or a stand-in
    keypoints: tuple[str, ...]
    edges: tuple[tuple[str, str], ...] = ()
    flips: Mapping[str, str] = field(default_factory=dict)  # mirror partners, if the source states them
    points_named: bool = True  # False: the source only numbers its points
    named: bool = True  # False: the source does not say what the objects are


@dataclass(frozen=True)
class NameMap:
    """A mapping file: the source's names to unified ones, None for those left out on purpose."""

    names: Mapping[str, str | None]
    skeleton: str | None = None


@dataclass(frozen=True)
class Named:
    """A kind with its names settled."""

    title: str  # of the category
    table: NameTable
    skeleton: Skeleton
    shipped: bool  # the skeleton is one of the vocabulary's and needs no file beside the set
    free: tuple[str, ...] = ()  # names that the wanted skeleton does not know


def readable(name: str, where: str) -> str:
    """A source's name as people write it: blanks for underscores, nothing else changed.

    Raises:
        DataError: it is empty, far too long, or holds control characters.
    """
    text = re.sub(r"[_\s]+", " ", name).strip()
    if not text or len(text) > MAX_NAME or not text.isprintable():
        raise DataError(
            f"{where}: {quote(ascii(name))} is not a name. A name has 1 to {MAX_NAME} printable characters. "
            "Correct it in the source."
        )
    return text


def partner(name: str, names: Iterable[str]) -> str:
    """The mirror partner of a name among `names`, itself if there is none.

    Beyond the whole words that `flip_name` knows this finds "leftear" and "rightear", "eyeL" and "eyeR", "L eye" and
    "R eye", but only if both are there: then nothing else can be meant.
    """
    known = set(names)
    for mirrored in (flip_name(name), _swap(_GLUED, name), _swap(_LETTER, name)):
        if mirrored != name and mirrored in known:
            return mirrored
    return name


def _swap(pattern: re.Pattern[str], name: str) -> str:
    def other(match: re.Match[str]) -> str:
        text = match[0]
        swapped = _HALVES[text.lower()]
        return swapped.upper() if text.isupper() else swapped.title() if text[0].isupper() else swapped

    return pattern.sub(other, name)


def read_map(path: Path) -> NameMap:
    """A mapping file: `[names]` with a line per source name, `false` for a point to leave out; optional `skeleton`.

    Raises:
        DataError: it cannot be read or breaks this format.
    """
    way_out = 'A mapping file is TOML: a table [names] with lines like snout = "nose" (false leaves a point out).'
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{quote(path)} cannot be read: {error.strerror}. {way_out}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{quote(path)} is not TOML in UTF-8: {error}. {way_out}") from None
    names, skeleton = content.get("names"), content.get("skeleton")
    strange = sorted(set(content) - {"names", "skeleton"})
    if strange:
        raise DataError(f"{quote(path)} holds {', '.join(map(quote, strange))}, which means nothing there. {way_out}")
    if not isinstance(names, dict) or not names or not isinstance(skeleton, str | None):
        raise DataError(f"{quote(path)} has no table [names], or its skeleton is not text. {way_out}")
    for name, unified in names.items():
        if unified is not False and not (isinstance(unified, str) and unified.strip()):
            raise DataError(f"{quote(path)}: {quote(name)} is mapped to {quote(unified)}. {way_out}")
    return NameMap({name: unified or None for name, unified in names.items()}, skeleton)


def settle_names(
    kind: ObjectKind, title: str, skeleton: str | Path | None, name_map: NameMap | None, set_name: str
) -> Named:
    """Give every keypoint of a kind its name.

    Raises:
        UnmappedKeypointError: the mapping file leaves a name out.
        DataError: two names become one, or numbered points do not fit the skeleton.
        VocabularyError: there is no such skeleton, or the mapping file names a point it lacks.
    """
    if len(kind.keypoints) > MAX_POINTS:
        raise DataError(
            f"{quote(title)} has {len(kind.keypoints)} keypoints. There may be {MAX_POINTS} at most. "
            "Is the file damaged?"
        )
    wanted = skeleton if skeleton is not None else name_map.skeleton if name_map else None
    known = load_skeleton(wanted) if wanted is not None else None
    free: list[str] = []
    if name_map is not None:
        names = {name: _mapped(name, name_map, known) for name in kind.keypoints}
    elif known is not None and not kind.points_named:
        names = _by_order(kind, title, known)
    else:
        names = {}
        for name in kind.keypoints:
            matched = _find(name, known) if known is not None else None
            names[name] = matched or readable(name, f"a keypoint of {quote(title)}")
            free += [] if matched or known is None else [name]
    _refuse_doubles(names, title)
    unified = [name for name in names.values() if name is not None]
    if known is not None and set(unified) <= set(known.keypoints):
        chosen, edges = known, tuple((a, b) for a, b in known.edges if a in unified and b in unified)
    else:
        chosen = _derive(kind, title, names, known, set_name)
        edges = chosen.edges
    shipped = chosen in list_skeletons()
    if not shipped and any(
        normalise(chosen.name) in map(normalise, (each.name, *each.also)) for each in list_skeletons()
    ):
        raise DataError(
            f"The skeleton file {quote(wanted)} is called {quote(chosen.name)}, as one of the vocabulary is, but says "
            "something else. Sets refer to skeletons by name. Give it a name of its own."
        )
    return Named(title, NameTable(chosen.name, names, edges), chosen, shipped, tuple(free))


def _mapped(name: str, name_map: NameMap, known: Skeleton | None) -> str | None:
    if name not in name_map.names:
        raise UnmappedKeypointError(
            f"The source keypoint {quote(name)} has no unified name.{did_you_mean(name, name_map.names)} With a "
            f"mapping file every keypoint is mapped, or left out with false: add {quote(name)} to its [names]."
        )
    unified = name_map.names[name]
    if unified is None:
        return None
    return known.point(unified).name if known is not None else readable(unified, "the mapping file")


def _by_order(kind: ObjectKind, title: str, known: Skeleton) -> dict[str, str | None]:
    if len(known) != len(kind.keypoints):
        raise DataError(
            f"{quote(title)} has {len(kind.keypoints)} points without names, skeleton {quote(known.name)} has "
            f"{len(known)}. Numbered points take the skeleton's names by order. Choose another skeleton, or name "
            f"{quote(kind.keypoints[0])} and so on in a mapping file (--names)."
        )
    return dict(zip(kind.keypoints, known.keypoints, strict=True))


def _find(name: str, known: Skeleton) -> str | None:
    """The skeleton's point of that name, whatever its spelling; "leftear" finds "left ear" too."""
    if name in known:
        return known.point(name).name
    squashed = normalise(name).replace(" ", "")
    near = [point.name for point in known.points if normalise(point.name).replace(" ", "") == squashed]
    return near[0] if len(near) == 1 else None


def _refuse_doubles(names: Mapping[str, str | None], title: str) -> None:
    owners: dict[str, list[str]] = {}
    for name, unified in names.items():
        if unified is not None:
            owners.setdefault(normalise(unified), []).append(name)
    for doubled in owners.values():
        if len(doubled) > 1:
            raise DataError(
                f"{', '.join(map(quote, doubled))} of {quote(title)} become one keypoint, "
                f"{quote(names[doubled[0]])}. Every keypoint needs a name of its own: tell them apart in a mapping "
                "file (--names)."
            )


def _derive(
    kind: ObjectKind, title: str, names: Mapping[str, str | None], known: Skeleton | None, set_name: str
) -> Skeleton:
    """A skeleton for free names; points that `known` has keep what it says about them."""
    unified = [name for name in names.values() if name is not None]
    rows = []
    for source, name in names.items():
        if name is None:
            continue
        stated = names.get(kind.flips[source]) if source in kind.flips else None
        flip = stated if stated is not None else partner(name, unified)
        row: dict[str, Any] = {"name": name, "flip": flip, "sigma": sigma_for(name), "source_names": [source]}
        if known is not None and name in known.keypoints:
            point = known.point(name)
            row |= {"sigma": point.sigma, "part": point.part}
            row |= {"alias": point.alias} if point.alias is not None else {}
        rows.append(row)
    mirrored = any(row["flip"] != row["name"] for row in rows)
    content = {
        "name": f"{title} of {set_name}",
        "title": f"{title}, {len(rows)} points",
        "left_right": "disputed" if mirrored else "none",  # nobody has said whose left and right they are
        "note": "Made from an imported file. Whose left and right the names mean, the file does not say.",
        "source": {
            "dataset": set_name,
            "reference": "an imported file",
            "names": "the imported file, underscores made blanks",
            "sigmas": "the rule for free names",
            "edges": "the imported file" if kind.edges else "none stated",
        },
        "keypoints": rows,
        "edges": [list(edge) for edge in _edges(kind, names)],
    }
    skeleton, faults = build_skeleton(content, title)
    if skeleton is None:
        raise DataError(
            f"The names of {quote(title)} make no skeleton: {'; '.join(faults)}. Give better ones in a mapping file "
            "(--names), or name a skeleton (--skeleton)."
        )
    return skeleton


def _edges(kind: ObjectKind, names: Mapping[str, str | None]) -> list[tuple[str, str]]:
    edges: list[tuple[str, str]] = []
    for start, end in kind.edges:
        a, b = names.get(start), names.get(end)
        if a is not None and b is not None and a != b and not any({a, b} == {*edge} for edge in edges):
            edges.append((a, b))
    return edges
