"""Stages 3 and 4: decode pictures, and detect in them. Both take a chunk of a shard, and can run anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from xpose.batch.listing import Entry
from xpose.batch.plan import pyarrow
from xpose.batch.reading import read
from xpose.errors import ConfigError, ImageError, MissingExtraError, first_line, memory_errors
from xpose.inference.encoded import EncodedClass, PreparedImage
from xpose.inference.options import DetectionOptions
from xpose.inference.preprocess import prepare
from xpose.pictures.reading import picture_from_bytes
from xpose.results.formats.csv import COLUMNS, TEXTS, WHOLE, rows_of

if TYPE_CHECKING:
    from xpose.inference import Detector
    from xpose.results import Poses

CHUNK = 16  # pictures that go through the stages together
_AT_ONCE = 8  # pictures of equal size in a call on a GPU
_MEMORY = "It does not fit into memory. Reduce it."
# The columns of `Poses.save(path, "parquet")`, and those for pictures.
ROW = (*COLUMNS, "keypoint_error", "width", "height", "error")

Image = PreparedImage | str  # or why there is none


class Rows(NamedTuple):
    """The results of a chunk."""

    shard: int
    start: int  # the place of its first picture in the shard
    pictures: int
    objects: int
    failed: int
    table: Any  # of pyarrow, with the columns `ROW`


@dataclass(frozen=True)
class Decode:
    """Reads and decodes pictures, without the network."""

    short: int  # the network's sizes of pictures, as in `XPoseConfig`
    limit: int
    region: Sequence[float] | None = None
    column: str | None = None  # of Parquet files

    def __call__(self, entries: Sequence[Entry]) -> list[Image]:
        """The network's inputs; a picture that cannot be read becomes the reason."""
        return [self._image(entry) for entry in entries]

    def _image(self, entry: Entry) -> Image:
        try:
            found = read(entry, self.column)
            pixels = picture_from_bytes(found, entry.key) if isinstance(found, bytes) else found
            return prepare(pixels, self.short, self.limit, self.region)
        except MissingExtraError:
            raise
        except ImageError as error:
            return str(error)
        except memory_errors():
            return _MEMORY
        except Exception as error:  # one odd file must not stop a million others
            reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
            return f"It cannot be read ({reason})."


class Detect:
    """Runs the network."""

    def __init__(self, detector: Detector, classes: list[EncodedClass], options: DetectionOptions) -> None:
        self._detector, self.calls = detector.side_by_side()
        self._classes, self._options = classes, replace(options, region=None)  # which is cut out while decoding
        self._size = _AT_ONCE if detector.engine.resizes else 1  # only GPUs gain from it
        self._threads = ThreadPoolExecutor(self.calls, "network") if self.calls > 1 else None

    def __call__(self, shard: int, start: int, entries: Sequence[Entry], images: Sequence[Image]) -> Rows:
        """The rows of a chunk."""
        there = [image for image in images if isinstance(image, PreparedImage)]
        found = iter(self._found(there))
        results = [image if isinstance(image, str) else next(found) for image in images]
        rows = [row for entry, result in zip(entries, results, strict=True) for row in _rows(entry.key, result)]
        objects = sum(len(result) for result in results if not isinstance(result, str))
        failed = sum(isinstance(result, str) for result in results)
        return Rows(shard, start, len(entries), objects, failed, _table(rows))

    def _found(self, images: list[PreparedImage]) -> list[Poses | str]:
        if self._threads is not None:
            return list(self._threads.map(self._alone, images))
        of_pictures: tuple[type[Exception], ...] = (ImageError, *memory_errors())
        try:
            return list(self._detect(images))
        except of_pictures:
            return [self._alone(image) for image in images]

    def _alone(self, image: PreparedImage) -> Poses | str:
        try:
            return self._detect([image])[0]
        except ImageError as error:
            return str(error)
        except memory_errors():
            return _MEMORY

    def _detect(self, images: list[PreparedImage]) -> list[Poses]:
        return self._detector.detect(images, self._classes, options=self._options, batch_size=self._size)


@dataclass(frozen=True)
class DetectSetup:
    """How another process gets the stage `Detect`; the prompts are already encoded."""

    weights: str | None
    device: str | None
    dtype: str | None
    clip: str | None
    fingerprint: str
    classes: list[EncodedClass]
    options: DetectionOptions

    def load(self) -> Detect:
        """The stage.

        Raises:
            ConfigError: the weights are others than those that encoded the prompts.
        """
        from xpose.inference import load

        detector = load(self.weights, device=self.device, dtype=self.dtype, clip=self.clip)
        if detector.engine.fingerprint() != self.fingerprint:
            raise ConfigError(
                f"The weights {detector.name} on a worker are others than those of the same name where the run was "
                "started. Use a path that is the same on all machines."
            )
        return Detect(detector, self.classes, self.options)


def _rows(key: str, result: Poses | str) -> list[list[Any]]:
    """The rows of a picture: one for each keypoint, or one that has only the picture."""
    if isinstance(result, str):
        return [[key, *[None] * (len(ROW) - 2), result]]
    height, width = result.image_size
    size = [width, height, None]
    rows = [[*row, *size] for row in rows_of(replace(result, source=key), with_errors=True)]
    return rows or [[key, *[None] * (len(ROW) - 4), *size]]


def schema() -> Any:
    """The schema of the results."""
    arrow = pyarrow()
    kinds = dict.fromkeys(ROW, arrow.float64())
    kinds |= dict.fromkeys((*TEXTS, "error"), arrow.string())
    kinds |= dict.fromkeys((*(name for name in WHOLE if name in ROW), "width", "height"), arrow.int64())
    return arrow.schema(list(kinds.items()))


def _table(rows: list[list[Any]]) -> Any:
    fields = schema()
    columns = zip(*rows, strict=True)
    arrays = [pyarrow().array(cells, field.type) for cells, field in zip(columns, fields, strict=True)]
    return pyarrow().Table.from_arrays(arrays, schema=fields)
