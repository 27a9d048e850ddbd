"""A folder of small pictures, some of them damaged, and the same pictures in every kind of source."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from tests.cli.conftest import make_picture

COUNT = 23
DAMAGED = (3, 11)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder. PNG, so that other sources hold the same pixels."""
    folder = tmp_path_factory.mktemp("batch") / "in"
    for number in range(COUNT):
        path = make_picture(folder / ("sub" if number >= 12 else ".") / f"{number}.png", number, (20 + number, 30))
        if number in DAMAGED:
            path.write_bytes(path.read_bytes()[:200])
    return folder


def ordered(folder: Path) -> list[Path]:
    """The pictures in their natural order."""
    return sorted(folder.rglob("*.png"), key=lambda path: int(path.stem))


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def make_parquet(path: Path, contents: list[bytes | None], nested: bool = False) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="batch runs need the extra batch")
    parquet = pytest.importorskip("pyarrow.parquet")
    cells = [{"bytes": data, "path": "x"} for data in contents] if nested else contents
    table = pyarrow.table({"label": ["?"] * len(contents), "image": cells})
    parquet.write_table(table, path, row_group_size=4)
    return path
