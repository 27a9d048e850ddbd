"""COCO's own evaluator on the same pictures, as the answer to compare with."""

from __future__ import annotations

import contextlib
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

POSES = ["AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L"]
BOXES = ["AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L", "AR_1", "AR_10", "AR", "AR_S", "AR_M", "AR_L"]


def coco_files(pictures, categories):
    """What an annotation file and the two results files would hold for these pictures; ids by place."""
    ids = {category.name: number for number, category in enumerate(categories, start=1)}
    content = {
        "images": [{"id": number} for number in range(1, len(pictures) + 1)],
        "categories": [{"id": ids[one.name], "name": one.name, "keypoints": list(one.keypoints)} for one in categories],
        "annotations": [],
    }
    poses, boxes = [], []
    for number, (truth, found) in enumerate(pictures, start=1):
        for one in truth.instances:
            points = [one.point(name) for name in one.category.keypoints]
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": number,
                    "category_id": ids[one.category.name],
                    "bbox": list(one.box),
                    "area": one.box[2] * one.box[3] if one.area is None else one.area,
                    "iscrowd": int(one.iscrowd),
                    "keypoints": [value for point in points for value in point],
                    "num_keypoints": sum(v > 0 for *_, v in points),
                }
            )
        for row in range(len(found)):
            if found.categories[row] not in ids:
                continue
            x1, y1, x2, y2 = found.boxes[row].astype(float).tolist()
            xy = np.nan_to_num(found.xy[row, : len(found.keypoint_names[row])].astype(float))
            entry = {
                "image_id": number,
                "category_id": ids[found.categories[row]],
                "score": float(found.scores[row]),
            }
            boxes.append({**entry, "bbox": [x1, y1, x2 - x1, y2 - y1]})
            poses.append({**entry, "keypoints": [value for x, y in xy.tolist() for value in (x, y, 2)]})
    return content, poses, boxes


def coco_numbers(content, results, kind, sigmas=None):
    """COCO's numbers; `sigmas` is a list for each category. Every category is run alone, then joined as COCO joins."""
    if not results:
        return None
    with contextlib.redirect_stdout(io.StringIO()):
        labels = COCO()
        labels.dataset = content
        labels.createIndex()
        answers = labels.loadRes(results)
        tables = []
        for number in sorted(labels.getCatIds()):
            evaluator = COCOeval(labels, answers, kind)
            evaluator.params.catIds = [number]
            if sigmas is not None:
                evaluator.params.kpt_oks_sigmas = np.array(sigmas[number - 1])
            evaluator.evaluate()
            evaluator.accumulate()
            tables.append(evaluator.eval)
        evaluator.eval["precision"] = np.concatenate([one["precision"] for one in tables], axis=2)
        evaluator.eval["recall"] = np.concatenate([one["recall"] for one in tables], axis=1)
        evaluator.summarize()
    return dict(zip(POSES if kind == "keypoints" else BOXES, evaluator.stats.tolist(), strict=True))
