"""Finding the pictures that a foreign file names: tools write paths of the machine they ran on, or bare names."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from xpose.data.datasets.sources import SourceFolder, safe_name
from xpose.errors import DataError, quote
from xpose.pictures.reading import opened

PICTURE_FOLDERS = ("images", "imgs", "data")
UPLOAD_MARK = re.compile(r"^[0-9a-f]{8}-")  # put before the name of an uploaded picture by Label Studio
ORIENTATION, UPRIGHT = 0x0112, 1  # of EXIF
MAX_PICTURES = 5_000_000


class PictureFinder:
    """The pictures under a folder, found by as much of their path as a file gives."""

    def __init__(self, source: SourceFolder) -> None:
        self.source = source
        self._by_name: dict[str, list[str]] | None = None

    def find(self, name: str, split: str = "") -> str:
        """Where a picture lies, relative to the root; the name itself if it is nowhere (the report will say so).

        Raises:
            DataError: the name leads out of the root, or several pictures could be meant.
        """
        name = safe_name(name)
        folders = [*(f"{folder}/{split}" for folder in PICTURE_FOLDERS), split] if split else []
        places = (name, *(f"{folder}/{name}" for folder in (*folders, *PICTURE_FOLDERS)))
        place = next((place for place in places if self.source.path(place).is_file()), None)
        return place or self._search(name, split) or name

    def find_url(self, address: str) -> str:
        """The same for an address as labelling tools export it: of their server, of a cloud store, or a path.

        Raises:
            DataError: nothing in it is a name, or several pictures could be meant.
        """
        path = address
        if re.match(r"[a-z][a-z0-9+.-]*://|/data/local-files", address):
            try:
                parts = urlsplit(address)
            except ValueError as error:
                raise DataError(f"{quote(address)} is not an address: {error}") from None
            path = parse_qs(parts.query).get("d", [parts.path])[0]
        pieces = [piece for piece in unquote(path).replace("\\", "/").split("/") if piece not in ("", ".", "..")]
        if not pieces:
            raise DataError(f"{quote(address)} names no picture")
        name = safe_name("/".join(pieces[1:] if pieces[0].endswith(":") else pieces))
        bare = UPLOAD_MARK.sub("", pieces[-1])
        place = self._search(name) or (self._search(safe_name(bare)) if bare != pieces[-1] else None)
        return place or safe_name(pieces[-1])

    def _search(self, name: str, split: str = "") -> str | None:
        """The picture whose path shares most of its end with the name."""
        if self._by_name is None:
            self._by_name = {}
            for place in self.source.pictures("", deep=True)[:MAX_PICTURES]:
                self._by_name.setdefault(place.rsplit("/", 1)[-1], []).append(place)
        candidates = self._by_name.get(name.rsplit("/", 1)[-1], [])
        if not candidates:
            return None
        shared = {place: _shared_parts(place, name) for place in candidates}
        matches = [place for place in candidates if shared[place] == max(shared.values())]
        if len(matches) > 1 and split:
            matches = [place for place in matches if split in place.split("/")] or matches
        if len(matches) > 1:
            raise DataError(
                f"{quote(name)} may be {' or '.join(map(quote, matches[:3]))}; "
                "give the folder that is meant with --pictures"
            )
        return matches[0]


def _shared_parts(place: str, name: str) -> int:
    """How many parts the ends of two paths have in common."""
    pairs = zip(reversed(place.split("/")), reversed(name.split("/")), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def refuse_turned(path: Path) -> None:
    """Refuse a picture that viewers rotate: its labels were drawn on the rotated one, records describe the stored one.

    Raises:
        DataError: its EXIF data say that it has to be rotated or mirrored.
    """
    try:
        with opened(path) as image:
            orientation = image.getexif().get(ORIENTATION, UPRIGHT)
    except Exception:  # whatever a damaged file does, `SourceFolder.picture` reports it
        return
    if orientation not in (0, UPRIGHT):
        raise DataError(
            f"the picture {quote(path.name)} is stored turned (EXIF orientation {orientation}) and was labelled "
            "upright; save it upright without that mark, then import again"
        )
