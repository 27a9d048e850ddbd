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

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: never NaN; a point that is not there has x and y None and v 0."""
        from xpose.results.formats.json import to_dict

        return to_dict(self._poses)

    def to_json(self, indent: int | None = None) -> str:
        """`to_dict` as JSON; other than ASCII characters are escaped, so that it passes any terminal and file."""
        from xpose.results.formats.json import to_json

        return to_json(self._poses, indent)

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

        return yolo.labels(self._poses, yolo.layout_of([self._poses]))

    def to_supervision(self, kind: Literal["keypoints", "boxes"] = "keypoints") -> Any:
        """A `supervision.KeyPoints`, or with "boxes" a `supervision.Detections`.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        from xpose.results.formats import supervision

        return supervision.to_supervision(self._poses, kind)

    def save_json(self, path: str | Path) -> None:
        """Write `to_json`; like every save it appears whole or not at all."""
        self._save(path, self.to_json(indent=1))

    def save_coco(self, path: str | Path, image_id: int = 1, category_ids: Mapping[str, int] | None = None) -> None:
        """Write `to_coco`."""
        from xpose.results.formats.json import json_text

        self._save(path, json_text(self.to_coco(image_id, category_ids)))

    def save_csv(self, path: str | Path) -> None:
        """Write `to_csv`."""
        self._save(path, self.to_csv())

    def save_openpose(self, path: str | Path, layout: Literal["body_18", "body_25"] = "body_18") -> None:
        """Write `to_openpose`."""
        from xpose.results.formats.json import json_text

        self._save(path, json_text(self.to_openpose(layout)))

    def save_yolo(self, path: str | Path) -> None:
        """Write `to_yolo`."""
        self._save(path, self.to_yolo())

    def _save(self, path: str | Path, text: str) -> None:
        from xpose.pictures.atomic import write_text

        write_text(Path(path), text)
