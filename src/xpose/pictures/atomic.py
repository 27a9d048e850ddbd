"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from xpose.errors import CheckpointError, XPoseError, first_line, quote


def write_text(path: Path, text: str) -> None:
    """Put a text in UTF-8 in place of `path` in one step; the folder is made where it is missing.

    Raises:
        XPoseError: the place cannot be written to; what stood there before is untouched.
    """
    write_bytes(path, text.encode("utf-8", "replace"))  # a lone surrogate, half a character, has no bytes


def write_bytes(path: Path, data: bytes) -> None:
    """Put bytes in place of `path` in one step; see `write_text`."""
    path = path.expanduser()
    temporary = None
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".xpose-")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        temporary = None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise XPoseError(
            f"{quote(path)} could not be written ({getattr(error, 'strerror', None) or error}). Results go into a "
            "file in a folder with room; what was there before is untouched. Choose another place."
        ) from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def write_atomically(path: Path, write: object) -> None:
    """Call `write(temporary_path)` and put the result in place of `path` in one step; nothing is left after a failure.

    Raises:
        CheckpointError: the disk is full or cannot be written to; what stood at `path` before is still there.
    """
    from safetensors import SafetensorError

    assert callable(write)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:  # safetensors wraps what the system says
        raise CheckpointError(
            f"{quote(path)} could not be written ({getattr(error, 'strerror', None) or first_line(error)}). "
            "What was there before is untouched. "
            "Free some space, or choose another folder."
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
