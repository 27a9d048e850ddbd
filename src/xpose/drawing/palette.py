"""The colours of all drawings.

Those of the left side, the right side and the middle are from the palette of Okabe and Ito, which people with common
forms of colour blindness can tell apart.
"""

from __future__ import annotations

Colour = tuple[int, int, int]

LEFT: Colour = (0, 114, 178)  # blue
RIGHT: Colour = (213, 94, 0)  # vermilion
MIDDLE: Colour = (0, 140, 104)  # bluish green, a little darker than the original to be read on white
SIDES: dict[str, Colour] = {"left": LEFT, "right": RIGHT, "middle": MIDDLE}

PAPER: Colour = (255, 255, 255)
INK: Colour = (34, 34, 34)
FAINT: Colour = (120, 120, 120)
RULE: Colour = (222, 222, 222)


def edge_side(start: str, end: str) -> str:
    """The side of an edge with ends on these sides; an edge between the middle and a side belongs to that side."""
    sides = {start, end} - {"middle"}
    return sides.pop() if len(sides) == 1 else "middle"
