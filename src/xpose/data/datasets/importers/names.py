"""Names of a foreign file: mapped by a file, matched to a skeleton, or kept with a skeleton of their own.

A mapping file (`--names`) maps every name to a unified name. Otherwise, each name is looked up in a skeleton
(`--skeleton`), including aliases and field names. Names that are not found are kept, with spaces for underscores, and
get a skeleton with the source's edges, mirror partners from the source or the names, and sigmas by the rule of
`xpose.vocabulary`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xpose.data.datasets.converters.base import NameTable
from xpose.data.datasets.sources import grouped
from xpose.errors import DataError, UnmappedKeypointError, did_you_mean, quote
from xpose.vocabulary import Skeleton, flip_name, list_skeletons, load_skeleton, normalise, sigma_for
from xpose.vocabulary.reading import build_skeleton

MAX_NAME = 200  # characters
MAX_POINTS = 2000  # in one kind of object
_HALVES = {"left": "right", "right": "left", "l": "r", "r": "l"}
_GLUED = re.compile(r"(?<![a-zA-Z])(left|right)|(left|right)(?![a-zA-Z])", re.IGNORECASE)
_LETTER = re.compile(r"(?<![a-zA-Z])[LR](?![a-z])|(?<![a-zA-Z])[lr](?![a-zA-Z])|(?<=[a-z])[LR](?![a-z])")


@dataclass(frozen=True)
class ObjectKind:
    """One kind of object in a source: its keypoints by the source's names, in the source's order."""

    name: str  # the source's name, or "object"
    keypoints: tuple[str, ...]
    edges: tuple[tuple[str, str], ...] = ()
    flips: Mapping[str, str] = field(default_factory=dict)  # mirror partners, if the source gives them
    points_named: bool = True  # False: the source only numbers its points
    named: bool = True  # False: the source does not name the objects

    @classmethod
    def numbered(cls, name: str, count: int) -> ObjectKind:
        """A kind whose points the source only numbers."""
        return cls(name, tuple(f"point {number}" for number in range(1, count + 1)), points_named=False)


@dataclass(frozen=True)
class Named:
    """A kind with its final names."""

    title: str  # of the category
    table: NameTable
    skeleton: Skeleton
    shipped: bool  # the skeleton is in the vocabulary and needs no file in the set
    free: tuple[str, ...] = ()  # names that the chosen skeleton does not have


def readable(name: str, where: str) -> str:
    """A source's name with spaces for underscores, nothing else changed."""
    text = re.sub(r"[_\s]+", " ", name).strip()
    if not text or len(text) > MAX_NAME or not text.isprintable():
        rule = f"A name has 1 to {MAX_NAME} printable characters. Correct it in the source."
        raise DataError(f"{where}: {quote(ascii(name))} is not a name. {rule}")
    return text


def partner(name: str, names: Iterable[str]) -> str:
    """The mirror partner of a name among `names`, or the name itself; handles "leftear", "eyeL" and "L eye" too."""
    mirrored = (flip_name(name), _GLUED.sub(_other_side, name), _LETTER.sub(_other_side, name))
    return next((other for other in mirrored if other != name and other in {*names}), name)


def _other_side(match: re.Match[str]) -> str:
    text = match[0]
    swapped = _HALVES[text.lower()]
    return swapped.upper() if text.isupper() else swapped.title() if text[0].isupper() else swapped


