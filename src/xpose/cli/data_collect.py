"""`xpose data unify`, `look`, `synthetic` and `shapes`: merge, inspect and generate sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _console, _options
from xpose.cli._progress import Bars
from xpose.errors import ConfigError, quote

if TYPE_CHECKING:
    from xpose.data.collection.statistics import Statistics
    from xpose.data.collection.store import Counts
    from xpose.data.collection.unify import Unified


def _list(help: str, metavar: str = "NAME") -> Any:
    return typer.Option(help=f"{help} May be repeated.", metavar=metavar)


def unify_sets(
    sources: _options.Sources,
    out: Annotated[Path, typer.Option(help="Folder for the collection.")],
    seed: Annotated[int | None, typer.Option(help="Seed of the sampling. Default: the published seed.")] = None,
    only: _options.OnlySets = None,
    without: Annotated[list[str] | None, _list("Exclude this set.")] = None,
    sample: Annotated[list[str] | None, _list("Number of training pictures of a set.", "NAME=COUNT")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Use all pictures of every set.")] = False,
    use: Annotated[list[str] | None, _list("Role of a split: train, evaluation or none.", "NAME:SPLIT=ROLE")] = None,
    leaks: Annotated[
        str, typer.Option(help="Training pictures that are also evaluation pictures: drop, report or off.")
    ] = "drop",
    swap_sides: Annotated[list[str] | None, _list("Exchange left and right in this set.")] = None,
    keep_sides: Annotated[list[str] | None, _list("Keep left and right of this set.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes that read pictures.")] = 1,
) -> None:
    """Merge prepared sets into one collection, and show its statistics.

    Names, sides and categories are unified, the sets that the papers sample are sampled, and training pictures that are
    also evaluation pictures are excluded. The same sets and seed give the same bytes.
    """
    from xpose.data.collection.unify import SEED, Choices, unify

    if leaks not in ("drop", "report", "off"):
        raise ConfigError(f"--leaks {quote(leaks)} is unknown. Use drop, report or off.")
    choices = Choices(
        seed=SEED if seed is None else seed,
        samples=_samples(sample or [], whole),
        leaks=leaks,  # type: ignore[arg-type]  # checked above
        swap_sides=tuple(swap_sides or ()),
        keep_sides=tuple(keep_sides or ()),
        workers=workers,
    )
    roles = dict(_pair(text, "--use", "NAME:SPLIT=ROLE") for text in use or [])
    with Bars() as bars:
        done = unify(sources, out, choices, only=only or (), without=without or (), roles=roles, progress=bars.update)
    _show_unified(done)


def look_at_sets(
    sources: _options.Sources,
    out: Annotated[Path, typer.Option(help="Folder for the pages.")],
    pictures: Annotated[int, typer.Option(min=0, help="Number of pictures on each page.")] = 24,
    seed: Annotated[int, typer.Option(help="Another seed selects other pictures.")] = 0,
    only: _options.OnlySets = None,
) -> None:
    """Write HTML pages that show the sets: pictures with their keypoints, charts, and an index.

    A source may also be a unified collection. The pages are self-contained and open in any browser.
    """
    from xpose.data.inspection.look import look

    with Bars() as bars:
        pages = look(sources, out, pictures=pictures, seed=seed, only=only or (), progress=bars.update)
    _console.show(f"Wrote {len(pages)} pages; start with {pages[0]}")


def draw_synthetic(
    out: _options.DrawnOut,
    count: Annotated[int, typer.Option(min=1, help="Number of pictures.")] = 200,
    seed: _options.DrawnSeed = 0,
    width: Annotated[int, typer.Option(min=32, help="Width of the pictures in pixels.")] = 640,
    height: Annotated[int, typer.Option(min=32, help="Height of the pictures in pixels.")] = 480,
    kind: Annotated[list[str] | None, _list("Draw only this kind of object.", "KIND")] = None,
    most: Annotated[int, typer.Option(min=1, help="Maximum number of objects in a picture.")] = 4,
) -> None:
    """Draw a set of toy objects with exact keypoints, to try xpose without a download."""
    from xpose.data.synthetic.scenes import write_synthetic
    from xpose.data.synthetic.toys import KINDS

    with Bars() as bars:
        size, kinds = (width, height), tuple(kind or KINDS)
        counts = write_synthetic(out, count, seed, size=size, kinds=kinds, objects=(1, most), progress=bars.update)
    _show_drawn(out, counts)


def draw_shapes(
    out: _options.DrawnOut,
    kinds: Annotated[int, typer.Option(min=1, help="Number of kinds of shapes.")] = 400,
    each: Annotated[int, typer.Option(min=1, help="Number of pictures per kind.")] = 6,
    behind: Annotated[list[Path] | None, _list("Background photographs: a folder with subfolders.", "PATH")] = None,
    seed: _options.DrawnSeed = 0,
    side: Annotated[int, typer.Option(min=32, help="Side length of the pictures in pixels.")] = 288,
) -> None:
    """Draw a set of imaginary shapes, for training the use of example pictures.

    A kind is a blob, a bar or a body with limbs. It has its own parts, colours, up to nine keypoints and a meaningless
    name. Pictures show several objects, rotated, squeezed and bent. Use the set together with real ones.

    Example: xpose data shapes --out sets/shapes --behind sets
    """
    from xpose.data.synthetic.shapes import write_shapes

    with Bars() as bars:
        counts = write_shapes(out, kinds, each, seed=seed, behind=behind or (), side=side, progress=bars.update)
    _show_drawn(out, counts, f" of {kinds:,} kinds")


def _show_drawn(out: Path, counts: Mapping[str, Counts], kinds: str = "") -> None:
    for split, counted in counts.items():
        _console.show(f"{split}: {counted.images:,} pictures, {counted.instances:,} objects{kinds}")
    _console.note(f"Written to {out}; look at it: xpose data look {out} --out PAGES")


def _samples(given: Iterable[str], whole: bool) -> dict[str, int]:
    from xpose.data.collection.unify import SAMPLES

    samples = {} if whole else dict(SAMPLES)
    for text in given:
        name, count = _pair(text, "--sample", "NAME=COUNT")
        if not count.isdecimal():
            raise ConfigError(f"--sample {quote(text)} does not end in a whole number. Write NAME=COUNT.")
        samples[name] = int(count)
    return samples


def _pair(text: str, option: str, form: str) -> tuple[str, str]:
    name, mark, value = text.rpartition("=")
    if not mark or not name or not value:
        raise ConfigError(f"{option} {quote(text)} does not have the form {form}.")
    return name, value


def _show_unified(done: Unified) -> None:
    _show_statistics(done.statistics)
    for name, (sampled, total) in sorted(done.sampled.items()):
        _console.note(f"{name}: sampled {sampled:,} of {total:,} training pictures with the seed in the manifest")
    if done.leaks:
        pictures = len({leak.train for leak in done.leaks})
        _console.note(f"{pictures:,} training pictures are also evaluation pictures: {done.folder / 'leaks.json'}")
    if done.unread:
        _console.note(f"{len(done.unread):,} pictures could not be read or compared, such as {done.unread[0]}")
    if done.parted:
        _console.note(f"{len(done.parted):,} groups (videos, people) have pictures on both sides; see leaks.json")
    _console.note(f"Written to {done.folder}; statistics as an HTML page: {done.folder / 'statistics.html'}")


def _show_statistics(statistics: Statistics) -> None:
    from xpose.data.collection.statistics import DIFFERENCE, PAPER_ROWS_SUM, PAPER_TOTALS

    numbers = ("train", "evaluation", "objects", "keypoints", "categories")
    rows = []
    for name, of_set in sorted(statistics.sets.items()):
        images, keypoints = of_set.images, of_set.visible + of_set.hidden
        counts = (images["train"], images["evaluation"], of_set.instances.total(), keypoints, len(of_set.categories))
        rows.append([name, *(f"{count:,}" for count in counts), ", ".join(sorted(of_set.left_right))])
    _console.show(_console.table(("set", *numbers, "left and right"), rows, right=numbers))
    columns, papers = ("images in the papers", "images here"), statistics.paper_rows()
    rows = [[title, f"{images:,}", "missing" if here is None else f"{here:,}"] for title, images, here in papers]
    _console.show(_console.table(("set in the papers", *columns), rows, right=columns))
    for whose, totals in (("here", statistics.totals()), ("the papers' totals", PAPER_TOTALS)):
        _console.show(f"{whose}: {', '.join(f'{value:,} {name}' for name, value in totals.items())}")
    _console.show(
        f"the sums of the papers' rows: {PAPER_ROWS_SUM['images']:,} images, {PAPER_ROWS_SUM['instances']:,} instances "
        f"({DIFFERENCE:,} images more than their totals)"
    )
    if statistics.missing():
        _console.show(f"missing: {', '.join(statistics.missing())}")
