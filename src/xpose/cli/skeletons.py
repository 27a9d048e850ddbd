"""`xpose skeletons`: list the skeletons, show one with its keypoints, and draw one or all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _console, _options
from xpose.errors import ConfigError, quote

if TYPE_CHECKING:
    from rich.table import Table

    from xpose.vocabulary import CategoryEntry, Skeleton

PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def skeletons(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A skeleton, or your own skeleton file (.toml).")
    ] = None,
    draw: Annotated[
        Path | None, typer.Option("--draw", metavar="OUT.png", help="Draw the skeleton, or all of them without NAME.")
    ] = None,
    as_json: _options.AsJson = False,
) -> None:
    """List the skeletons, or show the keypoints of one with their parts and mirror partners.

    Example: xpose skeletons person --draw person.png
    """
    from xpose.vocabulary import list_skeletons, load_skeleton

    if draw is not None and draw.suffix.lower() not in PICTURES:
        rule = f"A picture ends in {', '.join(PICTURES)}. Try: --draw {draw.with_suffix('.png')}"
        raise ConfigError(f"Cannot draw into {quote(draw)}. {rule}")
    chosen = load_skeleton(name).detected if name is not None else None
    if as_json:
        _console.show_json(_as_dict(chosen) if chosen else [_summary(skeleton) for skeleton in list_skeletons()])
    elif chosen is not None:
        _show(chosen)
    elif draw is None:
        _console.show(_list(list_skeletons()))
    if draw is not None:
        _draw(chosen, draw)


def _summary(skeleton: Skeleton) -> dict[str, Any]:
    return {
        "name": skeleton.name,
        "also": list(skeleton.also),
        "title": skeleton.title,
        "points": len(skeleton.detected),
        "default_for": [category.name for category in _used_for(skeleton)],
    }


def _as_dict(skeleton: Skeleton) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        **_summary(skeleton),
        "released": skeleton.released,
        "left_right": skeleton.left_right,
        "note": skeleton.note,
        "source": asdict(skeleton.source),
        "keypoints": [asdict(point) for point in skeleton.points],
        "edges": [list(edge) for edge in skeleton.edges],
    }


def _used_for(skeleton: Skeleton) -> list[CategoryEntry]:
    from xpose.vocabulary import list_categories

    return [category for category in list_categories() if category.skeletons[0] == skeleton.name]


def _use(skeleton: Skeleton, limit: int) -> str:
    """The categories with the skeleton as default, or those that can use it."""
    from xpose.vocabulary import list_categories
    from xpose.vocabulary.categories import FALLBACK

    names = [category.name for category in _used_for(skeleton)]
    if skeleton.name == FALLBACK:
        return f"{len(names)} animals, and all unknown objects"
    if names:
        return _few(names, limit)
    offered = [category.name for category in list_categories() if skeleton.name in category.skeletons]
    return f"on request: {_few(offered, limit - 1)}" if offered else "on request"


def _few(names: list[str], limit: int = 3) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def _list(all_skeletons: tuple[Skeleton, ...]) -> Table:
    rows = []
    for skeleton in (listed.detected for listed in all_skeletons):
        # The table has a column for the number in "Person, 17 points".
        title = skeleton.title.replace(f", {len(skeleton)} points", "").replace(f", {len(skeleton)} parts", "")
        rows.append([skeleton.name, str(len(skeleton)), title, _few(list(skeleton.also)), _use(skeleton, 3)])
    return _console.table(("name", "points", "description", "aliases", "used for"), rows, right=["points"])


def _show(skeleton: Skeleton) -> None:
    from xpose.vocabulary.skeleton import LEFT_RIGHT

    _console.show(f"{skeleton.name}: {skeleton.title}")
    facts = {
        "aliases": ", ".join(skeleton.also),
        "used for": _use(skeleton, 8),
        "left and right": f"{skeleton.left_right} ({LEFT_RIGHT[skeleton.left_right]})",
        "source": f"{skeleton.source.dataset}; {skeleton.source.reference}",
        "web page": skeleton.source.url or "",
        "licence": skeleton.source.licence or "not stated",
        "names from": skeleton.source.names,
        "sigmas from": skeleton.source.sigmas,
        "note": skeleton.note or "",
    }
    for key, fact in facts.items():
        if fact:
            _console.show(f"  {key}: {fact}")
    rows = []
    for number, point in enumerate(skeleton.points, start=1):
        partner = "" if point.flip == point.name else point.flip
        # The quotes make a space at the end of an alias visible.
        alias = "" if point.alias in (None, point.name) else quote(point.alias)
        rows.append([str(number), point.name, partner, point.part, f"{point.sigma:g}", alias])
    columns = ("#", "keypoint", "mirror partner", "part", "sigma", "alias in the released weights")
    _console.show(_console.table(columns, rows, right=["#", "sigma"]))
    for point in skeleton.points:
        if point.note:
            _console.show(f"  {point.name}: {point.note}")


def _draw(skeleton: Skeleton | None, target: Path) -> None:
    from xpose.drawing.skeletons import contact_sheet, draw_skeleton
    from xpose.vocabulary import list_skeletons

    picture = (
        contact_sheet([listed.detected for listed in list_skeletons()]) if skeleton is None else draw_skeleton(skeleton)
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    picture.save(target)
    _console.note(f"Wrote {target} ({picture.width} x {picture.height})")
