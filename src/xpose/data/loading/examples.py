"""Example pictures as prompts: an object of the same category, cut out of another picture, with its points.

An object qualifies if at least half of its points are visible and the longer side of its box has `least_side`
pixels; if fewer than two pictures have such objects of a kind, smaller ones are used.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from xpose.data.loading.pictures import Pictures, move_labels, similarity
from xpose.data.loading.samples import Kind, by_name
from xpose.data.loading.transforms import Colours, vary_colours
from xpose.errors import out_of_range, refuse
from xpose.prompts import MOST_SHOTS

USUAL_SIDE = 224  # of the cut-out in pixels
_SMALLER = (1.0, 0.75, 0.5, 0.375, 0.25, 0.0)  # shares of `least_side`, tried in turn
_TRIED = 64  # instances of a kind from which examples are drawn


@dataclass(frozen=True)
class ExampleSettings:
    """How examples are cut out and varied."""

    shots: tuple[int, int] = (1, MOST_SHOTS)
    side: int | None = None  # of the cut-out in pixels; None: the network's in training, else 224
    margin: float = 1.25  # side of the cut-out relative to the box's longer side
    least_side: float = 64.0  # longer side of the object's box in the stored picture
    flip: float = 0.5
    rotation: float = 25.0
    colours: Colours = Colours(blur=0.0)  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        faults = [f"colours: {fault}" for fault in self.colours.faults()]
        if not 1 <= self.shots[0] <= self.shots[1] <= MOST_SHOTS:
            faults.append(f"shots are {self.shots}, not two numbers from 1 to {MOST_SHOTS}, the smaller one first")
        faults += out_of_range(self, 16, "side") + out_of_range(self, 1, "margin") + out_of_range(self, 0, "least_side")
        faults += out_of_range(self, 0, "flip", high=1) + out_of_range(self, 0, "rotation", high=180)
        refuse("The settings of the examples do", faults)


@dataclass(frozen=True)
class CutOut:
    """An object cut out of a picture."""

    pixels: np.ndarray  # [side, side, 3] RGB bytes
    kind: Kind
    points: np.ndarray  # [K, 3] x, y in continuous pixels of the cut-out, visibility, in the order of the kind's names
    box: np.ndarray  # [4] of the object in the cut-out
    picture: int  # number in the pool
    instance: int

    @property
    def keypoints(self) -> dict[str, tuple[float, float, int]]:
        """The labelled points by name."""
        return by_name(self.kind, self.points)


class ExampleFinder:
    """Finds and cuts out examples for the kinds of a pool."""

    def __init__(self, pictures: Pictures, settings: ExampleSettings) -> None:
        self.pictures, self.settings = pictures, settings
        pool = pictures.pool
        self._picture_of = pool.picture_of()
        sides = (pool.boxes[:, 2:] - pool.boxes[:, :2]).max(1, initial=0)
        seen = pool.visible_counts()
        fit = ~pool.crowd & (2 * seen >= pool.lengths[pool.kind_of]) & (seen > 0)
        self.fit: list[np.ndarray] = []  # suitable instances by kind
        for kind in range(len(pool.kinds)):
            instances = np.flatnonzero(fit & (pool.kind_of == kind))
            for share in _SMALLER:
                large = instances[sides[instances] >= share * settings.least_side]
                if len(np.unique(self._picture_of[large])) >= 2:
                    break
            self.fit.append(large)

    def find(self, rng: np.random.Generator, kind: int, shots: int, without: Collection[int]) -> list[int]:
        """Up to `shots` instances of a kind, from different pictures if there are enough, none from `without`."""
        instances, excluded = self.fit[kind], list(without)
        few = len(instances) <= _TRIED
        order = rng.permutation(instances) if few else rng.choice(instances, _TRIED, replace=False)
        order = order[~np.isin(self._picture_of[order], excluded)]
        if not len(order) and not few:
            order = rng.permutation(instances[~np.isin(self._picture_of[instances], excluded)])
        _, first = np.unique(self._picture_of[order], return_index=True)
        distinct = order[np.sort(first)]
        chosen = distinct if len(distinct) >= shots else np.concatenate((distinct, np.setdiff1d(order, distinct)))
        return [int(instance) for instance in chosen[:shots]]

    def cut(self, rng: np.random.Generator, instance: int) -> CutOut:
        """A randomly varied cut-out of one instance."""
        settings, pool = self.settings, self.pictures.pool
        number = int(self._picture_of[instance])
        row = instance - int(pool.first[number])
        box = pool.boxes[instance].astype(np.float64)
        mirror = bool(rng.random() < settings.flip)
        degrees = float(rng.uniform(-1, 1)) * settings.rotation
        side = settings.side or USUAL_SIDE
        scale = side / max(1e-3, settings.margin * float((box[2:] - box[:2]).max()))
        matrix = similarity(scale, degrees, mirror, tuple((box[:2] + box[2:]) / 2), (side / 2, side / 2))
        labels = pool.labels(number).take(np.array([row]))
        labels = move_labels(labels, matrix, (side, side), mirror=mirror, least_share=0.0, least_side=0.0)
        shown = vary_colours(self.pictures.warped(number, matrix, (side, side)), settings.colours, rng)
        kind = labels.kinds[labels.label[0]]
        return CutOut(shown, kind, labels.points[0, : len(kind)], labels.boxes[0], number, instance)
