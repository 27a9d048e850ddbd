"""Example prompts from annotation files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xpose.errors import PromptError, quote


def example_from_coco(path: Path, annotation_id: int, pictures: Path | None) -> dict[str, Any]:
    """The arguments of a VisualPrompt from one annotation of a COCO keypoint file; see `VisualPrompt.from_coco`."""
    content = _read(path)
    try:
        annotation = next((a for a in content["annotations"] if a.get("id") == annotation_id), None)
        if annotation is None:
            ids = ", ".join(str(a.get("id")) for a in content["annotations"][:5])
            raise PromptError(f"{quote(path)} has no annotation {annotation_id}. Its first ids are: {ids}.")
        image = next(i for i in content["images"] if i["id"] == annotation["image_id"])
        category = next(c for c in content["categories"] if c["id"] == annotation["category_id"])
        triples = zip(*[iter(annotation["keypoints"])] * 3, strict=True)  # x, y, v
        points = {name: (x, y, True) for name, (x, y, v) in zip(category["keypoints"], triples, strict=True) if v > 0}
        numbered = dict(enumerate(category["keypoints"], start=1))  # COCO counts from 1
        pairs = [(numbered[start], numbered[end]) for start, end in category.get("skeleton") or ()]
        edges = [pair for pair in pairs if points.keys() >= set(pair) and len(set(pair)) == 2]
        x, y, width, height = annotation["bbox"]
        label, file_name = category["name"], image["file_name"]
    except (KeyError, TypeError, ValueError, IndexError, StopIteration, AttributeError) as error:
        raise PromptError(
            f"Annotation {annotation_id} of {quote(path)} cannot be used ({type(error).__name__}: {error}). It needs "
            "image_id, category_id, bbox and keypoints, and its category needs keypoint names."
        ) from None
    box = (x, y, x + width, y + height) if width > 0 and height > 0 else None
    picture = _picture(path, str(file_name), pictures)
    return {"image": picture, "keypoints": points, "box": box, "name": str(label), "edges": edges}


def read_points(path: Path) -> dict[str, Any]:
    """Read the file of `xpose detect --points`: {"keypoints": {name: [x, y] or [x, y, visible]}, "box": [...],
    "name": ..., "edges": [[name, name], ...]}, or just the mapping of names. PromptError if the file cannot be read or
    is malformed.
    """
    content = _read(path)
    box = name = None
    edges: Any = ()
    if isinstance(content, dict) and "keypoints" in content:
        box, name, edges = content.get("box"), content.get("name"), content.get("edges") or ()
        content = content["keypoints"]
    if not isinstance(content, (dict, list)) or (not content and box is None):
        raise PromptError(
            f'{quote(path)} has no points. It must hold {{"left eye": [x, y], ...}} or '
            '{"keypoints": {"left eye": [x, y], ...}, "box": [x1, y1, x2, y2]}.'
        )
    return {"keypoints": content, "box": box, "name": name, "edges": edges}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PromptError(f"{quote(path)} cannot be read ({error.strerror}). Check the path.") from None
    except (ValueError, RecursionError) as error:
        raise PromptError(f"{quote(path)} is not valid JSON ({error}). Check the file.") from None


def _picture(annotations: Path, name: str, pictures: Path | None) -> Path:
    folders = [pictures] if pictures is not None else [annotations.parent, annotations.parent / "images"]
    for folder in folders:
        candidate = folder / name
        if candidate.is_file():
            return candidate
    raise PromptError(
        f"The picture {quote(name)} of {quote(annotations)} is not in {', '.join(quote(f) for f in folders)}. "
        "Give their folder: from_coco(..., pictures=FOLDER)."
    )
