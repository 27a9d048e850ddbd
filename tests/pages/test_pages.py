"""Pages escape what comes from data, and their charts scale."""

from __future__ import annotations

import re

import pytest
from jinja2 import UndefinedError

from xpose import pages

EVIL = '<script>alert("x")</script>'


def macro(call: str, **values: object) -> str:
    source = '{% from "macros.html" import facts, table, link, bars, histogram %}{{ ' + call + " }}"
    return pages._templates().from_string(source).render(**values)


def test_a_page_names_everything_that_it_needs() -> None:
    content = pages.render("base.html", title=EVIL)
    assert EVIL not in content
    assert "&lt;script&gt;" in content
    assert "--ink" in content, "the style sheet is part of the page"
    with pytest.raises(UndefinedError):
        pages.render("base.html")


@pytest.mark.parametrize(
    ("call", "rows"),
    [
        ("facts(rows)", [(EVIL, EVIL), ("lines", [EVIL, EVIL])]),
        ("table([evil], rows)", [(EVIL,), (3,)]),
        ("link(evil)", []),
        ("bars(rows)", [(EVIL, (3, 1))]),
        ("histogram(rows, evil)", [(EVIL, 1)]),
    ],
)
def test_everything_is_escaped(call: str, rows: list[object]) -> None:
    content = macro(call, rows=rows, evil=EVIL)
    assert EVIL not in content
    assert "&lt;script&gt;" in content


def test_bars_show_counts_or_shares() -> None:
    chart = macro("bars(rows, total=8)", rows=[("a", (3, 1)), ("b", (2, 0))])
    widths = [float(width) for width in re.findall(r"width: ([\d.]+)%", chart)]
    assert widths[0] == pytest.approx(3 * widths[1])
    assert re.findall(r">(\d+ %)<", chart) == ["50 %", "25 %"]
    assert 'title="a: 3, 1"' in chart
    assert ">1,234<" in macro("bars(rows)", rows=[("a", (1234,))])
    assert "nothing to show" in macro("bars([])")
    assert "and 3 more" in macro("bars(rows, limit=2)", rows=[(str(k), (k,)) for k in range(5)])


def test_columns_reach_the_height_of_the_largest() -> None:
    chart = macro("histogram(rows, 'sizes')", rows=[("a", 5), ("b", 10), ("c", 0)])
    assert re.findall(r"height: ([\d.]+)%", chart) == ["35.0", "70.0"]
    assert "sizes" in macro("histogram([], 'sizes')")


def test_links_lead_to_the_web_or_are_none() -> None:
    assert '<a href="https://example.org/a?b=1&amp;c=2"' in macro("link('https://example.org/a?b=1&c=2')")
    assert macro("link('javascript:alert(1)')").strip() == "javascript:alert(1)"


@pytest.mark.parametrize(("number", "told"), [(0, "0 objects"), (1, "1 object"), (1200, "1,200 objects")])
def test_numbers_with_their_noun(number: int, told: str) -> None:
    assert pages.counted(number, "object") == told
