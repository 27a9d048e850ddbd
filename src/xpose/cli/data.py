"""`xpose data`: from original downloads to checked, licensed sets in one format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpose.cli import _app, _console, data_collect, data_import
from xpose.cli._data import Bars, count, format_status, show_result

if TYPE_CHECKING:
    from xpose.data.datasets.converters.base import Converter

app = typer.Typer(no_args_is_help=True)

NAME = typer.Argument(help="The dataset, as `xpose data list` names it.", show_default=False)


@app.callback()
def data(quiet: Annotated[bool, _app.QUIET] = False, debug: Annotated[bool, _app.DEBUG] = False) -> None:
    """Prepare training data: from the original downloads to checked sets in one format."""


@app.command("list")
def list_sets(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the datasets that can be prepared."""
    from rich.table import Table

    from xpose.data.datasets.converters import CONVERTERS, load_converter
    from xpose.data.datasets.pipeline import describe

    converters = [load_converter(name) for name in CONVERTERS]
    if as_json:
        _console.show_json([describe(converter) for converter in converters])
        return
    table = Table("name", "dataset", "format", "pictures", "used in UniKPT", "licence", box=None, header_style="bold")
    for converter in converters:
        expected = converter.expected
        table.add_row(
            converter.name,
            converter.title,
            format_status(converter),
            count(expected.images),
            count(expected.unikpt),
            converter.licence,
        )
    _console.show(table)
    _console.note("All about one of them, and where to get it: xpose data info NAME")


@app.command("info")
def info(name: Annotated[str, NAME]) -> None:
    """Tell all about a dataset: licence, terms, what to fetch and from where."""
    from rich.table import Table

    from xpose.data.datasets.converters import load_converter

    converter = load_converter(name)
    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for label, value in (
        ("dataset", converter.title),
        ("licence", converter.licence),
        ("terms", converter.terms),
        ("home page", converter.homepage),
        ("format", format_status(converter)),
        ("evaluation", converter.evaluation),
        ("pictures", count(converter.expected.images)),
        ("objects", count(converter.expected.instances)),
        ("used in UniKPT", count(converter.expected.unikpt)),
        ("skeletons", ", ".join(sorted({table.skeleton for table in converter.tables.values()}))),
        ("left and right", converter.left_right),
        ("origin", converter.origin),
        ("visibility", converter.visibility),
        ("boxes", converter.boxes),
        *((f"split {split}", _split(converter, split, what)) for split, what in converter.splits.items()),
        *((f"fetch {need.path}", need.where) for need in converter.needs),
    ):
        table.add_row(label, value)
    _console.show(table)


@app.command("prepare")
def prepare(
    name: Annotated[str, NAME],
    root: Annotated[Path, typer.Option(help="Folder of the original download; nothing is written there.")],
    out: Annotated[Path, typer.Option(help="Folder for prepared sets; this one goes into OUT/NAME.")],
    split: Annotated[
        list[str] | None, typer.Option(help="Only this split (may be given several times).", metavar="NAME")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not go on from an interrupted run.")] = False,
) -> None:
    """Check an original download, convert it, and verify the result.

    An interrupted run goes on where it stopped. Pictures that are damaged or missing are skipped and named in
    OUT/NAME/report.json.
    """
    from xpose.data.datasets.converters import load_converter
    from xpose.data.datasets.pipeline import prepare as run

    converter = load_converter(name)
    with Bars() as bars:
        done = run(converter, root, out, splits=split or None, fresh=fresh, progress=bars.update)
    show_result(converter, done)


app.command("import")(data_import.import_data)
app.command("formats")(data_import.list_formats)
app.command("unify")(data_collect.unify_sets)
app.command("look")(data_collect.look_at_sets)
app.command("synthetic")(data_collect.draw_synthetic)
app.command("shapes")(data_collect.draw_shapes)


def _split(converter: Converter, split: str, what: str) -> str:
    expected = converter.expected.splits.get(split)
    return what if expected is None else f"{what} ({expected:,} pictures)"
