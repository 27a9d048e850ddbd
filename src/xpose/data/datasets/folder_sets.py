"""Folders of COCO keypoint sets as they are: `ROOT/NAME/{train,val}.json`, `ROOT/NAME/images/`, `ROOT/index.json`.

Nobody writes a name table for these: the skeleton of each category is the one of the vocabulary that knows all its
keypoints, by name, alias or source name, else one of its own. A category without keypoints is one that is only boxed.
Objects with `iscrowd` or `ignore` are regions where a detection is neither right nor wrong. `index.json` (a list of
objects with `name`, `licence`, ...) gives title and licence. Where it is missing, the `info` of the annotation file
does.

    for record in read_folder_sets("data", "train"):
        ...

Each set is a `Converter`, so that `prepare(set, set.root, out)` makes a prepared set of it like of any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from xpose.data.datasets.converters.base import NOT_STATED, SEEN, NameTable, Need
from xpose.data.datasets.converters.coco_like import CocoLike
from xpose.data.datasets.importers.names import ObjectKind, settle_names
from xpose.data.datasets.sources import Fields, Source, safe_name
from xpose.errors import DataError, SplitError, UnmappedKeypointError, did_you_mean, quote
from xpose.records import LeftRight, Point, Record, Skipped
from xpose.vocabulary import Skeleton, default_skeleton, find_category, list_skeletons

SPLITS = {"train": "train.json", "val": "val.json", "test": "test.json"}
WHERE = "the folder that the set came in"
GROUP_KEYS = ("clip", "video", "sequence")
Edges = tuple[tuple[str, str], ...]
PHOTOGRAPH = "COCO photograph "  # what the group of pictures made of one is called, with the photograph's number
REGION_KEYS = ("iscrowd", "ignore")


class FolderSet(CocoLike):
    """One set of such a folder; `folder_sets` makes a subclass for each."""

    root: ClassVar[Path]
    skeletons: ClassVar[Mapping[str, Skeleton]] = {}  # of its own, that the vocabulary does not have
    status = SEEN
    origin = "0-based pixels, as in the file"
    evaluation = NOT_STATED

    def table_of(self, category: Fields) -> str:
        """Each category has a table of its own."""
        return category.text("name")

    def category_name(self, category: Fields) -> str:
        """The name of the vocabulary's category, where it knows one."""
        known = find_category(category.text("name"))
        return known.name if known else category.text("name")

    def names_of(self, category: Fields) -> tuple[Any, ...]:
        """None where the category is only boxed."""
        return tuple(category.list("keypoints")) if "keypoints" in category else ()

    def points(self, annotation: Fields, names: tuple[str, ...]) -> dict[str, Point]:
        """None where the object is only boxed."""
        return annotation.points("keypoints", names) if annotation.value.get("keypoints") else {}

    def is_region(self, annotation: Fields) -> bool:
        """Whether it is marked as a crowd, or as not to be judged."""
        return any(bool(annotation.integer(key)) for key in REGION_KEYS if key in annotation)

    def group(self, image: Fields) -> str | None:
        """The COCO photograph it was made of, else the clip or video, where the file names one."""
        photograph = image.value.get("coco_id")
        if type(photograph) is int:
            return f"{PHOTOGRAPH}{photograph}"
        for key in GROUP_KEYS:
            if key in image:
                return image.text(key)
        return None


def folder_sets(root: str | Path) -> list[FolderSet]:
    """The sets under a folder, by name.

    Raises:
        DataError: there is none, or a file is damaged.
    """
    source = Source(root)
    index = _index(source)
    names = sorted(path.name for path in source.root.iterdir() if _is_set(path))
    if not names:
        raise no_sets(source.root)
    return [_folder_set(source.root / name, index.get(name, {})) for name in names]


def read_folder_sets(
    root: str | Path, split: str, *, skipped: Callable[[str, Skipped], None] | None = None
) -> Iterator[Record]:
    """The records of one split of all sets under a folder; each picture's file name is relative to its set's folder.

    `skipped` is called with the name of the set and each thing that was left out of it.

    Raises:
        DataError: there is no set with that split, or a file is damaged.
    """
    sets = folder_sets(root)
    known = {name for folder_set in sets for name in folder_set.splits}
    if split not in known:
        raise SplitError(f"No set under {quote(root)} has a split {quote(split)}.{did_you_mean(split, known)}")
    for folder_set in sets:
        if split in folder_set.splits:
            for item in folder_set.read(Source(folder_set.root), split):
                if isinstance(item, Record):
                    yield item
                elif skipped:
                    skipped(folder_set.name, item)


def is_folder_of_sets(root: Path) -> bool:
    """Whether a folder looks like one that `folder_sets` reads."""
    return root.is_dir() and any(_is_set(path) for path in root.iterdir())


