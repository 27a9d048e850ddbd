"""Folders of unconverted COCO keypoint sets: `ROOT/NAME/{train,val}.json`, `ROOT/NAME/images/`, `ROOT/index.json`.

These sets need no name table: a category gets the vocabulary's skeleton that has all its keypoints (by name, alias or
source name), else a new skeleton. A category without keypoints only has boxes. Objects with `iscrowd` or `ignore` are
regions where a detection is neither right nor wrong. Title and licence come from `index.json` (a list of objects with
`name`, `licence`, ...), or else from the `info` of the annotation file.
Each set is a `Converter`, so `prepare(set, set.root, out)` makes a prepared set from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from xpose.data.datasets.converters.base import NOT_STATED, NameTable, Need
from xpose.data.datasets.converters.coco_like import CocoLike, edges_of, keypoints_of
from xpose.data.datasets.importers.names import ObjectKind, settle_names
from xpose.data.datasets.sources import Fields, SourceFolder, safe_name
from xpose.errors import DataError, SplitError, UnmappedKeypointError, did_you_mean, quote
from xpose.records import LeftRight, Point, Record, Skipped
from xpose.vocabulary import Skeleton, default_skeleton, find_category, list_skeletons, load_skeleton
from xpose.vocabulary.categories import FALLBACK

SPLITS = {"train": "train.json", "val": "val.json", "test": "test.json"}
GROUP_KEYS = ("clip", "video", "sequence")
PHOTOGRAPH = "COCO photograph "  # start of a group's name, before the photograph's number


class FolderSet(CocoLike):
    """One set in such a folder; `folder_sets` makes a subclass for each."""

    root: ClassVar[Path]
    skeletons: ClassVar[Mapping[str, Skeleton]] = {}  # those that the vocabulary lacks
    picture_folder = "images"
    region_keys = ("iscrowd", "ignore")
    status = "seen"
    origin = "0-based pixels, as in the file"

    def table_of(self, category: Fields) -> str:
        return category.text("name")

    def category_name(self, category: Fields) -> str:
        match = find_category(category.text("name"))
        return match.name if match else category.text("name")

    def names_of(self, category: Fields) -> tuple[str, ...]:
        return keypoints_of(category) if "keypoints" in category else ()

    def points(self, annotation: Fields, names: tuple[str, ...]) -> dict[str, Point]:
        return annotation.points("keypoints", names) if annotation.value.get("keypoints") else {}

    def group(self, image: Fields) -> str | None:
        """The source COCO photograph, else the clip or video, if the file names one."""
        photograph = image.value.get("coco_id")
        if type(photograph) is int:
            return f"{PHOTOGRAPH}{photograph}"
        return next((image.text(key) for key in GROUP_KEYS if key in image), None)


def folder_sets(root: str | Path) -> list[FolderSet]:
    """The sets under a folder, by name; `DataError` if there is none."""
    source = SourceFolder(root)
    index = _index(source)
    names = sorted(path.name for path in source.root.iterdir() if _is_set(path))
    if not names:
        raise no_sets(source.root)
    return [_folder_set(source.root / name, index.get(name, {})) for name in names]


def read_folder_sets(
    root: str | Path, split: str, *, skipped: Callable[[str, Skipped], None] | None = None
) -> Iterator[Record]:
    """The records of one split of all sets under a folder; each picture's file name is relative to its set's folder.

    `skipped` is called with the set's name and each item that was omitted.
    """
    sets = folder_sets(root)
    splits = {name for folder_set in sets for name in folder_set.splits}
    if split not in splits:
        raise SplitError(f"No set under {quote(root)} has a split {quote(split)}.{did_you_mean(split, splits)}")
    for folder_set in sets:
        if split in folder_set.splits:
            for item in folder_set.read(SourceFolder(folder_set.root), split):
                if isinstance(item, Record):
                    yield item
                elif skipped:
                    skipped(folder_set.name, item)


def is_folder_of_sets(root: Path) -> bool:
    """Whether a folder looks like one that `folder_sets` reads."""
    return root.is_dir() and any(map(_is_set, root.iterdir()))


def no_sets(folder: Path) -> DataError:
    """The error for a folder without labelled sets, e.g. a set's own folder, or a set without pictures."""
    if _is_set(folder):
        return DataError(f"{quote(folder)} is a set itself. Give the folder above it: {quote(folder.resolve().parent)}")
    for place in (folder, *sorted(folder.iterdir() if folder.is_dir() else ())):
        labels = "" if (place / "manifest.json").exists() else _labels_in(place)  # prepared sets have no such folder
        if labels:
            root = folder.parent if place == folder else folder
            return DataError(
                f"{quote(place)} has {labels} but no folder images/. A set has both. Put its pictures into "
                f"{quote(place / 'images')} and give {quote(root.resolve())}"
            )
    return DataError(
        f"{quote(folder)} holds no labelled pictures. It must be a prepared set, a collection, or a folder of sets, "
        "each with train.json or val.json and images/. Make one: xpose data prepare (see docs/data.md)."
    )


def _labels_in(folder: Path) -> str:
    return next((file for file in SPLITS.values() if (folder / file).is_file()), "")


def _is_set(path: Path) -> bool:
    return (path / "images").is_dir() and bool(_labels_in(path))


