"""A folder of small pictures to label, with proposals that are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.demo.conftest import png

from xpose.demo.labelling.folder import LabelFolder
from xpose.demo.labelling.label_file import LABEL_FILE, LabelFile
from xpose.demo.labelling.objects import LabelledObject, Mark
from xpose.errors import PromptError
from xpose.records import Category

LEAF = Category("leaf", "leaf", ("tip", "stalk", "left edge"), (("tip", "stalk"),))
SIZE = (120, 90)
PROPOSED = LabelledObject({"tip": Mark(30.0, 20.0), "stalk": Mark(60.0, 70.0)}, (20.0, 10.0, 70.0, 80.0), proposed=True)
NAMES = ["a.png", "below/b.png", "turned.jpg"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three pictures, one in a subfolder and one that is stored turned by 90 degrees."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for seed, name in enumerate(NAMES[:2]):
        (folder / name).write_bytes(png(seed, SIZE))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", SIZE, "green").save(folder / NAMES[2], exif=exif)
    return folder


def propose(name: str, pixels: np.ndarray) -> tuple[LabelledObject, ...]:
    """One leaf in each picture, and an error in the turned one."""
    if name == "turned.jpg":
        raise PromptError("This is a test.")
    return (PROPOSED,)


@pytest.fixture
def start(photos: Path) -> Callable[[], LabelFolder]:
    """Start or continue to label the folder."""

    def start() -> LabelFolder:
        path = photos / LABEL_FILE
        file = LabelFile.read(path) if path.exists() else LabelFile(path, LEAF)
        return LabelFolder({name: photos / name for name in NAMES}, file, propose)

    return start
