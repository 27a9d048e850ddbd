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

    `encode` makes the content of a file, as text or as values for JSON, from the results of several pictures and the
    format's own options; or a list of contents, if each picture has its own file.
    """

    name: str  # as in `poses.save(path, name)`, and of the option of `xpose detect`
    used_by: str  # programs and people who read it
    file: str  # its path in a folder of results; "{picture}" stands for the name of each picture
    encode: Callable[..., object]
    keypoint_errors: bool = False  # whether the format keeps them
    shared: Callable[..., dict[str, str]] | None = None  # the further files of a folder

    @property
    def single(self) -> bool:
        """Whether a file holds only one picture."""
        return "{picture}" in self.file


FORMATS = {
    row.name: row
    for row in (
        ResultFormat("json", "programs", "{picture}.json", json.encode, True),
        ResultFormat("coco", "COCO tools, annotation programs", "poses.json", coco.instances, True),
        ResultFormat("coco-results", "COCO evaluators", "poses-results.json", coco.results, True),
        ResultFormat("csv", "spreadsheets", "poses.csv", csv.to_csv, True),
        ResultFormat("openpose", "ControlNet, ComfyUI", "{picture}_keypoints.json", openpose.encode),
        ResultFormat("yolo", "YOLO-pose training", "labels/{picture}.txt", yolo.encode, shared=yolo.shared),
    )
}


def encoded(results: Sequence[Poses], name: str, **options: object) -> bytes:
    """The content of a file with the results of several pictures; ConfigError if the format cannot hold them."""
    row = _row(name)
    if row.single and len(results) != 1:
        raise ConfigError(f"Got {len(results)} results for one {name} file, which holds exactly one picture.")
    content = row.encode(results, **options)
    return _bytes(content[0] if row.single and isinstance(content, list) else content)


def files(results: Sequence[Poses], pictures: Sequence[str], name: str, **options: object) -> list[tuple[str, bytes]]:
    """The path and content of each file in a folder of results, in the order of the pictures, whose names are given."""
    row = _row(name)
    content = row.encode(results, **options)
    contents = content if row.single and isinstance(content, list) else [content]
    paths = [row.file.format(picture=picture) for picture in pictures] if row.single else [row.file]
    shared = {} if row.shared is None else row.shared(results, **options)
    return [(path, _bytes(value)) for path, value in [*zip(paths, contents, strict=True), *shared.items()]]


def _row(name: str) -> ResultFormat:
    if name not in FORMATS:
        raise ConfigError(
            f"Unknown format {quote(name)}.{did_you_mean(name, FORMATS)} Known formats are {', '.join(FORMATS)}."
        )
    return FORMATS[name]


def _bytes(content: object) -> bytes:
    text = content if isinstance(content, str) else json.json_text(content, indent=1)
    return text.encode("utf-8", "replace")  # replaces lone surrogates
