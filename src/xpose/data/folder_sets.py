"""Folders of COCO keypoint sets as they are: `ROOT/NAME/{train,val}.json`, `ROOT/NAME/images/`, `ROOT/index.json`.

Nobody writes a name table for these: the skeleton of each category is the one of the vocabulary that knows all its
keypoints, by name, alias or source name. `index.json` (a list of objects with `name`, `licence`, ...) tells title and
licence; where it is missing the `info` of the annotation file does.

    for record in read_folder_sets("data", "train"):
        ...

Each set is a `Converter`, so that `prepare(set, set.root, out)` makes a prepared set of it like of any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from xpose.data.converters.base import NOT_STATED, SEEN, NameTable, Need
from xpose.data.converters.coco_like import CocoLike
from xpose.data.schema import LeftRight, Record, Skipped
from xpose.data.sources import Fields, Source, safe_name
from xpose.errors import DataError, UnmappedKeypointError, VocabularyError, did_you_mean, quote
from xpose.vocabulary import Skeleton, default_skeleton, find_category, list_skeletons

SPLITS = {"train": "train.json", "val": "val.json", "test": "test.json"}
WHERE = "the folder that the set came in"
GROUP_KEYS = ("clip", "video", "sequence")


class FolderSet(CocoLike):
    """One set of such a folder; `folder_sets` makes a subclass for each."""

    root: ClassVar[Path]
    status = SEEN
    origin = "0-based pixels, as in the file"
    visibility = "as in the file: 2 visible, 1 labelled but hidden"
    boxes = "as in the file"
    evaluation = NOT_STATED

    def table_of(self, category: Fields) -> str:
        """Each category has a table of its own."""
        return category.text("name")

    def category_name(self, category: Fields) -> str:
        """The name of the vocabulary's category, where it knows one."""
        found = find_category(category.text("name"))
        return found.name if found else category.text("name")

    def group(self, image: Fields) -> str | None:
        """The clip or video, where the file names it."""
        for key in GROUP_KEYS:
            if key in image:
                return image.text(key)
        return None


def folder_sets(root: str | Path) -> list[FolderSet]:
    """The sets under a folder, by name.

    Raises:
        DataError: there is none, or a file is damaged.
        UnmappedKeypointError: no skeleton of the vocabulary knows all keypoints of a category.
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

    `skipped` is told the set and whatever was left out of it.

    Raises:
        DataError: there is no set with that split, or a file is damaged.
    """
    sets = folder_sets(root)
    known = {name for one in sets for name in one.splits}
    if split not in known:
        raise DataError(f"No set under {quote(root)} has a split {quote(split)}.{did_you_mean(split, known)}")
    for one in sets:
        if split in one.splits:
            for item in one.read(Source(one.root), split):
                if isinstance(item, Record):
                    yield item
                elif skipped:
                    skipped(one.name, item)


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
        f"{quote(folder)} holds no labelled pictures. It must be a prepared set, a collection, shards, or a folder "
        "that holds sets, each a folder with train.json or val.json and images/. Make one: xpose data prepare (see "
        "docs/data.md)."
    )


def _bare(folder: Path) -> str:
    """The labels of a set whose pictures are missing; prepared sets and shards keep theirs elsewhere."""
    return "" if (folder / "manifest.json").exists() or any(folder.glob("*.tar")) else _labels_in(folder)


def _labels_in(folder: Path) -> str:
    return next((file for file in SPLITS.values() if (folder / file).is_file()), "")


def _is_set(path: Path) -> bool:
    return (path / "images").is_dir() and bool(_labels_in(path))


def _index(source: Source) -> dict[str, Mapping[str, Any]]:
    if not source.has("index.json"):
        return {}
    listed = source.json("index.json")
    if not isinstance(listed, list):
        raise DataError(f"{quote(source.root / 'index.json')} is no list of sets. Mend it, or take it away.")
    return {entry["name"]: entry for entry in listed if isinstance(entry, dict) and isinstance(entry.get("name"), str)}


def _folder_set(root: Path, entry: Mapping[str, Any]) -> FolderSet:
    source = Source(root)
    files = {split: file for split, file in SPLITS.items() if source.has(file)}
    tables: dict[str, NameTable] = {}
    rules: set[LeftRight] = set()
    info: Mapping[str, Any] = {}
    for file in files.values():
        content = Fields(source.json(file), f"{root.name}/{file}")
        info = info or (content.value.get("info") if isinstance(content.value.get("info"), dict) else {}) or {}
        for number, value in enumerate(content.list("categories"), start=1):
            fields = Fields(value, f"{content.where}: category number {number}")
            names = fields.list("keypoints") if "keypoints" in fields else []
            skeleton = skeleton_for(fields.text("name"), [str(name) for name in names], root.name)
            tables[fields.text("name")] = _table(skeleton, names)
            rules.add(skeleton.left_right)
    told = {key: _text(entry.get(key)) or _text(info.get(key)) for key in ("licence", "redistributable", "source")}
    terms = [f"{key}: {told[key]}" for key in ("redistributable", "source") if told[key]]
    return type(
        "OneFolderSet",
        (FolderSet,),
        {
            "__doc__": f"The set in the folder {root.name}.",
            "root": root,
            "name": safe_name(root.name),
            "title": _text(entry.get("full_name")) or _text(info.get("name")) or root.name,
            "licence": told["licence"] or NOT_STATED,
            "terms": "; ".join(terms) or NOT_STATED,
            "left_right": next(iter(rules)) if len(rules) == 1 else "disputed",
            "splits": files,
            "annotation_files": files,
            "picture_folders": dict.fromkeys(files, "images"),
            "needs": tuple(Need(file, WHERE, (split,)) for split, file in files.items()),
            "tables": tables,
        },
    )()


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
    try:
        places = [skeleton.index(name) for name in names]
    except VocabularyError:
        return None
    return places if len(set(places)) == len(places) else None


def _table(skeleton: Skeleton, names: Sequence[Any]) -> NameTable:
    return NameTable(skeleton.name, {str(name): skeleton.point(str(name)).name for name in names})


def _text(value: object) -> str | None:
    return re.sub(r"\s+", " ", value).strip() or None if isinstance(value, str) else None