def _index(source: SourceFolder) -> dict[str, Mapping[str, Any]]:
    if not source.has("index.json"):
        return {}
    entries = source.json("index.json")
    if not isinstance(entries, list):
        raise DataError(f"{quote(source.root / 'index.json')} is not a list of sets. Correct it, or remove it.")
    return {entry["name"]: entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("name"), str)}


@lru_cache(maxsize=4096)
def _head(root: Path, file: str, _size: int, _time: int) -> tuple[list[ObjectKind], Mapping[str, Any]]:
    """The categories and the `info` of a file; cached, since a run opens a folder's sets several times."""
    content = Fields(SourceFolder(root).json(file), f"{root.name}/{file}")
    kinds = []
    for fields in content.objects("categories", "category"):
        names = keypoints_of(fields) if "keypoints" in fields else ()
        kinds.append(ObjectKind(fields.text("name"), names, edges_of(fields, names)[0]))
    info = content.value.get("info")
    return kinds, info if isinstance(info, dict) else {}


def _folder_set(root: Path, entry: Mapping[str, Any]) -> FolderSet:
    source = SourceFolder(root)
    files = {split: file for split, file in SPLITS.items() if source.has(file)}
    kinds: dict[str, ObjectKind] = {}  # of all splits together
    info: Mapping[str, Any] = {}
    for stamp in source.stamped(files.values()):
        listed, of_file = _head(root, *stamp)
        info = info or of_file
        for kind in listed:
            before = kinds.get(kind.name, ObjectKind(kind.name, ()))
            names = tuple(dict.fromkeys((*before.keypoints, *kind.keypoints)))
            kinds[kind.name] = ObjectKind(kind.name, names, (*before.edges, *kind.edges))
    settled = {name: _settle(kind, root.name) for name, kind in kinds.items()}
    skeletons = [skeleton for _, skeleton in settled.values() if skeleton is not None]
    rules: set[LeftRight] = {skeleton.left_right for skeleton in skeletons}
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
            "left_right": rules.pop() if len(rules) == 1 else "disputed" if rules else "none",
            "splits": files,
            "annotation_files": files,
            "needs": tuple(Need(file, "the folder that the set came in", (split,)) for split, file in files.items()),
            "tables": {name: table for name, (table, _) in settled.items()},
            "skeletons": {skeleton.name: skeleton for skeleton in skeletons if skeleton not in list_skeletons()},
        },
    )()


def _settle(kind: ObjectKind, set_name: str) -> tuple[NameTable, Skeleton | None]:
    """The names of a category's points and their skeleton; None for a category that only has boxes.

    If no skeleton of the vocabulary has all the points, the set gets its own. Points keep their names in the file, with
    spaces for underscores, unless the category's usual skeleton has another name for them ("tail_base" of a dog), so
    that two sets use the same name for the same point.
    """
    usual = default_skeleton(kind.name)
    if not kind.keypoints:
        return NameTable(usual.skeleton.name if usual else kind.name, {}, ()), None
    try:
        skeleton = skeleton_for(kind.name, kind.keypoints, set_name)
        return NameTable(skeleton.name, {name: skeleton.point(name).name for name in kind.keypoints}), skeleton
    except UnmappedKeypointError:
        pass
    try:
        named = settle_names(kind, kind.name, usual.skeleton.name if usual else None, None, set_name)
    except DataError:  # two names match one point of the usual skeleton: keep both
        named = settle_names(kind, kind.name, None, None, set_name)
    return named.table, named.skeleton


def skeleton_for(category: str, names: Sequence[str], set_name: str = "") -> Skeleton:
    """The skeleton of the vocabulary for a category with these keypoint names.

    All names must match different points. Several matches are ranked by: no further points, the same order, source
    names, the category, the set's name. `UnmappedKeypointError` if no skeleton has them all.
    """
    chosen = default_skeleton(category)
    default = chosen.skeleton if chosen else load_skeleton(FALLBACK)
    match = find_category(category)
    usual = match.skeletons if match else ()

    def rank(skeleton: Skeleton, places: list[int]) -> tuple[int, ...]:
        source_names = [skeleton.points[place].source_names for place in places]
        return (
            len(places) == len(skeleton),
            places == sorted(places),
            sum(name in of_point for name, of_point in zip(names, source_names, strict=True)),
            skeleton.name in usual,
            set_name in (skeleton.name, *skeleton.also),
            skeleton.name == default.name,
            -len(skeleton),
        )

    # Only exact names: `index` would search for similar ones, which is slow.
    complete = [skeleton for skeleton in list_skeletons() if all(name in skeleton for name in names)]
    placed = [(skeleton, [skeleton.index(name) for name in names]) for skeleton in complete]
    candidates = [(skeleton, places) for skeleton, places in placed if len({*places}) == len(places)]
    if not candidates:
        missing = [name for name in names if name not in default]
        raise UnmappedKeypointError(
            f"The keypoints {', '.join(map(quote, missing[:8]))} of the category {quote(category)} have no unified "
            f"names: no skeleton has all its points, and {quote(default.name)} lacks these. "
            "Add a skeleton file with their source_names: docs/vocabulary.md."
        )
    return max(candidates, key=lambda candidate: rank(*candidate))[0]


def _text(value: object) -> str | None:
    return " ".join(value.split()) or None if isinstance(value, str) else None
