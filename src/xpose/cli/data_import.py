"""`xpose data import` and `xpose data formats`: labels from other tools; how the result of a conversion is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpose.cli import _console, _options

if TYPE_CHECKING:
    from xpose.data.datasets.converters.base import Converter
    from xpose.data.datasets.importers import Imported
    from xpose.data.datasets.pipeline import Prepared


def list_formats(as_json: _options.AsJson = False) -> None:
    """List the formats that can be imported."""
    from xpose.data.datasets.importers import IMPORTERS, load_importer

    importers = {name: load_importer(name) for name in IMPORTERS}
    if as_json:
        keys = ("what", "title", "status", "origin", "visibility", "boxes")
        listed = {name: {key: getattr(importer, key) for key in keys} for name, importer in importers.items()}
        _console.show_json([{"format": name, **fields} for name, fields in listed.items()])
        return
    rows = [[name, importer.what, format_status(importer), importer.visibility] for name, importer in importers.items()]
    _console.show(_console.table(("format", "PATH is", "layout", "visibility"), rows))
    _console.note("To import labels, run: xpose data import FORMAT PATH --out DIR")


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
    from xpose.cli._progress import Bars
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
            f"No object in {path} could be imported. The set is empty. See {done.prepared.folder / 'report.json'}"
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


def format_status(converter: Converter | type[Converter]) -> str:
    """Whether anybody has seen original files of this format."""
    return "format unverified (only loaders read)" if converter.status == "loader only" else converter.status


def show_result(converter: Converter, done: Prepared) -> None:
    """Show the content of a prepared set, and what is missing."""
    rows = []
    for split, counts in done.counts.items():
        skipped = ", ".join(f"{n} {what}{'s' if n > 1 else ''}" for what, n in done.skipped.get(split, {}).items())
        numbers = (counts.images_with_keypoints, counts.instances, counts.keypoints)
        expected = count(converter.expected.get("split_images", {}).get(split))
        rows.append([split, count(counts.images), expected, *map(count, numbers), skipped or "nothing"])
    numbers_of = ("pictures", "expected", "with keypoints", "objects", "keypoints")
    _console.show(_console.table(("split", *numbers_of, "skipped"), rows, right=numbers_of))
    for split, needs in done.missing.items():
        _console.note(f"Split {split} was skipped because these files are missing under --root:")
        for need in needs:
            _console.note(f"  {need.path}   (from {need.where})")
    _console.note(f"Written to {done.folder}; skipped pictures and reasons: {done.folder / 'report.json'}")


def count(value: int | None) -> str:
    """A number of pictures or objects, formatted for people."""
    return "not stated" if value is None else f"{value:,}"
