"""Files appear whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from xpose.errors import XPoseError
from xpose.pictures.atomic import write_atomically


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("before")

    def full(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(XPoseError, match="No space left"):
        write_atomically(path, full)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
