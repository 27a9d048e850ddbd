"""Reading arrays of numbers, and nothing else, from downloaded h5 and Matlab files.

An HDF5 file can point to other files (external links, external storage, virtual arrays), contain pickled objects, and
declare arrays larger than memory. All of this is refused before a number is read. Matlab files are read with the code
below (version 5) and with h5py (version 7.3, which is HDF5), because one damaged byte can crash scipy's reader (1.17.1)
with a segmentation fault.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpose.data.datasets.sources import SourceFolder
from xpose.errors import DataError, missing_extra, quote

if TYPE_CHECKING:
    import numpy as np

MAX_CHUNK = 1 << 30  # limit of unpacked bytes per row
POINTER = b"version https://git-lfs"  # start of a Git LFS pointer file
WAY_OUT = "It may be damaged or of another release: fetch it again."

HDF5 = b"\x89HDF\r\n\x1a\n"
HDF5_AT = 512  # bytes of text before the HDF5 data in a Matlab file
MAX_NUMBERS = 1 << 27
MAX_BYTES = 8 * MAX_NUMBERS + 4096

# Codes in the published format of Matlab's version 5.
HEADER = 128
ENDS = {b"IM": "<", b"MI": ">"}
MATRIX, COMPRESSED = 14, 15
KINDS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
NUMBERS = range(6, 16)  # the classes of arrays of numbers: double, single, int8, ..., uint64
CLASSES = {1: "a cell", 2: "a structure", 3: "an object", 4: "text", 5: "a sparse array"}
COMPLEX = 0x0800


@contextmanager
def open_h5(source: SourceFolder, name: str, way_out: str = "It may be cut short: fetch it again.") -> Iterator[Any]:
    """The open `h5py.File`; only read it inside the block, since any error there is blamed on the file."""
    try:
        import h5py
    except ImportError:
        raise missing_extra("Reading h5 files", "h5py", "data") from None
    path = source.file(name)
    if _starts(path, len(POINTER)) == POINTER:
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
    """The `h5py.Dataset` with that name, not yet read: slice it to read it.

    `kinds` are numpy's dtype kind letters; `shape` has the known lengths.
    """
    import h5py

    if not isinstance(file.get(key, getlink=True), h5py.HardLink):
        raise DataError(f"{quote(where)} holds no array {quote(key)} of its own, but {sorted(file)}. {WAY_OUT}")
    array = file[key]
    if not isinstance(array, h5py.Dataset) or array.is_virtual or array.external:
        raise DataError(f"{quote(key)} of {quote(where)} is not an array with its numbers in this file. {WAY_OUT}")
    lengths = array.shape or ()
    fits = len(lengths) == len(shape) and all(b in (None, a) for a, b in zip(lengths, shape, strict=True))
    if array.dtype.kind not in kinds or not fits:
        expected = " x ".join("any" if length is None else str(length) for length in shape)
        raise DataError(
            f"{quote(key)} of {quote(where)} is {_sides(lengths)} of {array.dtype}, but must be {expected} "
            f"of kind {' or '.join(kinds)}. {WAY_OUT}"
        )
    if math.prod(array.chunks or lengths[1:]) * array.dtype.itemsize > MAX_CHUNK:
        raise DataError(f"One row of {quote(key)} of {quote(where)} takes more than {MAX_CHUNK >> 30} GiB. {WAY_OUT}")
    return array


def mat_array(source: SourceFolder, name: str, variable: str, dimensions: int) -> np.ndarray:
    """One variable of a Matlab file, in Matlab's order of axes."""
    path = source.file(name)
    head = _starts(path, HDF5_AT + len(HDF5))
    try:
        if HDF5 in (head[: len(HDF5)], head[HDF5_AT:]):
            with open_h5(source, name) as file:
                array = array_in(file, variable, "fiu", (None,) * dimensions, name)
                _check_count(array.shape)
                numbers: np.ndarray = array[()].T  # HDF5 has Matlab's axes in reverse order
            return numbers
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has {path.stat().st_size} bytes, more than {MAX_BYTES}")
        return _from_mat(path.read_bytes(), variable, dimensions)
    except (ValueError, struct.error, zlib.error) as error:
        raise DataError(
            f"{quote(name)} is not a Matlab file with the array {quote(variable)}: {error}. {WAY_OUT}"
        ) from None


def _starts(path: Path, count: int) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(count)


def _sides(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _check_count(shape: Sequence[int]) -> None:
    if not 0 < math.prod(shape) <= MAX_NUMBERS:
        raise ValueError(f"it has {math.prod(shape)} numbers, but may have 1 to {MAX_NUMBERS}")


def _from_mat(content: bytes, variable: str, dimensions: int) -> np.ndarray:
    end = ENDS.get(content[126:HEADER])
    if end is None:
        raise ValueError("it does not begin like a file of version 5 or 7.3")
    for kind, data in _elements(content[HEADER:], end, padded=False):
        if kind == COMPRESSED:
            kind, data = _unpacked(data, end)
        if kind == MATRIX:
            parts = _elements(data, end)
            flags, shape, name = next(parts, None), next(parts, None), next(parts, None)
            if flags and shape and name and name[1] == variable.encode():
                return _array(flags[1], shape[1], next(parts, (0, b"")), end, dimensions)
    raise ValueError("there is none of that name")


def _elements(data: bytes, end: str, *, padded: bool = True) -> Iterator[tuple[int, bytes]]:
    """Yield each element's type and content; inside a matrix, each is padded to 8 bytes."""
    place = 0
    while place + 8 <= len(data):
        kind, length = struct.unpack_from(f"{end}II", data, place)
        start = place + 8
        if kind >> 16:  # short form: up to four bytes instead of their count
            kind, length, start = kind & 0xFFFF, kind >> 16, place + 4
            place += 8
            if length > 4:
                raise ValueError(f"a short element has {length} bytes")
        else:
            place = start + length + (-length % 8 if padded or kind == MATRIX else 0)
        if start + length > len(data):
            raise ValueError(f"an element ends at byte {start + length} of {len(data)}")
        yield kind, data[start : start + length]


def _unpacked(data: bytes, end: str) -> tuple[int, bytes]:
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(data, MAX_BYTES)
    if not unpacker.eof:
        raise ValueError("its compressed part is cut short, or unpacks to more than any array may have")
    return next(_elements(content, end), (0, b""))


def _array(flags: bytes, shape: bytes, data: tuple[int, bytes], end: str, dimensions: int) -> np.ndarray:
    import numpy as np

    bits = struct.unpack_from(f"{end}I", flags)[0]
    lengths = struct.unpack(f"{end}{len(shape) // 4}i", shape)
    if bits & 0xFF not in NUMBERS or bits & COMPLEX:
        raise ValueError(f"it is {CLASSES.get(bits & 0xFF, 'something')}, not an array of real numbers")
    if len(lengths) != dimensions or min(lengths) < 0:
        raise ValueError(f"it is {_sides(lengths)}, but must have {dimensions} axes")
    _check_count(lengths)
    kind, numbers = data
    if kind not in KINDS:
        raise ValueError(f"its numbers are of the unknown type {kind}")
    values = np.frombuffer(numbers, np.dtype(end + KINDS[kind]))  # Matlab stores doubles as small integers if it can
    if len(values) != math.prod(lengths):
        raise ValueError(f"it has {len(values)} numbers for {_sides(lengths)}")
    return values.reshape(lengths, order="F")
