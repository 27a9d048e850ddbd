"""The legend: what it lists, where it is, and that its size depends on the run and not on what was detected."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.drawing.test_overlay import at, drawn, figure, sheet

from xpose.drawing.figures import SIDES, Figure, FigureClass, LegendPlace
from xpose.drawing.legend import arranged, name_entries, side_entries
from xpose.drawing.overlay import Style, draw_figures
from xpose.errors import PromptError
from xpose.results import Poses

CAT = figure(xy=np.array([[200.0, 150], [400, 150], [300, 350]]), box=(150.0, 100.0, 450.0, 400.0))
BELOW = Style(boxes=False, labels=False, legend="below")
INSIDE = Style(boxes=False, labels=False, legend="inside")


def everywhere(count: int = 144, side: str = "left") -> Figure:
    """A figure with keypoints all over a picture of 640 x 480."""
    grid = np.stack(np.meshgrid(np.linspace(5, 635, 12), np.linspace(5, 475, 12)), -1).reshape(-1, 2)[:count]
    return figure(
        names=tuple(f"left {i}" for i in range(count)),
        sides=(side,) * count,
        xy=grid,
        confidence=np.ones(count),
        visibility=np.full(count, 2),
        edges=(),
        box=(0.0, 0.0, 640.0, 480.0),
    )


def test_what_it_lists() -> None:
    assert [entry.text for entry in side_entries([CAT.kind])] == ["left", "right", "middle"]
    entries = name_entries([CAT.kind], [CAT])
    assert [(entry.mark, entry.text) for entry in entries] == [("1", "left eye"), ("2", "right eye"), ("3", "nose")]
    unseen = figure(visibility=np.array([2, 0, 2]))
    assert [entry.faint for entry in name_entries([unseen.kind], [unseen])] == [False, True, False]
    assert not any(entry.faint for entry in name_entries([CAT.kind], [unseen, CAT])), "one of them shows it"
    dog, hand = figure(title="dog"), figure(title="hand", names=(), sides=())
    assert len(name_entries([CAT.kind, dog.kind, hand.kind], [])) == 3, "once for both, without a heading"
    bird = figure(title="bird", names=("beak", "left eye", "x"))
    headings = [entry.text for entry in name_entries([CAT.kind, bird.kind, dog.kind], []) if not entry.mark]
    assert headings == ["cat, dog", "bird"]
    assert [entry.faint for entry in name_entries([CAT.kind, dog.kind], [dog])] == [False] * 3
    assert side_entries([figure(sides=("middle",) * 3).kind]) == [], "one colour needs no explanation"


def test_names_where_they_fit_and_colours_otherwise() -> None:
    """Below; points with room get the numbers of their names."""
    ground = sheet(640, 480)

    def drawn_below(*figures: Figure) -> tuple[bool, int]:
        """Whether something was written into the picture, and the length of the words below it."""
        pixels = drawn(*figures, style=BELOW, ground=ground)
        written = abs(pixels[481:] - pixels[-1, -1]).max(axis=(0, 2)) > 30
        return bool((pixels[:480] != drawn(*figures, ground=ground)).any()), int(np.flatnonzero(written).max())

    numbered, names = drawn_below(CAT)
    crowded, colours = drawn_below(everywhere())
    assert (numbered, crowded) == (True, False)
    assert colours < names, "one side against the names of three points"
    shapeless = figure(xy=CAT.xy / 40)
    assert drawn_below(shapeless)[0] is False, "no room for numbers"
    assert drawn(figure(), style=BELOW, ground=sheet(40, 200)).shape[0] == 200, "no room for a word"


def test_inside_it_covers_no_point() -> None:
    ground = sheet(640, 480)
    for shown in (CAT, everywhere(16, "middle")):  # those along the upper edge
        pixels = drawn(shown, style=INSIDE, ground=ground)
        assert pixels.shape == (480, 640, 3)
        colours = [SIDES[side] for side in shown.sides]
        assert [at(pixels, x, y) for x, y in shown.xy] == colours
        dark = [(pixels[y : y + 60, x : x + 60] < 90).mean() for y in (5, 415) for x in (5, 575)]
        assert max(dark) > 0.3, "its panel is in one of the corners"
    assert drawn(everywhere(144), style=INSIDE, ground=ground).shape == (480, 640, 3)


@given(st.sampled_from(["below", "inside", "none"]), st.integers(20, 500), st.integers(20, 500))
@settings(max_examples=20)
def test_equal_pictures_get_drawings_of_equal_size(legend: LegendPlace, width: int, height: int) -> None:
    """With the classes of the run, whatever was detected in a picture."""
    classes = [CAT.kind, FigureClass("x" * 300, ("",) * 9, ("left", "middle", "right") * 3)]
    style = Style(legend=legend)
    detected = ([], [CAT], [figure(title="dog"), everywhere(30)])
    sizes = {draw_figures(sheet(width, height), figures, style, classes).size for figures in detected}
    assert len(sizes) == 1
    size = sizes.pop()
    assert size[0] == width
    assert height <= size[1] <= 1.3 * height + 1
    assert size[1] == height or legend == "below"


def test_the_prompts_of_a_run_are_those_of_detect() -> None:
    empty = Poses.empty((480, 640))
    assert empty.draw().size == (640, 480), "nothing to explain"
    strip = empty.draw(prompts="dog, cat").size
    assert strip[1] > 480
    assert strip == empty.draw(prompts=["dog", "cat"]).size
    with pytest.raises(PromptError, match="is not a prompt"):
        empty.draw(prompts=3)


@pytest.mark.parametrize(
    ("count", "height", "width"), [(1, 10, 5), (7, 60, 1000), (40, 100, 300), (40, 1, 1), (3, 9e9, 1)]
)
def test_every_entry_is_in_one_column(count: int, height: float, width: float) -> None:
    kind = FigureClass("cat", tuple(f"p{i}" for i in range(count)), ("left",) * count)
    entries = name_entries([kind], [])
    legend = arranged(entries, 12, height, width)
    assert [entry for column in legend.columns for entry in column] == entries
    assert legend.width <= width or len(legend.columns) == 1
    lengths = [len(column) for column in legend.columns]
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)
