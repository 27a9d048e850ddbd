"""Where the pictures of MP-100 lie. Its authors give away annotations only; the pictures are those of eleven sets.

They are looked for where the authors ask to gather them (`images/FOLDER/...`, or `FOLDER/...` as in their README), and
then in the original downloads, which need not be copied: `originals/NAME/...`, NAME being the converter of that set.

CarFusion's names cannot be trusted: they count the sequences in whatever order a machine listed them. With the
original beside it, a frame is identified by its camera and number, and then by the points of the cars in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from xpose.data.datasets.converters.carfusion import Cars, gt_files, read_cars
from xpose.data.datasets.sources import Source
from xpose.errors import DataError, quote
from xpose.records import Point

ORIGINALS = "originals"
NEAR = 1.0  # pixels; the authors' converter cuts fractions off


class OriginalPictures:
    """Finds pictures below one root."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._names: dict[str, dict[str, list[str]]] = {}

    def find(self, name: str, origin: str | None, objects: Iterable[Mapping[str, Point]]) -> str:
        """The place of a picture that the file calls `name`, relative to the root.

        `origin` is the set that it comes from, as far as that is known; `objects` are the points labelled in it.

        Raises:
            DataError: it is nowhere, or several pictures may be meant.
        """
        folder, _, rest = name.partition("/")
        if origin == "carfusion" and self._frames:
            return self._car(rest or folder, objects)
        for place in (f"images/{name}", name, f"{ORIGINALS}/{origin}/{rest or folder}"):
            if self.source.path(place).is_file():
                return place
        alike = self._by_name(origin, folder).get(name.rpartition("/")[2], []) if origin else []
        if len(alike) > 1:
            raise DataError(f"the original has {len(alike)} pictures of that name: {', '.join(alike[:3])}")
        if not alike:
            raise DataError(f"the picture is neither in images nor in {ORIGINALS}/{origin or 'NAME'}")
        return alike[0]

    def _by_name(self, origin: str, folder: str) -> dict[str, list[str]]:
        """The pictures of an original by their last name; those of furniture are numbered anew in each folder."""
        place = f"{ORIGINALS}/{origin}/{folder}" if origin == "keypoint-5" else f"{ORIGINALS}/{origin}"
        if place not in self._names:
            by_name = self._names[place] = {}
            for name in self.source.pictures(place, deep=True):
                by_name.setdefault(name.rpartition("/")[2], []).append(name)
        return self._names[place]

    @cached_property
    def _frames(self) -> dict[tuple[int, int], list[tuple[str, str]]]:
        """CarFusion's pictures and their gt files by camera and frame."""
        place = f"{ORIGINALS}/carfusion"
        files = {(*_sequence(name), *_frame(name)): name for name in gt_files(self.source, place)}
        frames: dict[tuple[int, int], list[tuple[str, str]]] = {}
        for name in self.source.pictures(place, deep=True):
            file = files.get((*_sequence(name), *_frame(name)))
            if file is not None:
                frames.setdefault(_frame(name), []).append((name, file))
        return frames

    def _car(self, name: str, objects: Iterable[Mapping[str, Point]]) -> str:
        number = name.rpartition(".")[0]
        if not (number.isascii() and number.isdigit()) or len(number) > 15:
            raise DataError(f"{quote(name)} is not a number as CarFusion's frames have")
        frame = int(number) // 10**5 % 10**3, int(number) % 10**5
        labelled = [points for points in objects if points]
        if not labelled:
            raise DataError("no car in it is labelled, so its frame is unknown")
        candidates = self._frames.get(frame, [])
        matching = [picture for picture, file in candidates if _same_cars(read_cars(self.source, file), labelled)]
        if len(matching) != 1:
            raise DataError(
                f"{len(matching)} of the {len(candidates)} frames {frame[0]}_{frame[1]:05} of CarFusion have its cars"
            )
        return matching[0]


def _sequence(name: str) -> tuple[str, str]:
    """The folders of split and sequence."""
    parts = name.split("/")
    return ("", "") if len(parts) < 4 else (parts[-4], parts[-3])


def _frame(name: str) -> tuple[int, int]:
    """Camera and frame in "16_06401.jpg"; -1 for other names."""
    camera, _, frame = name.rpartition("/")[2].rpartition(".")[0].partition("_")
    plain = (camera + frame).isascii() and camera.isdigit() and frame.isdigit() and len(camera + frame) < 15
    return (int(camera), int(frame)) if plain else (-1, -1)


def _same_cars(cars: Cars, objects: list[Mapping[str, Point]]) -> bool:
    """Whether each object's points are those of one of the cars."""

    def same(car: Mapping[str, Point], points: Mapping[str, Point]) -> bool:
        return all(
            name in car and abs(car[name][0] - x) <= NEAR and abs(car[name][1] - y) <= NEAR
            for name, (x, y, _) in points.items()
        )

    return all(any(same(car, points) for car in cars.values()) for points in objects)