def no_sets(folder: Path) -> DataError:
    """The error for a folder without labelled sets: perhaps it is a set's own folder, or a set lacks its pictures."""
    if _is_set(folder):
        return DataError(
            f"{quote(folder)} is a set itself. What is wanted is the folder that holds the sets' folders. "
            f"Give the folder above it: {quote(folder.resolve().parent)}"
        )
    if labels := _bare(folder):
        return DataError(
            f"{quote(folder)} has {labels} but no folder images/. A set has both, and what is wanted is the folder "
            f"above it. Put the pictures into {quote(folder / 'images')} and give {quote(folder.resolve().parent)}"
        )
    bare = [path for path in sorted(folder.iterdir()) if _bare(path)] if folder.is_dir() else []
    if bare:
        return DataError(
            f"{quote(bare[0])} has {_bare(bare[0])} but no folder images/. A set of {quote(folder)} has both. "
            f"Put its pictures into {quote(bare[0] / 'images')}"
        )
    return DataError(
        f"{quote(folder)} holds no labelled pictures. It must be a prepared set, a collection, or a folder "
        "that holds sets, each a folder with train.json or val.json and images/. Make one: xpose data prepare (see "
        "docs/data.md)."
    )


def _bare(folder: Path) -> str:
    """The labels of a set whose pictures are missing; prepared sets keep theirs elsewhere."""
    return "" if (folder / "manifest.json").exists() else _labels_in(folder)


def _labels_in(folder: Path) -> str:
    return next((file for file in SPLITS.values() if (folder / file).is_file()), "")


def _is_set(path: Path) -> bool:
    return (path / "images").is_dir() and bool(_labels_in(path))


def _index(source: Source) -> dict[str, Mapping[str, Any]]:
    if not source.has("index.json"):
        return {}
    listed = source.json("index.json")
    if not isinstance(listed, list):
        raise DataError(f"{quote(source.root / 'index.json')} is not a list of sets. Correct it, or take it away.")
    return {entry["name"]: entry for entry in listed if isinstance(entry, dict) and isinstance(entry.get("name"), str)}


@dataclass(frozen=True)
class _Head:
    """The categories of a file with their keypoint names and edges, and its `info`."""

    categories: Mapping[str, tuple[tuple[str, ...], Edges]]
    info: Mapping[str, Any]


@lru_cache(maxsize=4096)
def _head(root: Path, file: str, _time: int, _size: int) -> _Head:
    """Read once for as long as the file stays as it is: a run asks for the sets of a folder several times."""
    content = Fields(Source(root).json(file), f"{root.name}/{file}")
    categories: dict[str, tuple[tuple[str, ...], Edges]] = {}
    for number, value in enumerate(content.list("categories"), start=1):
        fields = Fields(value, f"{content.where}: category number {number}")
        names = fields.list("keypoints") if "keypoints" in fields else []
        if not all(isinstance(name, str) for name in names):
            raise DataError(f"{fields.where}: the keypoint names are not all texts. Correct the file.")
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(
                f"{fields.where} names the keypoints {', '.join(map(quote, doubled))} more than once. Every keypoint "
                "needs a name of its own: correct the file."
            )
        categories[fields.text("name")] = tuple(names), _edges_of(fields.value.get("skeleton"), names)
    info = content.value.get("info")
    return _Head(categories, info if isinstance(info, dict) else {})


def _folder_set(root: Path, entry: Mapping[str, Any]) -> FolderSet:
    source = Source(root)
    files = {split: file for split, file in SPLITS.items() if source.has(file)}
    names: dict[str, dict[str, None]] = {}  # of all splits together
    edges: dict[str, dict[tuple[str, str], None]] = {}
    info: Mapping[str, Any] = {}
    for file in files.values():
        stat = source.path(file).stat()
        head = _head(root, file, stat.st_mtime_ns, stat.st_size)
        info = info or head.info
        for category, (own, pairs) in head.categories.items():
            names.setdefault(category, {}).update(dict.fromkeys(own))
            edges.setdefault(category, {}).update(dict.fromkeys(pairs))
    tables: dict[str, NameTable] = {}
    skeletons: dict[str, Skeleton] = {}
    rules: set[LeftRight] = set()
    for category, listed in names.items():
        tables[category], skeleton = table_for(category, tuple(listed), tuple(edges[category]), root.name)
        if skeleton is not None:
            rules.add(skeleton.left_right)
            if skeleton not in list_skeletons():
                skeletons[skeleton.name] = skeleton
    facts = {key: _text(entry.get(key)) or _text(info.get(key)) for key in ("licence", "redistributable", "source")}
    terms = [f"{key}: {facts[key]}" for key in ("redistributable", "source") if facts[key]]
    return type(
        "OneFolderSet",
        (FolderSet,),
        {
            "__doc__": f"The set in the folder {root.name}.",
            "root": root,
            "name": safe_name(root.name),
            "title": _text(entry.get("full_name")) or _text(info.get("name")) or root.name,
            "licence": facts["licence"] or NOT_STATED,
            "terms": "; ".join(terms) or NOT_STATED,
            "left_right": next(iter(rules)) if len(rules) == 1 else "disputed" if rules else "none",
            "splits": files,
            "annotation_files": files,
            "picture_folders": dict.fromkeys(files, "images"),
            "needs": tuple(Need(file, WHERE, (split,)) for split, file in files.items()),
            "tables": tables,
            "skeletons": skeletons,
        },
    )()


