"""`xpose data import` and `xpose data formats`: what users have labelled with other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpose.cli import _console

if TYPE_CHECKING:
    from xpose.data.datasets.importers import Imported


def list_formats(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the formats that can be imported."""
    from rich.table import Table

    from xpose.cli._data import format_status
    from xpose.data.datasets.importers import IMPORTERS, load_importer

    importers = {name: load_importer(name) for name in IMPORTERS}
    if as_json:
        keys = ("what", "title", "status", "origin", "visibility", "boxes")
        listed = {name: {key: getattr(each, key) for key in keys} for name, each in importers.items()}
        _console.show_json([{"format": name, **fields} for name, fields in listed.items()])
        return
    table = Table("format", "PATH is", "layout", "visibility", box=None, header_style="bold")
    for name, each in importers.items():
        table.add_row(name, each.what, format_status(each), each.visibility)
    _console.show(table)
    _console.note("Import one of them: xpose data import FORMAT PATH --out DIR")


def import_data(
    format_name: Annotated[
        str, typer.Argument(help="The format, as `xpose data formats` names it.", metavar="FORMAT", show_default=False)
    ],
    path: Annotated[Path, typer.Argument(help="The file or folder; nothing is written there.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for prepared sets; this one goes into OUT/NAME.")],
    name: Annotated[str | None, typer.Option(help="Name of the set; that of the file or folder if left out.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="Folder of the pictures, if they lie elsewhere.")] = None,
    category: Annotated[str | None, typer.Option(help="What the objects are, where the file does not say it.")] = None,
    skeleton: Annotated[
        str | None, typer.Option(help="Skeleton (or skeleton file) whose names the keypoints take.")
    ] = None,
    names: Annotated[
        Path | None, typer.Option(help="Mapping file; a keypoint that it leaves out stops the import.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the data, for the manifest.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not go on from an interrupted run.")] = False,
) -> None:
    """Import what was labelled with another tool, and verify the result.

    Keypoint names are kept unless a skeleton or a mapping file is given; a set with names of its own gets a
    skeleton.toml beside it. Whatever is wrong is skipped and named in OUT/NAME/report.json.
    """
    from xpose.cli._data import Bars, show_result
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
    show_result(done.importer, done.prepared)
    _show_names(done)
    if not any(counts.instances for counts in done.prepared.counts.values()):
        _console.fail(
            f"No object of {path} could be imported. The set is empty. Why, says {done.prepared.folder / 'report.json'}"
        )
        raise typer.Exit(_console.FAILURE)


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
