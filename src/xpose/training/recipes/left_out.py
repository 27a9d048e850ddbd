"""Which pictures a run does without, and why: said on the terminal, and written down whole in the run's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from xpose.errors import counted
from xpose.pictures.atomic import write_atomically
from xpose.records import Skipped

LEFT_OUT_FILE = "left-out.txt"
_SHOWN = 5  # on the terminal


class LeftOut:
    """What is not learned from: pictures that cannot be used, objects without a place, pictures kept for testing."""

    def __init__(self) -> None:
        self.held_out = 0  # pictures
        self.apart: dict[str, str] = {}  # pictures that are test pictures or look like one: "SET/FILE" to "SET/FILE"
        self.nothing_apart = ""  # why no picture was looked for that is a test picture
        self._found: dict[tuple[str, str, str, str], None] = {}  # in order; the same thing is told once

    def take(self, source: str, skipped: Skipped) -> None:
        """Take what the reader of a folder of sets could not use."""
        self._found[skipped.what, source, skipped.file, skipped.reason] = None

    @property
    def pictures(self) -> list[str]:
        """Every picture that cannot be used, with its reason."""
        return [f"{source}/{file}: {reason}" for what, source, file, reason in self._found if what == "picture"]

    @property
    def rest(self) -> list[str]:
        """Every object and point that cannot be used, with its reason."""
        return [
            f"{what} in {source}/{file}: {reason}" for what, source, file, reason in self._found if what != "picture"
        ]

    def lines(self, folder: Path) -> Iterator[str]:
        """What to say of it at the start of a run in this folder."""
        if self.held_out:
            yield f"Held out for testing: {counted(self.held_out, 'picture')}"
        if self.nothing_apart:
            yield self.nothing_apart
        if self.apart:
            yield (
                f"Left out because they are test pictures or look like one: {counted(len(self.apart), 'picture')}. "
                f"Full list: {folder / LEFT_OUT_FILE}"
            )
        if not self._found:
            return
        pictures, rest = self.pictures, self.rest
        found = [counted(len(pictures), "picture")] if pictures else []
        found += [counted(len(rest), "object or point", "objects or points")] if rest else []
        yield f"Left out because they cannot be used: {' and '.join(found)}. Full list: {folder / LEFT_OUT_FILE}"
        for line in pictures[:_SHOWN]:
            yield f"  {line}"
        if len(pictures) > _SHOWN:
            yield f"  and {len(pictures) - _SHOWN:,} more"

    def write(self, folder: Path) -> None:
        """Write all of it into the run's folder; a list of before is taken away where nothing is left out any more.

        Raises:
            XPoseError: the disk is full or cannot be written to.
        """
        path = folder / LEFT_OUT_FILE
        apart = [f"{name}: the test picture {other} is the same or looks it" for name, other in self.apart.items()]
        lines = [*apart, *self.pictures, *self.rest]
        if not lines:
            path.unlink(missing_ok=True)
            return
        text = "\n".join(lines) + "\n"
        write_atomically(path, lambda file: file.write_text(text, encoding="utf-8", errors="backslashreplace"))
