"""Where the pictures of a prepared set or of a unified collection lie on this machine.

`location.json` of a set names one folder; that of a collection one for each set, and the first part of a picture's
file name says which.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpose.data.collection.manifest import LOCATION
from xpose.data.datasets.sources import SourceFolder
from xpose.errors import DataError, quote
from xpose.records import Picture


@dataclass(frozen=True)
class Roots:
    """The two folders a set's pictures may lie in."""

    source: Path | None  # of the original; None where the set keeps all its pictures itself
    prepared: Path

    def of(self, stored: str) -> Path:
        """The folder for a picture's `stored`."""
        return self.prepared if stored == "prepared" or self.source is None else self.source


class Places:
    """Finds the pictures of a prepared set or a collection."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._sources: dict[Path, SourceFolder] = {}
        found = self._read()
        self.roots: dict[str, Roots]
        self.several = "roots" in found
        try:
            if self.several:
                self.roots = {
                    name: Roots(Path(entry["source"]), self._inside(entry["prepared"]))
                    for name, entry in found["roots"].items()
                }
            else:
                self.roots = {"": Roots(Path(found["root"]), self.folder)}
        except (KeyError, TypeError, AttributeError):
            raise self._wrong("it names no folders") from None

    def path(self, picture: Picture) -> Path:
        """The file of a picture.

        Raises:
            DataError: its name leads elsewhere, or its set is not part of the collection.
        """
        name, file = "", picture.file
        if self.several:
            name, _, file = picture.file.partition("/")
        roots = self.roots.get(name)
        if roots is None:
            raise self._wrong(f"it names no folder for the set {quote(name)} of the picture {quote(picture.file)}")
        return self._source(roots.of(picture.stored)).path(file)

    def _source(self, root: Path) -> SourceFolder:
        if root not in self._sources:
            if not root.is_dir():
                raise self._wrong(f"the folder {quote(root)} is not there")
            self._sources[root] = SourceFolder(root)
        return self._sources[root]

    def _inside(self, place: str) -> Path:
        """Folders of sets that were prepared inside the collection are told relative to it."""
        return self.folder / place  # an absolute place stays as it is

    def _read(self) -> dict[str, Any]:
        try:
            value = json.loads((self.folder / LOCATION).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self._wrong(f"it cannot be read ({error})") from None
        if not isinstance(value, dict):
            raise self._wrong("it is not a table of folders")
        return value

    def _wrong(self, what: str) -> DataError:
        return DataError(
            f"{quote(self.folder / LOCATION)} does not say where the pictures are: {what}. "
            'Write {"root": "FOLDER OF THE ORIGINAL"} into it, or prepare (unify) again.'
        )
