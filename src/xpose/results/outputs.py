"""The methods of `Poses` that turn it into other formats, kept apart so that `poses.py` stays about the poses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from xpose.results.poses import Poses


class Outputs:
    """What `Poses` can become and how it is saved; every file appears whole or not at all."""

    @property
    def _poses(self) -> Poses:
        return cast("Poses", self)

    def save(self, path: str | Path, format: str = "json", **options: object) -> None:
        """Write a file in one step; several pictures in one file: `xpose.results.formats.table.encoded`.

        Args:
            path: the file; a missing folder is created.
            format: a name in `xpose.results.formats.table.FORMATS`: json, coco, csv, openpose or yolo.
            options: those of the format, such as `image_ids` and `category_ids` of coco or `layout` of openpose.

        Raises:
            ConfigError: the format is unknown.
            XPoseError: the file cannot be written; what stood there before is untouched.
        """
        from xpose.pictures.atomic import write_bytes
        from xpose.results.formats.table import encoded

        write_bytes(Path(path), encoded([self._poses], format, **options))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: never NaN; a point that is not there has x and y None and v 0."""
        from xpose.results.formats.json import to_dict

        return to_dict(self._poses)

    def to_json(self, indent: int | None = None) -> str:
        """`to_dict` as JSON in ASCII, so that it passes any terminal and file."""
        from xpose.results.formats.json import encode

        return encode([self._poses], indent=indent)

    def to_coco(self, image_id: int = 1, category_ids: Mapping[str, int] | None = None) -> dict[str, Any]:
        """A COCO instances file; several pictures: `xpose.results.formats.coco.instances`."""
        from xpose.results.formats import coco

        return coco.instances([self._poses], image_ids=[image_id], category_ids=category_ids)

    def to_coco_results(
        self,
        image_id: int = 1,
        category_ids: Mapping[str, int] | None = None,
        kind: Literal["keypoints", "boxes"] = "keypoints",
    ) -> list[dict[str, Any]]:
        """COCO results, as the evaluators read them; several pictures: `xpose.results.formats.coco.results`."""
        from xpose.results.formats import coco

        return coco.results([self._poses], image_ids=[image_id], category_ids=category_ids, kind=kind)

    def to_csv(self) -> str:
        """A table with one row for each point; several pictures: `xpose.results.formats.csv.to_csv`."""
        from xpose.results.formats.csv import to_csv

        return to_csv([self._poses])

    def to_openpose(self, layout: Literal["body_18", "body_25"] = "body_18") -> dict[str, Any]:
        """OpenPose's JSON, as ControlNet and ComfyUI read it; see `xpose.results.formats.openpose`."""
        from xpose.results.formats import openpose

        return openpose.to_openpose(self._poses, layout)

    def to_yolo(self) -> str:
        """YOLO-pose label lines; a whole data set with its yaml: `xpose.results.formats.yolo`."""
        from xpose.results.formats import yolo

        return yolo.encode([self._poses])

    def to_supervision(self, kind: Literal["keypoints", "boxes"] = "keypoints") -> Any:
        """A `supervision.KeyPoints`, or with "boxes" a `supervision.Detections`.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        from xpose.results.formats import supervision

        return supervision.to_supervision(self._poses, kind)
