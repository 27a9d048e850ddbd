"""Drawn objects with known keypoints: what `xpose.data.synthetic.scenes` puts into its pictures.

Adding a kind: write a function `(rng) -> Figure` in the module it belongs to, a row in `KINDS`, a skeleton file of the
name `toy_KIND`, and a row in the categories. The tests check the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from xpose.data.synthetic.toys.articulated import draw_person, draw_quadruped
from xpose.data.synthetic.toys.figure import Figure
from xpose.data.synthetic.toys.plant import draw_plant
from xpose.data.synthetic.toys.rigid import draw_car, draw_crate
from xpose.data.synthetic.toys.soft import draw_face, draw_fish

# Kind -> the function that draws one, different each time. Its category is "toy KIND", its skeleton "toy_KIND".
KINDS: Mapping[str, Callable[[np.random.Generator], Figure]] = {
    "person": draw_person,
    "quadruped": draw_quadruped,
    "car": draw_car,
    "crate": draw_crate,
    "face": draw_face,
    "fish": draw_fish,
    "plant": draw_plant,
}

__all__ = ["KINDS", "Figure"]
