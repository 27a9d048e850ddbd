"""Charts of the report as SVG text: no library, no script, readable in print and by screen readers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

INK, GRID, SERIES = "#1f2933", "#d9dee3", ("#1668b5", "#d9622b", "#2f8f5b", "#8656b4", "#b8860b")
WIDTH, HEIGHT = 420, 260
_LEFT, _BOTTOM, _TOP, _RIGHT = 48, 40, 14, 14


def lines(
    title: str, x_label: str, y_label: str, series: Sequence[tuple[str, Sequence[float], Sequence[float]]]
) -> str:
    """Curves with both axes from 0 to 1; each is a name with its x and y values."""
    parts = [_open(title, HEIGHT)]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = _x(tick), _y(tick)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}M{x:.1f} {_TOP}V{HEIGHT - _BOTTOM}" stroke="{GRID}"/>')
        parts.append(
            _text(_LEFT - 6, y + 4, f"{tick:g}", "end") + _text(x, HEIGHT - _BOTTOM + 15, f"{tick:g}", "middle")
        )
    legend: list[str] = []
    for number, (name, xs, ys) in enumerate(series):
        points = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(x) and math.isfinite(y)]
        path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
        colour = SERIES[number % len(SERIES)]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        # A white rim keeps the name readable where a curve runs behind it.
        named = _text(WIDTH - _RIGHT - 8, _TOP + 16 + 15 * number, name, "end", colour)
        legend.append(named.replace("<text ", '<text paint-order="stroke" stroke="#fff" stroke-width="4" ', 1))
    parts.append(_text((WIDTH + _LEFT) / 2, HEIGHT - 6, x_label, "middle"))
    parts += legend
    middle = HEIGHT / 2
    parts.append(f'<g transform="rotate(-90 13 {middle})">{_text(13, middle, y_label, "middle")}</g></svg>')
    return "".join(parts)


def bars(title: str, rows: Sequence[tuple[str, float, str]], *, most: float = 1.0) -> str:
    """Horizontal bars: name, value from 0 to `most`, and what is written behind it."""
    height, step, start = 26 + 20 * len(rows), 20, 190
    parts = [_open(title, height)]
    for number, (name, value, shown) in enumerate(rows):
        y = 10 + step * number
        length = 0.0 if not math.isfinite(value) else (WIDTH - start - 90) * min(max(value / most, 0.0), 1.0)
        parts.append(_text(start - 8, y + 12, name if len(name) <= 30 else name[:29] + "…", "end"))
        parts.append(f'<rect x="{start}" y="{y}" width="{length:.1f}" height="15" rx="2" fill="{SERIES[0]}"/>')
        parts.append(_text(start + length + 6, y + 12, shown, "start"))
    return "".join([*parts, "</svg>"])


def _open(title: str, height: int) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'aria-label="{escape(title, quote=True)}" xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title>'
    )


def _text(x: float, y: float, words: str, anchor: str, colour: str = INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def _x(value: float) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * min(max(value, 0.0), 1.0)


def _y(value: float) -> float:
    return _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - min(max(value, 0.0), 1.0))
