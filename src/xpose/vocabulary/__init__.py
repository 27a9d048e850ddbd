"""The vocabulary: skeletons as data (one TOML file each), categories with default skeletons, text templates.

To add a skeleton, copy the most similar file in `skeletons/`, edit it, and run `xpose skeletons NAME --draw out.png`
to look at it. The tests check every file in the folder. docs/vocabulary.md describes the format.
"""

from __future__ import annotations

from xpose.vocabulary.categories import (
    CategoryEntry,
    check_part,
    default_skeleton,
    find_category,
    list_categories,
    taxonomy_coverage,
)
from xpose.vocabulary.names import flip_name, normalise, side_of, sigma_for
from xpose.vocabulary.reading import keypoint_sigmas, list_skeletons, load_skeleton
from xpose.vocabulary.skeleton import Skeleton
from xpose.vocabulary.templates import (
    bare_object_text,
    hierarchical_text,
    released_keypoint_text,
    released_object_text,
)

__all__ = [
    "CategoryEntry",
    "Skeleton",
    "bare_object_text",
    "check_part",
    "default_skeleton",
    "find_category",
    "flip_name",
    "hierarchical_text",
    "keypoint_sigmas",
    "list_categories",
    "list_skeletons",
    "load_skeleton",
    "normalise",
    "released_keypoint_text",
    "released_object_text",
    "side_of",
    "sigma_for",
    "taxonomy_coverage",
]
