"""h5 files from downloads: plain arrays of numbers inside the file itself, and nothing else of what HDF5 can do.

An HDF5 file may point into other files (external links, external storage, virtual arrays), hold objects to unpickle,
and promise more than any memory holds. All of this is refused before a number is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from xpose.data.datasets.sources import Source
from xpose.errors import DataError, missing_extra, quote

MAX_CHUNK = 1 << 30  # bytes that reading one row may unpack
POINTER = b"version https://git-lfs"  # how the stand-in of a large file begins in a Git repository


@contextmanager
def open_h5(source: Source, name: str, way_out: str = "It may be cut short: fetch it again.") -> Iterator[Any]:
    """The open file; inside the block do nothing but read it, since every error there is taken for one of the file.

    Raises:
        DataError: it is missing, no HDF5 file, or damaged where it was read.
    """
    try:
        import h5py
    except ImportError:
        raise missing_extra("Reading h5 files", "h5py", "data") from None
    path = source.file(name)
    with open(path, "rb") as stream:
        if stream.read(len(POINTER)) == POINTER:
            raise DataError(f"{quote(name)} is only Git's stand-in for the file. Fetch the file with: git lfs pull")
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except DataError:
        raise
    except Exception as error:  # damaged files make the HDF5 library fail in every way
        text = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{quote(name)} cannot be read as h5: {text}. {way_out}") from None


def array_in(file: Any, key: str, kinds: str, shape: Sequence[int | None], where: str) -> Any:
    """The array of that name without its numbers: slice it to read them.

    `kinds` are numpy's letters for kinds of numbers, `shape` the lengths that are known.

    Raises:
        DataError: there is none in the file itself, or it is of another kind or shape.
    """
    import h5py

    if not isinstance(file.get(key, getlink=True), h5py.HardLink):
        raise DataError(f"{quote(where)} holds no array {quote(key)} of its own, but {sorted(file)}. {_WAY_OUT}")
    array = file[key]
    if not isinstance(array, h5py.Dataset) or array.is_virtual or array.external:
        raise DataError(f"{quote(key)} of {quote(where)} is not an array with its numbers in this file. {_WAY_OUT}")
    lengths = array.shape or ()
    fits = len(lengths) == len(shape) and all(b in (None, a) for a, b in zip(lengths, shape, strict=True))
    if array.dtype.kind not in kinds or not fits:
        wanted = " x ".join("any" if length is None else str(length) for length in shape)
        raise DataError(
            f"{quote(key)} of {quote(where)} is {' x '.join(map(str, lengths))} of {array.dtype}, but must be {wanted} "
            f"of kind {' or '.join(kinds)}. {_WAY_OUT}"
        )
    if math.prod(array.chunks or lengths[1:]) * array.dtype.itemsize > MAX_CHUNK:
        raise DataError(f"One row of {quote(key)} of {quote(where)} takes more than {MAX_CHUNK >> 30} GiB. {_WAY_OUT}")
    return array


_WAY_OUT = "It may be damaged or of another release: fetch it again."