def read_map(path: Path) -> tuple[dict[str, str | None], str | None]:
    """The names in a mapping file (None: excluded on purpose) and its skeleton, if it names one."""

    def fault(what: object) -> DataError:
        rule = 'A mapping file is TOML: a table [names] with lines like snout = "nose" (false leaves a point out).'
        return DataError(f"{quote(path)} {what}. {rule}")

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise fault(f"cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise fault(f"is not TOML in UTF-8: {error}") from None
    names, skeleton = content.get("names"), content.get("skeleton")
    if unknown := sorted(set(content) - {"names", "skeleton"}):
        raise fault(f"holds {', '.join(map(quote, unknown))}, which means nothing there")
    if not isinstance(names, dict) or not names or not isinstance(skeleton, str | None):
        raise fault("has no table [names], or its skeleton is not text")
    for name, unified in names.items():
        if unified is not False and not (isinstance(unified, str) and unified.strip()):
            raise fault(f"has {quote(name)}, which is mapped to {quote(unified)}")
    return {name: unified or None for name, unified in names.items()}, skeleton


def settle_names(
    kind: ObjectKind,
    title: str,
    skeleton_name: str | Path | None,
    name_map: Mapping[str, str | None] | None,
    set_name: str,
) -> Named:
    """Name every keypoint of a kind."""
    if (count := len(kind.keypoints)) > MAX_POINTS:
        raise DataError(f"{quote(title)} has {count} keypoints, more than {MAX_POINTS}. Is the file damaged?")
    skeleton = load_skeleton(skeleton_name) if skeleton_name is not None else None
    free: list[str] = []
    names: dict[str, str | None]
    if name_map is not None:
        names = {name: _mapped(name, name_map, skeleton) for name in kind.keypoints}
    elif skeleton is not None and not kind.points_named:
        names = _by_order(kind, title, skeleton)
    else:
        names = {name: _find(name, skeleton) for name in kind.keypoints}
        free = [name for name, unified in names.items() if unified is None]
        names |= {name: readable(name, f"a keypoint of {quote(title)}") for name in free}
    _refuse_doubles(names, title)
    unified = {name for name in names.values() if name is not None}
    if skeleton is not None and unified <= set(skeleton.keypoints):
        edges = tuple(edge for edge in skeleton.edges if {*edge} <= unified)
    else:
        skeleton = _derive(kind, title, names, skeleton, set_name)
        edges = skeleton.edges
    shipped = skeleton in list_skeletons()
    if not shipped and in_vocabulary(skeleton.name):
        raise DataError(
            f"The skeleton file {quote(skeleton_name)} is called {quote(skeleton.name)}, as one of the vocabulary is, "
            "but says something else. Sets refer to skeletons by name. Give it a name of its own."
        )
    not_found = tuple(free) if skeleton_name is not None else ()
    return Named(title, NameTable(skeleton.name, names, edges), skeleton, shipped, not_found)


def in_vocabulary(name: str) -> bool:
    """Whether a skeleton of the vocabulary has this name."""
    return any(normalise(name) in map(normalise, (skeleton.name, *skeleton.also)) for skeleton in list_skeletons())


def _mapped(name: str, name_map: Mapping[str, str | None], skeleton: Skeleton | None) -> str | None:
    if name not in name_map:
        raise UnmappedKeypointError(
            f"The source keypoint {quote(name)} has no unified name.{did_you_mean(name, name_map)} Every keypoint is "
            f"mapped, or left out with false: add {quote(name)} to [names] of the mapping file."
        )
    unified = name_map[name]
    if unified is None:
        return None
    return skeleton.point(unified).name if skeleton is not None else readable(unified, "the mapping file")


def _by_order(kind: ObjectKind, title: str, skeleton: Skeleton) -> dict[str, str | None]:
    if len(skeleton) != len(kind.keypoints):
        raise DataError(
            f"{quote(title)} has {len(kind.keypoints)} points without names, skeleton {quote(skeleton.name)} has "
            f"{len(skeleton)}. Numbered points take the skeleton's names by order. Choose another skeleton, or name "
            f"{quote(kind.keypoints[0])} and so on in a mapping file (--names)."
        )
    return dict(zip(kind.keypoints, skeleton.keypoints, strict=True))


def _find(name: str, skeleton: Skeleton | None) -> str | None:
    """The skeleton's point of that name in any spelling; "leftear" finds "left ear" too."""
    if skeleton is None:
        return None
    if name in skeleton:
        return skeleton.point(name).name
    joined = normalise(name).replace(" ", "")
    matches = [point.name for point in skeleton.points if normalise(point.name).replace(" ", "") == joined]
    return matches[0] if len(matches) == 1 else None


def _refuse_doubles(names: Mapping[str, str | None], title: str) -> None:
    owners = grouped((normalise(unified), name) for name, unified in names.items() if unified is not None)
    for doubled in (of_point for of_point in owners.values() if len(of_point) > 1):
        shown, unified = ", ".join(map(quote, doubled)), quote(names[doubled[0]])
        raise DataError(
            f"{shown} of {quote(title)} become one keypoint, {unified}. Tell them apart in a mapping file (--names)."
        )


def _derive(
    kind: ObjectKind, title: str, names: Mapping[str, str | None], base: Skeleton | None, set_name: str
) -> Skeleton:
    """A skeleton for free names; points that are in `base` keep their values from it."""
    unified = [name for name in names.values() if name is not None]
    rows = []
    for source, name in names.items():
        if name is None:
            continue
        stated = names.get(kind.flips[source]) if source in kind.flips else None
        flip = stated if stated is not None else partner(name, unified)
        row: dict[str, Any] = {"name": name, "flip": flip, "sigma": sigma_for(name), "source_names": [source]}
        if base is not None and name in base.keypoints:
            point = base.point(name)
            row |= {"sigma": point.sigma, "part": point.part}
            row |= {"alias": point.alias} if point.alias is not None else {}
        rows.append(row)
    mirrored = any(row["flip"] != row["name"] for row in rows)
    pairs = [(names.get(a), names.get(b)) for a, b in kind.edges]
    edges = list({frozenset(pair): list(pair) for pair in pairs if None not in pair and len({*pair}) == 2}.values())
    named_after = normalise(title) == normalise(set_name) and not in_vocabulary(title)
    content = {
        "name": title if named_after else f"{title} of {set_name}",
        "title": f"{title}, {len(rows)} points",
        "left_right": "disputed" if mirrored else "none",  # the file does not define left and right
        "note": "Made from an imported file. Whose left and right the names mean, the file does not say.",
        "source": {
            "dataset": set_name,
            "reference": "an imported file",
            "names": "the imported file, underscores made blanks",
            "sigmas": "the rule for free names",
            "edges": "the imported file" if kind.edges else "none stated",
        },
        "keypoints": rows,
        "edges": edges,
    }
    skeleton, faults = build_skeleton(content, title)
    if skeleton is None:
        raise DataError(
            f"The names of {quote(title)} make no skeleton: {'; '.join(faults)}. Give better ones in a mapping file "
            "(--names), or name a skeleton (--skeleton)."
        )
    return skeleton
