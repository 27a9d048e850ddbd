"""The formats that results can be written in, one row for each.

`Poses.save`, the command line and the documentation read this table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xpose.errors import ConfigError, did_you_mean, quote
from xpose.results.formats import coco, csv, json, openpose, yolo

if TYPE_CHECKING:
    from xpose.results.poses import Poses


@dataclass(frozen=True)
class ResultFormat:
    """One format.

    Attributes:
        name: as in `poses.save(path, name)`.
        used_by: programs and people who read it.
        encode: the content of a file with the results of several pictures, from them and the format's own options.
        single: whether a file holds only one picture.
        keypoint_errors: whether the format keeps them.
    """

    name: str
    used_by: str
    encode: Callable[..., str | bytes]
    single: bool = False
    keypoint_errors: bool = False


FORMATS = {
    row.name: row
    for row in (
        ResultFormat("json", "programs", json.encode, single=True, keypoint_errors=True),
        ResultFormat("coco", "COCO tools, annotation programs", coco.encode, keypoint_errors=True),
        ResultFormat("coco-results", "COCO evaluators", coco.encode_results, keypoint_errors=True),
        ResultFormat("csv", "spreadsheets", csv.to_csv, keypoint_errors=True),
        ResultFormat("openpose", "ControlNet, ComfyUI", openpose.encode, single=True),
        ResultFormat("yolo", "YOLO-pose training", yolo.encode, single=True),
    )
}


def encoded(results: Sequence[Poses], name: str, **options: object) -> bytes:
    """The content of a file with the results of several pictures.

    Raises:
        ConfigError: the format is unknown, holds only one picture, or cannot hold these results.
    """
    row = FORMATS.get(name)
    if row is None:
        raise ConfigError(
            f"Unknown format {quote(name)}.{did_you_mean(name, FORMATS)} Known formats are {', '.join(FORMATS)}."
        )
    if row.single and len(results) != 1:
        raise ConfigError(
            f"Got {len(results)} results for one {name} file, which holds exactly one picture. Write a file for each."
        )
    content = row.encode(results, **options)
    return content.encode("utf-8", "replace") if isinstance(content, str) else content  # half a character has no bytes
