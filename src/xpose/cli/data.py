"""`xpose data`: prepare, import, merge, inspect and generate sets of labelled pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpose.cli import _app, _console, _options, data_collect
from xpose.cli._progress import Bars

if TYPE_CHECKING:
    from xpose.data.datasets.converters.base import Converter
    from xpose.data.datasets.importers import Imported
    from xpose.data.datasets.pipeline import Prepared

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
        numbers = (_count(converter.expected.images), _count(converter.expected.unikpt))
        rows.append([converter.name, converter.title, _format_status(converter), *numbers, converter.licence])
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
        ("format", _format_status(converter)),
        ("evaluation", converter.evaluation),
        ("pictures", _count(converter.expected.images)),
        ("objects", _count(converter.expected.instances)),
        ("used in UniKPT", _count(converter.expected.unikpt)),
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
    _show_result(converter, done)


@app.command("import")
def import_data(
    format_name: Annotated[
        str, typer.Argument(help="A format from `xpose data formats`.", metavar="FORMAT", show_default=False)
    ],
    path: Annotated[Path, typer.Argument(help="The file or folder; it is never modified.", show_default=False)],
    out: _options.SetsOut,
    name: Annotated[str | None, typer.Option(help="Name of the set. Default: the name of the file or folder.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="Folder of the pictures, if they are elsewhere.")] = None,
    category: Annotated[str | None, typer.Option(help="Category of the objects, if not stated.")] = None,
    skeleton: Annotated[
        str | None, typer.Option(help="Skeleton (or skeleton file) whose names the keypoints take.")
    ] = None,
    names: Annotated[
        Path | None, typer.Option(help="Mapping file for keypoint names; a missing name stops the import.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the data, for the manifest.")] = None,
    fresh: _options.Fresh = False,
) -> None:
    """Import labels from another tool, and verify the result.

    Keypoint names are kept unless you pass a skeleton or a mapping file. A set with other names gets its own
    skeleton.toml. Invalid labels are skipped and listed in OUT/NAME/report.json.
    """
    from xpose.data.datasets.importers import import_set

    with Bars() as bars:
        done = import_set(
            format_name,
            path,
            out,
            name=name,
            pictures=pictures,
            category=category,
            skeleton=skeleton,
            names=names,
            licence=licence,
            fresh=fresh,
            progress=bars.update,
        )
    _show_result(done.importer, done.prepared)
    _show_names(done)
    if not any(counts.instances for counts in done.prepared.counts.values()):
        report = done.prepared.folder / "report.json"
        _console.fail(f"No object in {path} could be imported. The set is empty. See {report}")
        raise typer.Exit(_console.FAILURE)


@app.command("formats")
def list_formats(as_json: _options.AsJson = False) -> None:
    """List the formats that can be imported."""
    from xpose.data.datasets.importers import IMPORTERS, load_importer

    importers = {name: load_importer(name) for name in IMPORTERS}
    if as_json:
        keys = ("what", "title", "status", "origin", "visibility", "boxes")
        listed = {name: {key: getattr(importer, key) for key in keys} for name, importer in importers.items()}
        _console.show_json([{"format": name, **fields} for name, fields in listed.items()])
        return
    rows = [[name, kind.what, _format_status(kind), kind.visibility] for name, kind in importers.items()]
    _console.show(_console.table(("format", "PATH is", "layout", "visibility"), rows))
    _console.note("To import labels, run: xpose data import FORMAT PATH --out DIR")


app.command("unify")(data_collect.unify_sets)
app.command("look")(data_collect.look_at_sets)
app.command("synthetic")(data_collect.draw_synthetic)
app.command("shapes")(data_collect.draw_shapes)


def _show_names(done: Imported) -> None:
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for named in done.importer.named.values():
        alike.setdefault((named.skeleton.name, named.table.unified), []).append(named.title)
    for (skeleton, names), titles in alike.items():
        file = done.skeletons[skeleton]
        where = f"skeleton {skeleton} of the vocabulary" if file is None else f"its skeleton is {file}"
        _console.note(f"{', '.join(titles)}: {', '.join(names)} ({where})")
    for note in done.notes:
        _console.note(note)


def _format_status(converter: Converter | type[Converter]) -> str:
    return "format unverified (only loaders read)" if converter.status == "loader only" else converter.status


def _show_result(converter: Converter, done: Prepared) -> None:
    rows = []
    for split, counts in done.counts.items():
        skipped = ", ".join(f"{n} {what}{'s' if n > 1 else ''}" for what, n in done.skipped.get(split, {}).items())
        numbers = (counts.images_with_keypoints, counts.instances, counts.keypoints)
        expected = _count(converter.expected.splits.get(split))
        rows.append([split, _count(counts.images), expected, *map(_count, numbers), skipped or "nothing"])
    numbers_of = ("pictures", "expected", "with keypoints", "objects", "keypoints")
    _console.show(_console.table(("split", *numbers_of, "skipped"), rows, right=numbers_of))
    for split, needs in done.missing.items():
        _console.note(f"Split {split} was skipped because these files are missing under --root:")
        for need in needs:
            _console.note(f"  {need.path}   (from {need.where})")
    _console.note(f"Written to {done.folder}; skipped pictures and reasons: {done.folder / 'report.json'}")


def _count(value: int | None) -> str:
    return "not stated" if value is None else f"{value:,}"


def _split(converter: Converter, split: str, what: str) -> str:
    expected = converter.expected.splits.get(split)
    return what if expected is None else f"{what} ({expected:,} pictures)"
