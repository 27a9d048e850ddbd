"""Output that the commands of `xpose data` share: the status of a converter and the content of a prepared set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpose.cli import _console

if TYPE_CHECKING:
    from xpose.data.datasets.converters.base import Converter
    from xpose.data.datasets.pipeline import Prepared


def format_status(converter: Converter | type[Converter]) -> str:
    """Whether anybody has seen original files of this format."""
    return "format unverified (only loaders read)" if converter.status == "loader only" else converter.status


def show_result(converter: Converter, done: Prepared) -> None:
    """Show the content of a prepared set, and what is missing."""
    rows = []
    for split, counts in done.counts.items():
        skipped = ", ".join(f"{n} {what}{'s' if n > 1 else ''}" for what, n in done.skipped.get(split, {}).items())
        numbers = (counts.images_with_keypoints, counts.instances, counts.keypoints)
        expected = count(converter.expected.splits.get(split))
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
