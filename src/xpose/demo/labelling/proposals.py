"""Proposals: what a network detects, or what a results file states, as objects to accept or correct."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xpose.demo.labelling.label_file import FileContent, SavedPicture, object_of
from xpose.demo.labelling.objects import LabelledObject
from xpose.errors import DataError, quote
from xpose.pictures import shared_end
from xpose.prompts import TextPrompt
from xpose.records import Category
from xpose.vocabulary import Skeleton, list_skeletons, normalise

if TYPE_CHECKING:
    from xpose.inference import Detector


class Proposer:
    """Proposes objects: those of a results file for the pictures it lists, otherwise what the network detects."""

    def __init__(
        self, detector: Detector, category: Category, results: Mapping[str, SavedPicture] | None = None
    ) -> None:
        self.detector, self.category, self.results = detector, category, results or {}
        prompt = TextPrompt(category.name, skeleton_of(category), category.keypoints)
        self._prompts = detector.encode_prompts(prompt)

    def __call__(self, name: str, pixels: np.ndarray) -> tuple[LabelledObject, ...]:
        """The proposed objects for a picture, best first."""
        height, width = pixels.shape[:2]
        if (listed := self.results.get(name)) is not None:
            across, down = width / listed.width, height / listed.height
            if abs(across / down - 1) > 0.02:
                raise DataError(
                    f"The results list it with {listed.width} x {listed.height} pixels, but it has {width} x {height}, "
                    "which is another shape."
                )
            objects = [item.scaled(across, down) for item in listed.objects]
        else:
            objects = [object_of(pose) for pose in self.detector.detect(pixels, self._prompts)]
        return tuple(item.within(width, height) for item in objects)


def skeleton_of(category: Category) -> Skeleton | None:
    """The skeleton of the vocabulary that has exactly the keypoints of the category, if there is one."""
    return next((skeleton for skeleton in list_skeletons() if _used(skeleton) == category.keypoints), None)


def _used(skeleton: Skeleton) -> tuple[str, ...]:
    return tuple(point.name for point in skeleton.points if not point.unused)


def results_for(content: FileContent, category: Category, names: list[str], path: Path) -> dict[str, SavedPicture]:
    """The objects of a results file for each picture of a folder that it lists, with the category's keypoint names.

    File names may have other folders before them. `DataError` if the file has nothing for the category or the folder.
    """
    own = [kind for kind in content if normalise(kind.name) == normalise(category.name)]
    if not own:
        named = ", ".join(quote(kind.name) for kind in content) or "none"
        raise DataError(f"{quote(path)} has no category {quote(category.name)}. Its categories: {named}. Use -t.")
    spelling = {normalise(name): name for name in category.keypoints}
    by_last: dict[str, list[str]] = {}
    for name in names:
        by_last.setdefault(name.rpartition("/")[2], []).append(name)
    matched: dict[str, SavedPicture] = {}
    for kind in own:
        if not any(normalise(name) in spelling for name in kind.keypoints):
            raise DataError(
                f"{quote(path)} has none of the keypoints {', '.join(category.keypoints[:8])}. It has "
                f"{', '.join(kind.keypoints[:8])}. Name the same keypoints with --keypoints or --skeleton."
            )
        for file_name, picture in content[kind].items():
            path_of = file_name.replace("\\", "/")
            match = _matching(path_of, by_last.get(path_of.rpartition("/")[2], ()))
            if match is not None:
                objects = tuple(_renamed(item, spelling) for item in picture.objects)
                before = matched.get(match, SavedPicture(picture.width, picture.height, ()))
                matched[match] = replace(before, objects=(*before.objects, *objects))
    if not matched:
        listed = next((name for kind in own for name in content[kind]), "none")
        raise DataError(
            f"{quote(path)} lists no picture of the folder. It names {quote(listed)}, for example; the folder holds "
            f"{quote(names[0])}. Give the results for these pictures."
        )
    return matched


def _matching(file_name: str, names: Iterable[str]) -> str | None:
    """The name of the path with the longest end in common with `file_name`; None without a single one."""
    shared = {name: shared_end(file_name.split("/"), name.split("/")) for name in names}
    best = [name for name, depth in shared.items() if depth == max(shared.values())]
    return best[0] if len(best) == 1 else None


def _renamed(labelled: LabelledObject, spelling: Mapping[str, str]) -> LabelledObject:
    points = {spelling[key]: mark for name, mark in labelled.points.items() if (key := normalise(name)) in spelling}
    return replace(labelled, points=points, proposed=True)
