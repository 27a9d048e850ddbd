"""The categories that weights have learned, stored in `categories.json` next to the weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpose.errors import ConfigError, VocabularyError, first_line, quote
from xpose.model.config import read_settings
from xpose.pictures.atomic import write_text
from xpose.records import Category
from xpose.vocabulary import Skeleton, load_skeleton
from xpose.vocabulary.reading import build_skeleton
from xpose.vocabulary.skeleton import SkeletonSource

CATEGORIES_FILE = "categories.json"
_FORMAT = "xpose-categories-1"


Key = tuple[str, str]  # name and skeleton, which distinguish the categories of weights


@dataclass(frozen=True)
class Quality:
    """What was measured for a category.

    Attributes:
        measures: shares of 1 by name, such as "text PCK@0.2".
        objects: the number of objects that they were measured on.
    """

    measures: Mapping[str, float]
    objects: int


@dataclass(frozen=True)
class LearnedCategory:
    """A category that weights have learned, with the keypoints of one skeleton.

    Attributes:
        name: the word for it.
        skeleton: the name of its skeleton, in the vocabulary or of the labels.
        keypoints: the keypoints that were labelled; empty if only boxes were.
        edges: pairs of keypoints.
        objects: the number of labelled objects among the training pictures.
        quality: what was measured; None if nothing was.

    Raises:
        ConfigError: the keypoints or edges contradict each other.
    """

    name: str
    skeleton: str
    keypoints: tuple[str, ...]
    edges: tuple[tuple[str, str], ...] = ()
    objects: int = 0
    quality: Quality | None = None

    def __post_init__(self) -> None:
        if faults := Category(self.name, self.skeleton, self.keypoints, self.edges).faults():
            raise ConfigError(f"The learned category {quote(self.name)} does not fit: {'; '.join(faults)}.")

    @property
    def key(self) -> Key:
        """Its name and skeleton."""
        return self.name, self.skeleton

    def as_skeleton(self) -> Skeleton:
        """The keypoints and edges as a skeleton: that of the vocabulary, as far as it was learned, or another one."""
        if not self.skeleton.endswith(".toml"):  # a path is never opened: the name can come from an annotation file
            with suppress(VocabularyError):
                known = load_skeleton(self.skeleton)
                if self.keypoints and {*self.keypoints} <= {*known.keypoints}:
                    return dataclasses.replace(known.subset(self.keypoints), edges=self.edges)
        table = {"title": self.name, "keypoints": list(self.keypoints), "edges": [list(edge) for edge in self.edges]}
        built, _ = build_skeleton(table, self.skeleton)
        source = SkeletonSource(*("the training data",) * 5)
        return built or Skeleton(self.skeleton, self.name, (), (), "none", source)  # without keypoints, a box


def read_categories(folder: Path) -> tuple[LearnedCategory, ...]:
    """The categories of a weight folder, the usual skeleton of each word first; none for folders without the file.

    Raises:
        ConfigError: the file is damaged.
    """
    file = folder / CATEGORIES_FILE
    if not file.is_file():
        return ()
    values = read_settings(file.read_text(encoding="utf-8"), quote(file), _FORMAT)
    try:
        return tuple(map(_category, values["categories"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{quote(file)} is damaged ({type(error).__name__}: {first_line(error)}). Take the file from the original "
            "weights again, or remove it."
        ) from None


def write_categories(folder: Path, categories: Sequence[LearnedCategory]) -> None:
    """Write `categories.json` into a weight folder atomically, one category per line; no file if there are none.

    Raises:
        XPoseError: the file cannot be written.
    """
    if not categories:
        (folder / CATEGORIES_FILE).unlink(missing_ok=True)
        return
    rows = ",\n".join(f"    {json.dumps(_row(category), ensure_ascii=False)}" for category in categories)
    write_text(folder / CATEGORIES_FILE, f'{{\n  "format": "{_FORMAT}",\n  "categories": [\n{rows}\n  ]\n}}\n')


def with_quality(categories: Iterable[LearnedCategory], quality: Mapping[Key, Quality]) -> tuple[LearnedCategory, ...]:
    """The categories with this quality, as far as it is known."""
    return tuple(
        dataclasses.replace(category, quality=quality.get(category.key, category.quality)) for category in categories
    )


def _row(category: LearnedCategory) -> dict[str, Any]:
    row = dataclasses.asdict(category)
    if category.quality is None:
        del row["quality"]
    else:
        row["quality"]["measures"] = {name: round(value, 4) for name, value in category.quality.measures.items()}
    return row


def _category(row: Mapping[str, Any]) -> LearnedCategory:
    quality = row.get("quality")
    return LearnedCategory(
        name=str(row["name"]),
        skeleton=str(row["skeleton"]),
        keypoints=tuple(map(str, row["keypoints"])),
        edges=tuple((str(start), str(end)) for start, end in row["edges"]),
        objects=int(row["objects"]),
        quality=quality and Quality(_measures(quality["measures"]), int(quality["objects"])),
    )


def _measures(values: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in values.items()}
