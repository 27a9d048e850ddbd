"""Read an original download safely: names that cannot leave the root, finite numbers, intact pictures.

A `SourceFolder` is the only way in which converters touch files. It never writes into the original's folder. It
follows links inside that folder, since people use them to arrange large downloads, but refuses *names in annotation
files* pointing outside.
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from xml.etree.ElementTree import Element, ParseError

from xpose.errors import DataError, missing_extra, quote
from xpose.pictures import PICTURE_ENDINGS
from xpose.pictures.reading import opened, picture_size
from xpose.records import Box, Picture, Point

K = TypeVar("K")
V = TypeVar("V")

MAX_NUMBER = 1e7  # no pixel coordinate is larger; larger numbers are errors in the file
MAX_TEXT = 4 << 30  # bytes of one annotation file
MAX_YAML = 1 << 20  # bytes
MAX_ALIASES = 20  # references to earlier values; many nested ones let a small YAML file expand without limit
MAX_DEPTH = 100  # of nested values in a YAML file; PyYAML takes quadratic time for more
MAX_NAME = 1024  # characters
MAX_PART = 255  # bytes between two slashes
MAX_CELL = 1 << 26  # characters in one cell of a csv table
NESTED = ("FlowSequence", "FlowMapping", "BlockSequence", "BlockMapping")
EXIF_ORIENTATION, UPRIGHT = 0x0112, 1


def safe_name(name: object) -> str:
    """Convert a file name to a relative path with forward slashes; raise `DataError` if it is not valid."""
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME:
        raise DataError(f"{quote(name)} is not a file name. A file name is a text of 1 to {MAX_NAME} characters.")
    if re.search(r"[\x00-\x1f]", name):
        raise DataError(f"{quote(ascii(name))} is refused as a file name: it holds control characters.")
    path = name.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or re.match(r"[A-Za-z]:", path) or ".." in parts or not parts:
        raise DataError(f"{quote(name)} is refused as a file name: it must stay inside the dataset's folder.")
    if any(len(part.encode("utf-8", "surrogatepass")) > MAX_PART for part in parts):
        raise DataError(f"{quote(name)} is refused as a file name: no file system takes more than {MAX_PART} bytes.")
    return "/".join(parts)


class SourceFolder:
    """The folder of an original download (read-only) and the folder for pictures created by a converter."""

    def __init__(self, root: str | Path, prepared: str | Path | None = None) -> None:
        self.root = Path(root)
        self.prepared = None if prepared is None else Path(prepared)
        if not self.root.is_dir():
            way_out = "--root is the folder of the original download. Where to get it: xpose data info NAME"
            raise DataError(f"{quote(self.root)} is not a folder. {way_out}")

    def path(self, name: str) -> Path:
        """The path of a file or folder, which need not exist; composed and decomposed accents match."""
        name = safe_name(name)
        spellings = (name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name))
        return next((path for path in map(self.root.joinpath, spellings) if path.exists()), self.root / name)

    def file(self, name: str) -> Path:
        """The path of a file that must exist."""
        path = self.path(name)
        if not path.is_file():
            raise DataError(f"{quote(name)} is missing under {quote(self.root)}. Fetch it as `info` says.")
        return path

    def has(self, name: str) -> bool:
        """Whether a file or folder with this relative name exists."""
        return self.path(name).exists()

    def files(self, folder: str, endings: Sequence[str], *, deep: bool = False) -> list[str]:
        """The sorted names (relative to the root) of a folder's files with these endings, ignoring case."""
        place = self.path(folder) if folder not in ("", ".") else self.root
        if not place.is_dir():
            return []
        paths = place.rglob("*") if deep else place.iterdir()
        names = [path.relative_to(self.root).as_posix() for path in paths if path.name.lower().endswith(tuple(endings))]
        return sorted(name for name in names if (self.root / name).is_file())

    def stamped(self, names: Iterable[str]) -> tuple[tuple[str, int, int], ...]:
        """The files with size and modification time, so that a digest changes when a file changes."""
        states = [(name, self.path(name).stat()) for name in names]
        return tuple((name, state.st_size, state.st_mtime_ns) for name, state in states)

    def pictures(self, folder: str, *, deep: bool = False) -> list[str]:
        """The names of the pictures in a folder, as in `files`."""
        return self.files(folder, PICTURE_ENDINGS, deep=deep)

    def text(self, name: str) -> str:
        """The whole text of a file (UTF-8, with or without a BOM)."""
        path = self.file(name)
        if path.stat().st_size > MAX_TEXT:
            raise _damaged(path, f"is larger than {MAX_TEXT >> 30} GiB")
        try:
            return path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise _damaged(path, f"is not text: byte {error.start} is not UTF-8") from None

    def lines(self, name: str) -> list[str]:
        """The lines of a text file without line ends."""
        lines = [line.rstrip("\r") for line in self.text(name).split("\n")]  # splitlines would split at U+2028 too
        return lines[:-1] if lines[-1] == "" else lines

    def json(self, name: str) -> Any:
        """The content of a JSON file; NaN and infinity pass here and are refused where a number is needed."""
        text = self.text(name)
        try:
            return json.loads(text)
        except RecursionError:
            raise _damaged(self.path(name), "is nested too deeply to be read") from None
        except ValueError as error:
            raise _damaged(self.path(name), f"is not JSON: {error}") from None

    def xml(self, name: str) -> Element:
        """The root element of an XML file; document types and entities, which can read other files, are refused."""
        try:
            from defusedxml import DefusedXmlException
            from defusedxml.ElementTree import fromstring
        except ImportError:
            raise missing_extra("Reading XML annotations", "defusedxml", "data") from None
        text = self.text(name)
        try:
            root: Element = fromstring(text, forbid_dtd=True)
        except DefusedXmlException:
            raise DataError(f"{quote(name)} declares a document type or entities, which are refused") from None
        except (ParseError, ValueError, RecursionError) as error:
            raise DataError(f"{quote(name)} is not XML: {error}") from None
        return root

    def yaml(self, name: str) -> dict[str, Any]:
        """The mapping in a user's small YAML file; `safe_load` builds only plain values."""
        try:
            import yaml
        except ImportError:
            raise missing_extra("Reading yaml files", "pyyaml", "data") from None
        way_out = "Write it by the example in docs/data-import.md."
        if self.file(name).stat().st_size > MAX_YAML:
            raise DataError(f"{quote(name)} has more than {MAX_YAML:,} bytes, too many for a description. {way_out}")
        text = self.text(name)
        opening = tuple(getattr(yaml, f"{kind}StartToken") for kind in NESTED)
        closing = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)
        aliases = depth = 0
        try:
            for token in yaml.scan(text):
                aliases += isinstance(token, yaml.AliasToken)
                depth += isinstance(token, opening) - isinstance(token, closing)
                if aliases > MAX_ALIASES:
                    raise ValueError(f"it has more than {MAX_ALIASES} references (*name)")
                if depth > MAX_DEPTH:
                    raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
            content = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError) as error:
            reason = str(error).replace("\n", " ")
            raise DataError(f"{quote(name)} is not plain yaml: {reason}. {way_out}") from None
        if not isinstance(content, dict):
            raise DataError(f"{quote(name)} holds {quote(content)} instead of named values. {way_out}")
        return content

    def csv_rows(self, name: str) -> list[list[str]]:
        """The cells of a csv file, row by row."""
        before = csv.field_size_limit(MAX_CELL)
        try:
            return list(csv.reader(io.StringIO(self.text(name), newline=""), strict=True))
        except csv.Error as error:
            raise _damaged(self.path(name), f"is not a csv table: {error}") from None
        finally:
            csv.field_size_limit(before)

    def table(self, name: str, columns: Sequence[str]) -> Iterator[dict[str, str]]:
        """The rows of a csv file with a header, which must have the given columns."""
        header, *rows = self.csv_rows(name) or [[]]
        missing = [column for column in columns if column not in header]
        if missing:
            raise _damaged(self.path(name), f"has no column {', '.join(map(quote, missing))} among {header}")
        for row in filter(None, rows):
            yield dict.fromkeys(header, "") | dict(zip(header, row, strict=False))

    def picture(self, name: str, size: tuple[int, int] | None = None) -> Picture:
        """An intact picture with its true size, which must equal `size` if the annotation gives one."""
        path = self.path(name)
        if not path.is_file():
            raise DataError(f"the picture {quote(name)} is missing")
        width, height = picture_size(path)
        if size not in (None, (width, height)):
            stated = "x".join(map(str, size or ()))
            raise DataError(f"the annotation says {stated}, but the picture {quote(name)} is {width}x{height}")
        return Picture(safe_name(name), width, height)

    def save_picture(self, name: str, pixels: Any) -> Picture:
        """Store a byte array (H, W) or (H, W, 3) as a PNG in the prepared folder, e.g. from an h5 file."""
        from PIL import Image

        if self.prepared is None:
            raise DataError(f"{quote(name)} cannot be stored: this source was opened without a folder to write to.")
        file = f"pictures/{safe_name(name)}"
        image = Image.fromarray(pixels)
        path = self.prepared / file
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, format="PNG")
        return Picture(file, *image.size, stored="prepared")


