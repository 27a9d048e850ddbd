"""Arrays of numbers out of Matlab's files: version 5 with the few lines below, version 7.3 (which is HDF5) with h5py.

Why not scipy: its reader ends the whole process with a segmentation fault where a single byte of the file is damaged
(found with scipy 1.17.1: the type number of an array's data), and a download is not to be trusted. Only arrays of real
numbers are read here; cells, structures, objects and functions are refused.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from xpose.data.datasets.converters.h5_files import array_in, open_h5
from xpose.data.datasets.sources import Source
from xpose.errors import DataError, quote

if TYPE_CHECKING:
    import numpy as np

HDF5 = b"\x89HDF\r\n\x1a\n"
HDF5_AT = 512  # bytes of text before HDF5 begins
MAX_NUMBERS = 1 << 27
MAX_BYTES = 8 * MAX_NUMBERS + 4096

# Version 5, by the numbers of its published format.
HEADER = 128
ENDS = {b"IM": "<", b"MI": ">"}
MATRIX, COMPRESSED = 14, 15
KINDS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
NUMBERS = range(6, 16)  # the classes of arrays of numbers: double, single, int8, ..., uint64
CLASSES = {1: "a cell", 2: "a structure", 3: "an object", 4: "text", 5: "a sparse array"}
COMPLEX = 0x0800


def mat_array(source: Source, name: str, variable: str, dimensions: int) -> np.ndarray:
    """One variable, in Matlab's order of axes.

    Raises:
        DataError: the file is missing or damaged, or has no such array of numbers.
    """
    path = source.file(name)
    with open(path, "rb") as stream:
        head = stream.read(HDF5_AT + len(HDF5))
    if HDF5 in (head[: len(HDF5)], head[HDF5_AT:]):
        return _from_h5(source, name, variable, dimensions)
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{quote(name)} has {path.stat().st_size} bytes, more than {MAX_BYTES}. Fetch it again.")
    try:
        return _from_mat(path.read_bytes(), variable, dimensions)
    except (ValueError, struct.error, zlib.error) as error:
        raise DataError(
            f"{quote(name)} is not a Matlab file with the array {quote(variable)}: {error}. "
            "It may be cut short or of another release: fetch it again."
        ) from None


def _from_h5(source: Source, name: str, variable: str, dimensions: int) -> np.ndarray:
    with open_h5(source, name) as file:
        array = array_in(file, variable, "fiu", (None,) * dimensions, name)
        if not 0 < math.prod(array.shape) <= MAX_NUMBERS:
            raise DataError(f"{quote(variable)} of {quote(name)} {_too_many(array.shape)}. Fetch it again.")
        numbers: np.ndarray = array[()].T  # HDF5 has Matlab's axes the other way round
    return numbers


def _too_many(shape: tuple[int, ...]) -> str:
    return f"has {math.prod(shape)} numbers, but may have 1 to {MAX_NUMBERS}"


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
                return _array(flags, shape, next(parts, None), end, dimensions)
    raise ValueError("there is none of that name")


def _elements(data: bytes, end: str, *, padded: bool = True) -> Iterator[tuple[int, bytes]]:
    """Type and content of the elements that stand one after another; inside a matrix each is padded to 8 bytes."""
    place = 0
    while place + 8 <= len(data):
        kind, length = struct.unpack_from(f"{end}II", data, place)
        start = place + 8
        if kind >> 16:  # the short form: up to four bytes, in the place of their number
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


def _array(
    flags: tuple[int, bytes], shape: tuple[int, bytes], data: tuple[int, bytes] | None, end: str, dimensions: int
) -> np.ndarray:
    import numpy as np

    bits = struct.unpack_from(f"{end}I", flags[1])[0]
    lengths = struct.unpack(f"{end}{len(shape[1]) // 4}i", shape[1])
    if bits & 0xFF not in NUMBERS or bits & COMPLEX:
        raise ValueError(f"it is {CLASSES.get(bits & 0xFF, 'something')}, not an array of real numbers")
    if len(lengths) != dimensions or min(lengths) < 0:
        raise ValueError(f"it is {' x '.join(map(str, lengths))}, but must have {dimensions} axes")
    if not 0 < math.prod(lengths) <= MAX_NUMBERS:
        raise ValueError(f"it {_too_many(lengths)}")
    kind, numbers = data or (0, b"")
    if kind not in KINDS:
        raise ValueError(f"its numbers are of the unknown type {kind}")
    values = np.frombuffer(numbers, np.dtype(end + KINDS[kind]))  # Matlab stores doubles as small integers if it can
    if len(values) != math.prod(lengths):
        raise ValueError(f"it has {len(values)} numbers for {' x '.join(map(str, lengths))}")
    return values.reshape(lengths, order="F")
