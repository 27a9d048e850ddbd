"""The best and the worst pictures of a run, labels beside answers, as small JPEGs inside the page."""

from __future__ import annotations

import dataclasses
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from xpose.errors import XPoseError
from xpose.evaluation.matching import as_poses
from xpose.evaluation.questions import Question, Task
from xpose.evaluation.scores import ObjectScore, mean
from xpose.pages import embedded
from xpose.results import Poses

MOST, PER_GROUP = 8, 2
SIDE = 380  # pixels, longer side of a picture in the page
_QUALITY = 82
_QUESTIONS = 4  # whose answers are drawn in one picture


@dataclass(frozen=True)
class GalleryPicture:
    """A question whose answer is shown: its share of near points, and once drawn the pictures' addresses and words."""

    task: str
    group: str
    share: float
    labels: str = ""
    answer: str = ""
    words: str = ""


def choose(objects: Sequence[ObjectScore], threshold: float, *, best: bool) -> list[GalleryPicture]:
    """Pictures with the highest or lowest mean share of points within the threshold, few of each group.

    Ties go to the smaller (or larger) mean error, then to the name, so that the same run shows the same pictures.
    """
    pictures: dict[tuple[str, str], list[ObjectScore]] = {}
    for one in objects:
        pictures.setdefault((one.group, one.task), []).append(one)
    ranked = []
    for (group, task), scores in pictures.items():
        share = mean(one.share(threshold) for one in scores)
        error = mean(float(np.minimum(one.values, 9.0).mean()) for one in scores)
        ranked.append(((-share, error) if best else (share, -error), task, GalleryPicture(task, group, share)))
    taken: Counter[str] = Counter()
    kept: list[GalleryPicture] = []
    for _, _, candidate in sorted(ranked, key=lambda item: item[:2]):
        if taken[candidate.group] < PER_GROUP and len(kept) < MOST:
            taken[candidate.group] += 1
            kept.append(candidate)
    return kept


def draw(chosen: Sequence[GalleryPicture], answered: Iterable[tuple[Task, tuple[Poses, ...]]]) -> list[GalleryPicture]:
    """The chosen pictures with labels and answers drawn, in their order; unreadable ones are left out."""
    wanted = {one.task: one for one in chosen}
    drawn: dict[str, GalleryPicture] = {}
    for task, answers in answered:
        if task.key in wanted and task.key not in drawn:
            picture = _drawn(wanted[task.key], task, answers)
            if picture is not None:
                drawn[task.key] = picture
    return [drawn[one.task] for one in chosen if one.task in drawn]


def _drawn(chosen: GalleryPicture, task: Task, answers: tuple[Poses, ...]) -> GalleryPicture | None:
    pairs = [(q, a) for q, a in zip(task.questions, answers, strict=True) if q.group == chosen.group]
    pairs = [(q, a) for q, a in pairs if q.variant == pairs[0][0].variant][:_QUESTIONS]
    if not pairs:
        return None
    try:
        pixels = task.pixels()
    except XPoseError:
        return None
    labels = Poses.concatenate([as_poses(question.truth) for question, _ in pairs])
    answer = Poses.concatenate([found[: _count(question)] for question, found in pairs])
    words = ", ".join(dict.fromkeys(one.called for question, _ in pairs for one in question.asked))
    return dataclasses.replace(chosen, labels=_jpeg(pixels, labels), answer=_jpeg(pixels, answer), words=words)


def _count(question: Question) -> int | None:
    """How many answers are drawn: as many as may stand for an object, all where a question sets no limit."""
    one_each = max(1, len(question.truth.instances)) if question.trim else None
    return question.matched or question.most or one_each


def _jpeg(pixels: np.ndarray, poses: Poses) -> str:
    """A drawing as the address of an image in a page."""
    factor = min(1.0, SIDE / max(pixels.shape[:2]))
    small = Image.fromarray(pixels)
    size = (max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
    small = small.resize(size, Image.Resampling.BILINEAR) if factor < 1 else small
    scale = np.array([size[0] / pixels.shape[1], size[1] / pixels.shape[0]])
    # Half a pixel more: drawing counts continuously, as results do. All points are drawn, since all are scored.
    placed = dataclasses.replace(
        poses,
        visibility=np.where(np.isfinite(poses.xy).all(-1), np.maximum(poses.visibility, 1), 0),
        xy=(poses.xy + 0.5) * scale,
        boxes=poses.boxes * np.tile(scale, 2),
        image_size=(size[1], size[0]),
        source=None,
    )
    stream = io.BytesIO()
    placed.draw(small, labels=False, legend="none").convert("RGB").save(stream, "JPEG", quality=_QUALITY)
    return embedded(stream.getvalue())
