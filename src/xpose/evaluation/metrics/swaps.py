"""Left and right: how often a pair of points would be nearer to its labels with the two exchanged."""

from __future__ import annotations

import numpy as np

from xpose.evaluation.metrics.points import Measured, PointRules, average
from xpose.evaluation.names import pairs_of
from xpose.records import Record
from xpose.results import Poses


class Swaps:
    """The share of left-right pairs that are the wrong way round; lower is better, 0.5 is guessing.

    A pair counts where both points are labelled and found; it is swapped where the two distances add up to less with
    the points exchanged. Pairs come from the category's skeleton, else from the words left and right. Whether the
    labels' left is the object's own or the viewer's is the set's rule (`Record.left_right`), so read the numbers by
    set: "swaps/set/NAME". "swaps/objects" is the share of objects with more pairs swapped than not.

    Args:
        rules: which objects, points and poses count; the normaliser does not matter.
    """

    def __init__(self, *, rules: PointRules | None = None) -> None:
        self.rules = rules or PointRules(normaliser="pixel")
        self._pairs: dict[str, list[bool]] = {}  # by set
        self._objects: list[bool] = []

    def update(self, truth: Record, found: Poses) -> None:
        """Take in one picture."""
        for one in self.rules.measure(truth, found):
            swapped = swapped_pairs(one)
            if swapped:
                self._pairs.setdefault(truth.source, []).extend(swapped)
                self._objects.append(2 * sum(swapped) > len(swapped))

    def compute(self) -> dict[str, float]:
        """ "swaps", "swaps/objects", "swaps/set/NAME", and "pairs", how many counted."""
        every = [swapped for pairs in self._pairs.values() for swapped in pairs]
        return {
            "swaps": average(every),
            "swaps/objects": average(self._objects),
            **{f"swaps/set/{name}": average(pairs) for name, pairs in sorted(self._pairs.items())},
            "pairs": float(len(every)),
        }


def swapped_pairs(one: Measured) -> list[bool]:
    """For each left-right pair of an object that is labelled and found: is it the wrong way round?"""
    there = one.counted & np.isfinite(one.aligned.found).all(-1)
    true, found = one.aligned.true, one.aligned.found
    swapped = []
    for a, b in pairs_of(one.instance.category.skeleton, one.aligned.names):
        if there[a] and there[b]:
            straight = np.linalg.norm(found[a] - true[a]) + np.linalg.norm(found[b] - true[b])
            crossed = np.linalg.norm(found[a] - true[b]) + np.linalg.norm(found[b] - true[a])
            swapped.append(bool(crossed < straight))
    return swapped
