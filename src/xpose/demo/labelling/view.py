"""The picture of the labelling page as SVG: its objects with marks to drag, which keep their size when zoomed.

Names of keypoints come from users and are escaped here.
"""

from __future__ import annotations

from html import escape

from xpose.demo.labelling.objects import LabelledObject, LabelledPicture, Mark
from xpose.drawing.figures import SIDES, edge_side
from xpose.vocabulary import side_of

Edges = tuple[tuple[str, str], ...]
_DOT = '<path class="{}" d="M0 0h.001"/>'  # a line with round ends: the width of a line does not change with the zoom


def draw(labels: LabelledPicture, edges: Edges, address: str, following: str) -> str:
    """The picture at an address with its labels; the browser also loads the one that follows."""
    size = f'width="{labels.width}" height="{labels.height}"'
    # The selected object is on top.
    order = sorted(range(len(labels.objects)), key=lambda number: number == labels.at)
    return (
        f'<svg viewBox="0 0 {labels.width} {labels.height}" data-picture="{escape(address)}" '
        f'data-following="{escape(following)}"><image href="{escape(address)}" {size} preserveAspectRatio="none"/>'
        f"{''.join(_object(labels, number, edges) for number in order)}</svg>"
    )


def _object(labels: LabelledPicture, number: int, edges: Edges) -> str:
    labelled, selected = labels.objects[number], number == labels.at
    classes = "object" + " selected" * selected + " proposed" * labelled.proposed
    lines = "".join(_edge(labelled, start, end) for start, end in edges)
    marks = "".join(
        _mark(number, labels.names.index(name) + 1, name, mark, selected and name == labels.current)
        for name, mark in labelled.marks.items()
    )
    return f'<g class="{classes}">{_box(labelled, labels) if labelled.marks else ""}{lines}{marks}</g>'


def _box(labelled: LabelledObject, labels: LabelledPicture) -> str:
    x1, y1, x2, y2 = labelled.bounds(labels.width, labels.height)
    return f'<rect x="{x1:g}" y="{y1:g}" width="{x2 - x1:g}" height="{y2 - y1:g}"/>'


def _edge(labelled: LabelledObject, start: str, end: str) -> str:
    a, b = labelled.points.get(start), labelled.points.get(end)
    if a is None or b is None:
        return ""
    colour = _colour(edge_side(side_of(start), side_of(end)))
    return f'<line x1="{a.x:g}" y1="{a.y:g}" x2="{b.x:g}" y2="{b.y:g}" style="{colour}"/>'


def _mark(number: int, place: int, name: str, mark: Mark, current: bool) -> str:
    """A mark with the number of its keypoint, and its name while the pointer is on it or it is selected."""
    dots = ["rim", "dot", *([] if mark.visible else ["hole"])]
    title = escape(name if mark.visible else f"{name} (hidden)")
    return (
        f'<g class="mark{" current" * current}" data-object="{number}" data-name="{escape(name)}" '
        f'transform="translate({mark.x:g} {mark.y:g})" style="{_colour(side_of(name))}">'
        f'{"".join(map(_DOT.format, dots))}<text x="9" y="-7">{place}<tspan> {title}</tspan></text></g>'
    )


def _colour(side: str) -> str:
    return f"--side: rgb{SIDES[side]}".replace(" ", "").replace("--side:", "--side: ")
