"""Pieces of HTML pages that stand alone: no scripts, no fonts or pictures from elsewhere, charts as inline SVG.

Everything that comes from data goes through `text`; the other functions take and return ready HTML.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from xpose.data.collection.store import write_atomically
from xpose.drawing.palette import LEFT, MIDDLE, RIGHT, Colour

STYLE = """
:root { color-scheme: light dark; --ink: #222; --faint: #6a6a6a; --rule: #ddd; --paper: #fff; --card: #f6f6f4;
  --bar: #3a7d6b; --bar2: #a9cfc3; --warn: #9a4a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e3; --faint: #a2a29d; --rule: #3c3c3a; --paper: #191918;
  --card: #232322; --bar: #5fb39c; --bar2: #2f594e; --warn: #f0a35e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; }
h3 { font-size: .95rem; margin: 0 0 .5rem; } p { margin: .3rem 0; max-width: 60rem; }
a { color: inherit; } .faint { color: var(--faint); } .warn { color: var(--warn); }
.cards, .sheet { columns: 21rem; column-gap: 1rem; } .sheet { columns: 15rem; }
.cards > *, .sheet > * { break-inside: avoid; margin: 0 0 1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1rem; }
.large { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(36rem, 100%), 1fr)); gap: 1rem; }
.large > * { max-width: 44rem; }
.large ol { columns: 11rem; font-size: .78rem; margin: .6rem 0 0; padding-left: 1.8rem; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 6px; padding: .8rem; overflow: hidden; }
figcaption { font-size: .78rem; color: var(--faint); margin-top: .2rem; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; }
figure svg, .card svg { display: block; width: 100%; height: auto; } .card .cover svg { height: 14rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .6rem 0; max-width: 60rem; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; } th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--rule);
  text-align: right; vertical-align: top; } th { font-weight: 600; }
th.words, td.words { text-align: left; } tr.sum td { font-weight: 600; border-top: 2px solid var(--rule); }
.wide { overflow-x: auto; }
svg text { font: 11px system-ui, sans-serif; fill: var(--ink); } svg text.faint { fill: var(--faint); }
"""


def text(value: object) -> str:
    """Any text, safe inside an element or a quoted attribute."""
    return html.escape(str(value), quote=True)


def page(title: str, body: Iterable[str]) -> str:
    """A whole page."""
    content = "\n".join(body)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{text(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style></head><body>\n{content}\n</body></html>\n"
    )


def write(path: Path, content: str) -> None:
    """Write a page, whole or not at all."""
    write_atomically(path, lambda file: file.writelines((content,)))


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], words: Iterable[int] = (0,), last_is_sum: bool = False
) -> str:
    """A table of ready cells; the columns in `words` hold text, the others numbers."""
    left = set(words)

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag}{' class=words' if i in left else ''}>{cell}</{tag}>" for i, cell in enumerate(cells))

    body = list(rows)
    lines = [f"<tr>{line(head, 'th')}</tr>"]
    for number, row in enumerate(body, start=1):
        mark = " class=sum" if last_is_sum and number == len(body) else ""
        lines.append(f"<tr{mark}>{line(row, 'td')}</tr>")
    return f"<div class=wide><table>{''.join(lines)}</table></div>"


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Labels and ready values, one below the other."""
    return f"<dl>{''.join(f'<dt>{text(label)}</dt><dd>{value}</dd>' for label, value in rows)}</dl>"


def link(address: str, words: str) -> str:
    """A link; an address that is none of the web stays plain text."""
    if not address.startswith(("https://", "http://")):
        return text(words)
    return f'<a href="{text(address)}" rel="noreferrer">{text(words)}</a>'


def count(value: int | None) -> str:
    """A number for people."""
    return "not stated" if value is None else f"{value:,}"


def counted(number: int, one: str, many: str) -> str:
    """A number with its word: "1 object", "2 objects"."""
    return f"{number:,} {one if number == 1 else many}"


def css(colour: Colour) -> str:
    """A colour as CSS writes it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def bars(values: Mapping[str, Sequence[int]], total: int | None = None, limit: int = 100) -> str:
    """Horizontal bars of stacked parts (strong, weak, ...) with their names; `total` is the full width."""
    shown = list(values.items())[:limit]
    if not shown:
        return "<p class=faint>nothing to show</p>"
    full = total or max(sum(parts) for _, parts in shown) or 1
    row, left, width = 17, 164, 346
    out = [f'<svg viewBox="0 0 {width} {row * len(shown)}" role="img">']
    for number, (name, parts) in enumerate(shown):
        y, x = number * row, float(left)
        label = name if len(name) <= 27 else name[:26] + "…"
        told = ", ".join(f"{part:,}" for part in parts)
        out.append(f"<g><title>{text(name)}: {told}</title>")
        out.append(f'<text x="{left - 6}" y="{y + 12}" text-anchor="end">{text(label)}</text>')
        for part, fill in zip(parts, ("var(--bar)", "var(--bar2)"), strict=False):
            length = part / full * (width - left - 50)
            out.append(f'<rect x="{x:.1f}" y="{y + 3}" width="{length:.1f}" height="{row - 6}" fill="{fill}"/>')
            x += length
        share = f"{100 * sum(parts) / total:.0f} %" if total else f"{sum(parts):,}"
        out.append(f'<text class="faint" x="{x + 4:.1f}" y="{y + 12}">{share}</text></g>')
    rest = len(values) - len(shown)
    out.append("</svg>")
    return "".join(out) + (f"<p class=faint>and {rest:,} more</p>" if rest > 0 else "")


def histogram(values: Sequence[tuple[str, int]], caption: str) -> str:
    """Upright bars with a label below each."""
    width, height, foot = 330, 150, 30
    most = max((value for _, value in values), default=0) or 1
    step = (width - 10) / max(len(values), 1)
    out = [f'<svg viewBox="0 0 {width} {height}" role="img">']
    for number, (label, value) in enumerate(values):
        tall = value / most * (height - foot - 16)
        x, y = 5 + number * step, height - foot - tall
        out.append(f"<g><title>{text(label)}: {value:,}</title>")
        out.append(f'<rect x="{x + 1:.1f}" y="{y:.1f}" width="{step - 2:.1f}" height="{tall:.1f}" fill="var(--bar)"/>')
        middle = x + step / 2
        if value and len(values) <= 14:
            out.append(
                f'<text class="faint" x="{middle:.1f}" y="{y - 3:.1f}" text-anchor="middle">{_brief(value)}</text>'
            )
        out.append(f'<text x="{middle:.1f}" y="{height - foot + 13}" text-anchor="middle">{text(label)}</text></g>')
    out.append(
        f'<text class="faint" x="{width / 2}" y="{height - 3}" text-anchor="middle">{text(caption)}</text></svg>'
    )
    return "".join(out)


def _brief(value: int) -> str:
    return f"{value:,}" if value < 10_000 else f"{value / 1000:.0f}k"


SIDE_COLOURS = {"left": css(LEFT), "right": css(RIGHT), "middle": css(MIDDLE)}