class Fields:
    """An untrusted JSON object: a getter's error names the file, the field and the rule that is violated."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, Mapping):
            raise DataError(f"{where} is {quote(value)}, not an object with named fields")
        self.value = value
        self.where = where

    def __contains__(self, key: str) -> bool:
        return self.value.get(key) is not None

    def _refuse(self, key: str, rule: str) -> NoReturn:
        stated = quote(self.value[key]) if key in self.value else "missing"
        raise DataError(f"{self.where}: {quote(key)} is {stated}, but must be {rule}")

    def text(self, key: str) -> str:
        """A non-empty text."""
        value = self.value.get(key)
        return value if isinstance(value, str) and value.strip() else self._refuse(key, "a text")

    def integer(self, key: str) -> int:
        """A whole number (also written as 3.0)."""
        value = self.value.get(key)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return value if type(value) is int else self._refuse(key, "a whole number")

    def flag(self, key: str) -> bool:
        """A truth value, also written as a whole number."""
        value = self.value.get(key)
        return value if isinstance(value, bool) else bool(self.integer(key))

    def number(self, key: str) -> float:
        """A finite number, at most `MAX_NUMBER` in size."""
        value = as_number(self.value.get(key))
        return self._refuse(key, "a finite number") if value is None else value

    def numbers(self, key: str, count: int) -> list[float]:
        """A flat list of `count` finite numbers."""
        values = self.value.get(key)
        # Written for speed: a training run reads millions of numbers. NaN fails the comparison.
        if not isinstance(values, list) or len(values) != count or not {*map(type, values)} <= {int, float}:
            self._refuse(key, f"a list of {count} finite numbers")
        if not all(-MAX_NUMBER <= value <= MAX_NUMBER for value in values):
            self._refuse(key, f"a list of {count} finite numbers")
        return [float(value) for value in values]

    def points(self, key: str, names: Sequence[str]) -> dict[str, Point]:
        """COCO's flat list x, y, v as points by name; those with visibility 0 are omitted."""
        flat = self.numbers(key, 3 * len(names))
        points = {}
        for name, x, y, v in zip(names, flat[0::3], flat[1::3], flat[2::3], strict=True):
            if v not in (0, 1, 2):
                raise DataError(f"{self.where}: the visibility of {quote(name)} is {v}, not 0, 1 or 2")
            if v:
                points[name] = (x, y, int(v))
        return points

    def list(self, key: str, count: int | None = None) -> list[Any]:
        """A list of any values, of length `count` if given."""
        value = self.value.get(key)
        rule = "a list" if count is None else f"a list of {count}"
        return value if isinstance(value, list) and count in (None, len(value)) else self._refuse(key, rule)

    def objects(self, key: str, what: str) -> Iterator[Fields]:
        """The objects in a list; messages refer to each as `what` and its number."""
        for number, value in enumerate(self.list(key), start=1):
            yield Fields(value, f"{self.where}: {what} number {number}")

    def object(self, key: str) -> Fields:
        """An object inside this one."""
        return Fields(self.value.get(key), f"{self.where}: {quote(key)}")


def grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """The second values of the pairs, grouped by the first."""
    groups: dict[K, list[V]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def as_number(value: object) -> float | None:
    """The value as a float, or None if it is not a finite number or too large for a pixel coordinate."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= MAX_NUMBER else None  # NaN fails the comparison too


def parse_number(text: str, where: str) -> float:
    """A finite number from a text file."""
    try:
        value = as_number(float(text))
    except ValueError:
        value = None
    if value is None:
        raise DataError(f"{where}: {quote(text)} is not a finite number of a size that pixels can have")
    return value


def parse_numbers(text: str, count: int, where: str, separator: str | None = None) -> list[float]:
    """`count` finite numbers from a line of a text file."""
    cells = text.split(separator)
    if len(cells) != count:
        raise DataError(f"{where}: {quote(text)} is not {count} numbers")
    return [parse_number(cell.strip(), where) for cell in cells]


def box_of_points(
    points: Iterable[Sequence[float]], margin: float = 0.0, inside: Picture | None = None, *, even: bool = False
) -> Box:
    """The box (x, y, width, height) around points (x, y, ...), clipped to the picture `inside`.

    `margin` is a share of the extent added on each side; `even` uses the longer side's for both axes.
    """
    xs, ys = [], []
    for x, y, *_ in points:
        xs.append(x)
        ys.append(y)
    if not xs:
        raise DataError("there is neither a box nor a labelled point to make one from")
    dx, dy = margin * (max(xs) - min(xs)), margin * (max(ys) - min(ys))
    if even:
        dx = dy = max(dx, dy)
    left, top, right, bottom = min(xs) - dx, min(ys) - dy, max(xs) + dx, max(ys) + dy
    if inside is not None:
        left, top = max(left, 0.0), max(top, 0.0)
        right, bottom = min(right, float(inside.width)), min(bottom, float(inside.height))
    return left, top, right - left, bottom - top


def turned(path: Path) -> int:
    """The EXIF orientation of a picture that viewers rotate or mirror; 0 if they show it as it is stored."""
    try:
        with opened(path) as image:
            orientation = image.getexif().get(EXIF_ORIENTATION, UPRIGHT)
    except Exception:  # `SourceFolder.picture` reports damaged files
        return 0
    return 0 if orientation == UPRIGHT else int(orientation)


def refuse_turned(path: Path) -> None:
    """Refuse a picture that viewers rotate: its labels fit the rotated picture, but records use the stored one."""
    if orientation := turned(path):
        raise DataError(
            f"the picture {quote(path.name)} is stored turned (EXIF orientation {orientation}) and was labelled "
            "upright; save it upright without that mark, then import again"
        )


def whole_file_fault(error: DataError, way_out: str) -> DataError:
    """The error for a fault of a whole file: its message, with `way_out` added if it gives no advice."""
    message = str(error)
    return error if message.endswith((".", "?")) else DataError(f"{message}. {way_out}")


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"{quote(path)} {what}. It may be cut short or damaged: repair it, or fetch it again.")