def table_for(category: str, names: tuple[str, ...], edges: Edges, set_name: str) -> tuple[NameTable, Skeleton | None]:
    """The names of a category's points, and the skeleton they belong to; None for a category that is only boxed.

    Raises:
        DataError: a name occurs twice, or is none.
    """
    if not names:
        usual = default_skeleton(category)
        return NameTable(category if usual.is_fallback else usual.skeleton.name, {}, ()), None
    try:
        skeleton = skeleton_for(category, names, set_name)
    except UnmappedKeypointError:
        return _own_table(ObjectKind(category, names, edges), set_name)
    return NameTable(skeleton.name, {name: skeleton.point(name).name for name in names}), skeleton


def _own_table(kind: ObjectKind, set_name: str) -> tuple[NameTable, Skeleton]:
    """The same for points that no skeleton of the vocabulary knows: a skeleton of the set's own.

    Points are called as in the file, with blanks for underscores. What the usual skeleton of the category calls
    otherwise ("tail_base" of a dog) takes its name, so that two sets ask for the same point by the same words.
    """
    usual = default_skeleton(kind.name)
    if not usual.is_fallback:
        try:
            named = settle_names(kind, kind.name, usual.skeleton.name, None, set_name)
            return named.table, named.skeleton
        except DataError:  # two of the names are one point there: each keeps its own
            pass
    named = settle_names(kind, kind.name, None, None, set_name)
    return named.table, named.skeleton


def skeleton_for(category: str, names: Sequence[str], set_name: str = "") -> Skeleton:
    """The skeleton of the vocabulary for a category with these keypoint names.

    Among those that know every name as a point of its own, the best has no further points, the same order, belongs to
    the category or is called like the set.

    Raises:
        UnmappedKeypointError: no skeleton knows them all.
    """
    default = default_skeleton(category)
    own = [skeleton for skeleton in list_skeletons() if skeleton.name == default.skeleton.name]
    known = find_category(category)
    wanted = known.skeletons if known else ()
    best: tuple[tuple[int, ...], Skeleton] | None = None
    for skeleton in list_skeletons():
        places = _places(skeleton, names)
        if places is None:
            continue
        rank = (
            len(places) == len(skeleton),
            places == sorted(places),
            sum(name in skeleton.points[place].source_names for name, place in zip(names, places, strict=True)),
            skeleton.name in wanted,
            set_name in (skeleton.name, *skeleton.also),
            skeleton in own,
            -len(skeleton),
        )
        if best is None or rank > best[0]:
            best = (tuple(int(part) for part in rank), skeleton)
    if best is None:
        lacking = [name for name in names if name not in default.skeleton]
        raise UnmappedKeypointError(
            f"The keypoints {', '.join(quote(name) for name in lacking[:8])} of the category {quote(category)} have no "
            f"unified names: no skeleton knows all its points, and {quote(default.skeleton.name)} lacks these. "
            "Add a skeleton file with their source_names: docs/vocabulary.md."
        )
    return best[1]


def _places(skeleton: Skeleton, names: Sequence[str]) -> list[int] | None:
    if not all(name in skeleton for name in names):  # `index` would look for similar names, which takes long
        return None
    places = [skeleton.index(name) for name in names]
    return places if len(set(places)) == len(places) else None


def _edges_of(pairs: Any, names: Sequence[str]) -> Edges:
    """The pairs of a file's `skeleton` (numbers from 1 up) by name; other entries are left out."""
    edges: list[tuple[str, str]] = []
    for pair in pairs if isinstance(pairs, list) else []:
        if not isinstance(pair, list) or len(pair) != 2 or not all(type(end) is int for end in pair):
            continue
        if all(1 <= end <= len(names) for end in pair) and pair[0] != pair[1]:
            edges.append((names[pair[0] - 1], names[pair[1] - 1]))
    return tuple(dict.fromkeys(edges))


def _text(value: object) -> str | None:
    return re.sub(r"\s+", " ", value).strip() or None if isinstance(value, str) else None
