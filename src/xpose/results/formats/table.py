"""The formats for writing results, one row for each.

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

    `encode` makes the content of a file, as text or as values for JSON, from the results of several pictures (or one if
    `single`) and the format's own options.
    """

    name: str  # as in `poses.save(path, name)`
    used_by: str  # programs and people who read it
    encode: Callable[..., object]
    single: bool = False  # whether a file holds only one picture
    keypoint_errors: bool = False  # whether the format keeps them


FORMATS = {
    row.name: row
    for row in (
        ResultFormat("json", "programs", json.to_dict, single=True, keypoint_errors=True),
        ResultFormat("coco", "COCO tools, annotation programs", coco.instances, keypoint_errors=True),
        ResultFormat("coco-results", "COCO evaluators", coco.results, keypoint_errors=True),
        ResultFormat("csv", "spreadsheets", csv.to_csv, keypoint_errors=True),
        ResultFormat("openpose", "ControlNet, ComfyUI", openpose.to_openpose, single=True),
        ResultFormat("yolo", "YOLO-pose training", yolo.encode, single=True),
    )
}


def encoded(results: Sequence[Poses], name: str, **options: object) -> bytes:
    """The content of a file with the results of several pictures; ConfigError if the format cannot hold them."""
    row = FORMATS.get(name)
    if row is None:
        raise ConfigError(
            f"Unknown format {quote(name)}.{did_you_mean(name, FORMATS)} Known formats are {', '.join(FORMATS)}."
        )
    if row.single and len(results) != 1:
        raise ConfigError(f"Got {len(results)} results for one {name} file, which holds exactly one picture.")
    content = row.encode(results[0] if row.single else results, **options)
    text = content if isinstance(content, str) else json.json_text(content, indent=1)
    return text.encode("utf-8", "replace")  # replaces lone surrogates
