"""Places of files: local paths, and URLs of any file system that fsspec knows."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from xpose.errors import ConfigError, ImageError, did_you_mean, first_line, missing_extra, quote
from xpose.pictures.reading import natural_key

MOST_BYTES = 1 << 30  # of a picture file


def is_url(place: str) -> bool:
    """Whether this is a URL and not a local path."""
    return "://" in place


def ending(place: str) -> str:
    """The ending of a file name, in lower case and with the dot."""
    return PurePosixPath(urlsplit(place).path if is_url(place) else place).suffix.lower()


def file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Raises:
        MissingExtraError: fsspec is not installed.
        ConfigError: there is no such file system, or a package for it is missing.
    """
    _check_protocol(url.partition("://")[0].partition("::")[0])
    import fsspec

    return fsspec.core.url_to_fs(url)


@cache
def _check_protocol(protocol: str) -> None:
    try:
        import fsspec
    except ImportError:
        raise missing_extra(f"Reading {protocol}:// URLs", "fsspec", "batch") from None
    try:
        fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"{protocol}:// URLs cannot be read ({first_line(error)}). Install the package for them, or copy the files."
        ) from None


def opened(place: str) -> IO[bytes]:
    """A file for reading.

    Raises:
        ImageError: it is a pipe, a device or a folder.
    """
    if not is_url(place):
        if os.path.exists(place) and not os.path.isfile(place):
            raise ImageError("It is no regular file.")
        return open(place, "rb")
    system, path = file_system(place)
    return system.open(path, "rb")


def content(place: str, at: int = 0, size: int | None = None) -> bytes:
    """The bytes of a file, or a part of them.

    Raises:
        ImageError: they are more than `MOST_BYTES`.
    """
    if size is None or not is_url(place):
        with opened(place) as file:
            file.seek(at)
            data = file.read(MOST_BYTES + 1 if size is None else min(size, MOST_BYTES + 1))
    else:
        system, path = file_system(place)
        data = system.cat_file(path, at, at + min(size, MOST_BYTES + 1))
    if len(data) > MOST_BYTES:
        raise ImageError(f"It has more than {MOST_BYTES >> 30} GiB, which is no picture.")
    return data


def expanded(word: str, apart: Path) -> Iterator[tuple[str, bool]]:
    """The files that a word of a command line stands for, and whether the word is the file itself.

    Folders stand for all files in them and in their subfolders, without hidden ones and without the folder `apart`.
    The order is natural: 2 comes before 10.

    Raises:
        ImageError: there is no such file.
    """
    if is_url(word):
        system, path = file_system(word)
        if glob.has_magic(path):
            found = system.glob(path)
        elif not system.exists(path):
            raise ImageError(f"There is no {quote(word)}. Check the URL.")
        elif not system.isdir(path):
            yield word, True
            return
        else:
            found = system.find(path)
        inside = len(PurePosixPath(path).parts)
        visible = [name for name in found if not any(p.startswith(".") for p in PurePosixPath(name).parts[inside:])]
        yield from ((system.unstrip_protocol(name), False) for name in sorted(visible, key=_natural))
        return
    path = os.path.expanduser(word)
    if os.path.isdir(path):
        yield from ((name, False) for name in _in_folder(path, apart))
    elif os.path.exists(path):
        yield word, True
    elif glob.has_magic(word):
        found = [name for name in glob.iglob(path, recursive=True) if os.path.isfile(name)]
        yield from ((name, False) for name in sorted(found, key=_natural))
    else:
        beside = os.listdir(os.path.dirname(path) or ".") if os.path.isdir(os.path.dirname(path) or ".") else []
        raise ImageError(f"There is no {quote(word)}.{did_you_mean(os.path.basename(path), beside, 1)} Check the path.")


def _in_folder(folder: str, apart: Path) -> Iterator[str]:
    def stop(error: OSError) -> None:
        raise error

    for root, folders, names in os.walk(folder, onerror=stop):
        kept = [name for name in folders if name[0] != "." and Path(os.path.abspath(root), name) != apart]
        folders[:] = sorted(kept, key=_natural)
        for name in sorted((name for name in names if name[0] != "."), key=_natural):
            yield os.path.join(root, name)


def _natural(name: str) -> Any:
    return natural_key(Path(name))
