"""Files that appear whole or not at all: written beside their place under another name, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from xpose.errors import XPoseError, first_line, quote


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write(temporary_path)` and rename the result to `path`; a missing folder is created.

    Raises:
        XPoseError: the disk is full or cannot be written to; what stood at `path` before is still there.
    """
    path = path.expanduser()
    temporary = None
    try:
        if "\0" in str(path):
            raise OSError("its name holds a zero byte")
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".xpose-")
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except Exception as error:
        # safetensors wraps what the system says; it is too slow to be imported for the sake of this name
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
    """Put bytes in place of `path` in one step; see `write_atomically`."""
    write_atomically(path, lambda temporary: temporary.write_bytes(data))


def write_text(path: Path, text: str) -> None:
    """Put a text in UTF-8 in place of `path` in one step; see `write_atomically`."""
    write_bytes(path, text.encode("utf-8", "replace"))  # a lone surrogate, half a character, has no bytes
