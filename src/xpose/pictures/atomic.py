"""Atomic writing: a file is written in its folder under another name and then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from xpose.errors import XPoseError, first_line, quote


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write(temporary_path)` and rename the result to `path`; a missing folder is created.

    Raises:
        XPoseError: the disk is full or cannot be written to; an earlier file at `path` is unchanged.
    """
    path = path.expanduser()
    temporary = None
    try:
        if "\0" in str(path):
            raise OSError("its name holds a zero byte")
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        # torch.save names the parts of its archive after the file, up to the last dot, and refuses an empty name.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except Exception as error:
        # safetensors wraps system errors; importing it only for this class would be too slow
        if not isinstance(error, OSError) and type(error).__name__ != "SafetensorError":
            raise
        raise XPoseError(
            f"{quote(path)} could not be written ({getattr(error, 'strerror', None) or first_line(error)}). "
            "What was there before is untouched. Free some space, or choose another place."
        ) from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes to `path` atomically; see `write_atomically`."""
    write_atomically(path, lambda temporary: temporary.write_bytes(data))


def write_text(path: Path, text: str) -> None:
    """Write a text to `path` in UTF-8, atomically; see `write_atomically`."""
    write_bytes(path, text.encode("utf-8", "replace"))  # a lone surrogate cannot be encoded
