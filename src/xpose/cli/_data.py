"""What the commands of `xpose data` and `xpose finetune` share: progress bars per split, and what a set holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpose.cli import _console

if TYPE_CHECKING:
    from xpose.data.datasets.converters.base import Converter
    from xpose.data.datasets.pipeline import Prepared


def format_status(converter: Converter | type[Converter]) -> str:
    """The status for people: "seen", or "format unverified" with what is known."""
    return "format unverified (only loaders read)" if converter.status == "loader only" else converter.status


def show_result(converter: Converter, done: Prepared) -> None:
    """Show what a set holds now, and what is missing."""
    from rich.table import Table

    columns = ("split", "pictures", "expected", "with keypoints", "objects", "keypoints", "skipped")
    table = Table(*columns, box=None, header_style="bold")
    for split, counts in done.counts.items():
        lost = ", ".join(f"{n} {what}{'s' if n > 1 else ''}" for what, n in done.skipped.get(split, {}).items())
        numbers = (counts.images_with_keypoints, counts.instances, counts.keypoints)
        expected = count(converter.expected.splits.get(split))
        table.add_row(split, count(counts.images), expected, *map(count, numbers), lost or "nothing")
    _console.show(table)
    for split, needs in done.missing.items():
        _console.note(f"Split {split} was not made, because these are missing under --root:")
        for need in needs:
            _console.note(f"  {need.path}   (get it: {need.where})")
    _console.note(f"Written to {done.folder}; what was skipped, and why: {done.folder / 'report.json'}")


def count(value: int | None) -> str:
    """A number of pictures or objects for people; an original that does not say has none."""
    return "not stated" if value is None else f"{value:,}"


class Bars:
    """One progress bar per split, on standard error and only on a terminal."""

    def __init__(self) -> None:
        import sys

        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = _console.console(sys.stderr)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bars = Progress(*columns, console=console, disable=not console.is_terminal)
        self.tasks: dict[str, int] = {}

    def __enter__(self) -> Bars:
        self.bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bars.stop()

    def update(self, split: str, done: int, total: int) -> None:
        """Show how far a split is."""
        from rich.progress import TaskID

        if split not in self.tasks:
            self.tasks[split] = self.bars.add_task(split, total=total)
        self.bars.update(TaskID(self.tasks[split]), completed=done)
