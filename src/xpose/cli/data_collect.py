"""`xpose data unify`, `look`, `synthetic` and `shapes`: what is done with prepared sets, and sets that are drawn."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpose.cli import _console

if TYPE_CHECKING:
    from rich.table import Table

    from xpose.data.collection.statistics import Statistics
    from xpose.data.collection.unify import Unified

SOURCES = typer.Argument(
    help="Prepared sets, folders of them, or folders of COCO sets (NAME/train.json, NAME/images).", show_default=False
)
ONLY = typer.Option("--only", help="Only this set (may be given several times).", metavar="NAME")


def unify_sets(
    sources: Annotated[list[Path], SOURCES],
    out: Annotated[Path, typer.Option(help="Folder for the collection.")],
    seed: Annotated[int | None, typer.Option(help="Seed of the selection; the published one if left out.")] = None,
    only: Annotated[list[str] | None, ONLY] = None,
    without: Annotated[list[str] | None, typer.Option(help="Leave this set out.", metavar="NAME")] = None,
    sample: Annotated[
        list[str] | None, typer.Option(help="Take only so many training pictures of a set.", metavar="NAME=COUNT")
    ] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Take every set whole, those too that are sampled.")] = False,
    use: Annotated[
        list[str] | None,
        typer.Option(help="What a split is for: train, evaluation or none.", metavar="NAME:SPLIT=ROLE"),
    ] = None,
    leaks: Annotated[
        str, typer.Option(help="Training pictures that are also evaluation pictures: drop, report or off.")
    ] = "drop",
    swap_sides: Annotated[
        list[str] | None, typer.Option(help="Exchange left and right in this set.", metavar="NAME")
    ] = None,
    keep_sides: Annotated[
        list[str] | None, typer.Option(help="Take this set's left and right as they are.", metavar="NAME")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that read pictures.")] = 1,
) -> None:
    """Merge prepared sets into one collection, and say what it holds.

    Names, sides and categories are unified, the sets that the papers sample are sampled, and training pictures that are
    evaluation pictures too are left out. The same sets and seed give the same bytes.
    """
    from xpose.cli._data import Bars
    from xpose.data.collection.unify import SEED, Choices, unify
    from xpose.errors import ConfigError, quote

    if leaks not in ("drop", "report", "off"):
        raise ConfigError(f"--leaks {quote(leaks)} is unknown. It is drop, report or off.")
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
    sources: Annotated[list[Path], SOURCES],
    out: Annotated[Path, typer.Option(help="Folder for the pages.")],
    pictures: Annotated[int, typer.Option(min=0, help="Pictures on each set's page.")] = 24,
    seed: Annotated[int, typer.Option(help="Another seed shows other pictures.")] = 0,
    only: Annotated[list[str] | None, ONLY] = None,
) -> None:
    """Write pages that show the sets: pictures with their points, charts, and an index.

    A source may also be a unified collection. The pages stand alone and open in any browser.
    """
    from xpose.cli._data import Bars
    from xpose.data.inspection.look import look

    with Bars() as bars:
        pages = look(sources, out, pictures=pictures, seed=seed, only=only or (), progress=bars.update)
    _console.show(f"{len(pages)} pages; begin with {pages[0]}")


def draw_synthetic(
    out: Annotated[Path, typer.Option(help="Folder for the set.")],
    count: Annotated[int, typer.Option(min=1, help="How many pictures.")] = 200,
    seed: Annotated[int, typer.Option(help="The same seed draws the same pictures.")] = 0,
    width: Annotated[int, typer.Option(min=32, help="Of the pictures, in pixels.")] = 640,
    height: Annotated[int, typer.Option(min=32, help="Of the pictures, in pixels.")] = 480,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only this kind of object (may be given several times).", metavar="KIND")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Objects in a picture at most.")] = 4,
) -> None:
    """Draw a set of toy objects with exactly known keypoints, for trials without any download."""
    from xpose.cli._data import Bars
    from xpose.data.synthetic.scenes import write_synthetic
    from xpose.data.synthetic.toys import KINDS

    with Bars() as bars:
        counts = write_synthetic(
            out,
            count,
            seed,
            size=(width, height),
            kinds=tuple(kind or KINDS),
            objects=(1, most),
            progress=bars.update,
        )
    for split, counted in counts.items():
        _console.show(f"{split}: {counted.images:,} pictures, {counted.instances:,} objects")
    _console.note(f"Written to {out}; look at it: xpose data look {out} --out PAGES")


def draw_shapes(
    out: Annotated[Path, typer.Option(help="Folder for the set.")],
    kinds: Annotated[int, typer.Option(min=1, help="How many kinds of shapes.")] = 400,
    each: Annotated[int, typer.Option(min=1, help="Pictures about each of them.")] = 6,
    behind: Annotated[
        list[Path] | None,
        typer.Option(help="Photographs to draw in front of, with all folders below (may be repeated).", metavar="PATH"),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same pictures.")] = 0,
    side: Annotated[int, typer.Option(min=32, help="Of the pictures, in pixels.")] = 288,
) -> None:
    """Draw a set of shapes of many kinds that exist nowhere, for learning to find what an example shows.

    A kind is a blob, a bar or a body with limbs, with parts, colours and up to nine points of its own and a name that
    means nothing. Its objects are turned, squeezed and bent, several in a picture. Train with the set beside real ones.

    Example: xpose data shapes --out sets/shapes --behind sets
    """
    from xpose.cli._data import Bars
    from xpose.data.synthetic.shapes import write_shapes

    with Bars() as bars:
        counts = write_shapes(out, kinds, each, seed=seed, behind=behind or (), side=side, progress=bars.update)
    for split, counted in counts.items():
        _console.show(f"{split}: {counted.images:,} pictures, {counted.instances:,} objects of {kinds:,} kinds")
    _console.note(f"Written to {out}; look at it: xpose data look {out} --out PAGES")


def _samples(given: Iterable[str], whole: bool) -> dict[str, int]:
    from xpose.data.collection.unify import SAMPLES
    from xpose.errors import ConfigError, quote

    samples = {} if whole else dict(SAMPLES)
    for text in given:
        name, count = _pair(text, "--sample", "NAME=COUNT")
        if not count.isdecimal():
            raise ConfigError(f"--sample {quote(text)} does not end in a whole number. Write NAME=COUNT.")
        samples[name] = int(count)
    return samples


def _pair(text: str, option: str, form: str) -> tuple[str, str]:
    from xpose.errors import ConfigError, quote

    name, mark, value = text.rpartition("=")
    if not mark or not name or not value:
        raise ConfigError(f"{option} {quote(text)} is not of the form {form}.")
    return name, value


def _show_unified(done: Unified) -> None:
    from rich.table import Table

    _console.show(_set_table(done.statistics))
    table = Table("papers' set", "images there", "here", box=None, header_style="bold")
    for title, images, here in done.statistics.paper_rows():
        table.add_row(title, f"{images:,}", "missing" if here is None else f"{here:,}")
    _console.show(table)
    _show_totals(done.statistics)
    for name, (taken, there) in sorted(done.sampled.items()):
        _console.note(f"{name}: {taken:,} of {there:,} training pictures taken, by the seed in the manifest")
    if done.leaks:
        pictures = len({leak.train for leak in done.leaks})
        _console.note(f"{pictures:,} training pictures are also evaluation pictures: {done.folder / 'leaks.json'}")
    if done.unread:
        _console.note(
            f"{len(done.unread):,} pictures could not be read and were not compared, such as {done.unread[0]}"
        )
    if done.parted:
        _console.note(
            f"{len(done.parted):,} groups (videos, people) have pictures on both sides; they are listed there"
        )
    _console.note(f"Written to {done.folder}; the statistics as a page: {done.folder / 'statistics.html'}")


def _set_table(statistics: Statistics) -> Table:
    from rich.table import Table

    columns = ("set", "train", "evaluation", "objects", "keypoints", "categories", "left and right")
    table = Table(*columns, box=None, header_style="bold")
    for name, one in sorted(statistics.sets.items()):
        numbers = (one.images["train"], one.images["evaluation"], one.instances.total(), one.visible + one.hidden)
        sides = ", ".join(sorted(one.left_right))
        table.add_row(name, *(f"{number:,}" for number in numbers), f"{len(one.categories):,}", sides)
    return table


def _show_totals(statistics: Statistics) -> None:
    from xpose.data.collection.statistics import DIFFERENCE, PAPER_ROWS_SUM, PAPER_TOTALS

    totals = statistics.totals()
    here = ", ".join(f"{value:,} {name}" for name, value in totals.items())
    _console.show(f"here: {here}")
    _console.show(f"the papers' totals: {', '.join(f'{value:,} {name}' for name, value in PAPER_TOTALS.items())}")
    _console.show(
        f"the sums of the papers' rows: {PAPER_ROWS_SUM['images']:,} images, {PAPER_ROWS_SUM['instances']:,} instances "
        f"({DIFFERENCE:,} images more than their totals)"
    )
    if statistics.missing():
        _console.show(f"missing: {', '.join(statistics.missing())}")
