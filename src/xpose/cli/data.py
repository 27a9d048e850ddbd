"""`xpose data`: prepare, import, merge, inspect and generate sets of labelled pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpose.cli import _app, _console, _options, data_collect, data_import
from xpose.cli._progress import Bars
from xpose.cli.data_import import count, format_status, show_result

if TYPE_CHECKING:
    from xpose.data.datasets.converters.base import Converter

app = typer.Typer(no_args_is_help=True)


@app.callback()
def data(quiet: Annotated[bool, _app.QUIET] = False, debug: Annotated[bool, _app.DEBUG] = False) -> None:
    """Prepare, import, merge, inspect and generate sets of labelled pictures."""


@app.command("list")
def list_sets(as_json: _options.AsJson = False) -> None:
    """List the datasets that can be prepared."""
    from xpose.data.datasets.converters import CONVERTERS, load_converter
    from xpose.data.datasets.pipeline import describe

    converters = [load_converter(name) for name in CONVERTERS]
    if as_json:
        _console.show_json([describe(converter) for converter in converters])
        return
    rows = []
    for converter in converters:
        numbers = (count(converter.expected.get("images")), count(converter.expected.get("unikpt_images")))
        rows.append([converter.name, converter.title, format_status(converter), *numbers, converter.licence])
    columns = ("name", "dataset", "format", "pictures", "used in UniKPT", "licence")
    _console.show(_console.table(columns, rows, right=("pictures", "used in UniKPT")))
    _console.note("For details and the source of a dataset, run: xpose data info NAME")


@app.command("info")
def info(name: _options.DatasetName) -> None:
    """Show details of a dataset: licence, terms, and what to download from where."""
    from xpose.data.datasets.converters import load_converter

    converter = load_converter(name)
    facts = [
        ("dataset", converter.title),
        ("licence", converter.licence),
        ("terms", converter.terms),
        ("home page", converter.homepage),
        ("format", format_status(converter)),
        ("evaluation", converter.evaluation),
        ("pictures", count(converter.expected.get("images"))),
        ("objects", count(converter.expected.get("instances"))),
        ("used in UniKPT", count(converter.expected.get("unikpt_images"))),
        ("skeletons", ", ".join(sorted({table.skeleton for table in converter.tables.values()}))),
        ("left and right", converter.left_right),
        ("origin", converter.origin),
        ("visibility", converter.visibility),
        ("boxes", converter.boxes),
        *((f"split {split}", _split(converter, split, what)) for split, what in converter.splits.items()),
        *((f"download {need.path}", need.where) for need in converter.needs),
    ]
    _console.show(_console.facts(facts))


@app.command("prepare")
def prepare(
    name: _options.DatasetName,
    root: Annotated[Path, typer.Option(help="Folder of the original download; it is never modified.")],
    out: _options.SetsOut,
    split: _options.OnlySplits = None,
    fresh: _options.Fresh = False,
) -> None:
    """Check an original download, convert it, and verify the result.

    An interrupted run resumes where it stopped. Damaged or missing pictures are skipped and listed in
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
    expected = converter.expected.get("split_images", {}).get(split)
    return what if expected is None else f"{what} ({expected:,} pictures)"
