"""Pictures and labels packed into tar files of some thousand pictures, for file systems that dislike small files.

A folder of shards holds `SPLIT.json` (COCO, as in a prepared set), `SPLIT-000000.tar`, ... and `SPLIT.shards.json`, the
index: where each picture's bytes lie. The tar files follow webdataset's habit (`00000017.jpg` beside `00000017.json`,
which holds the picture's record), so that its tools read them too; here they are read at any place through the index.
Where the index is missing it is found again from the tar files.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any

from xpose.data.collection.store import CocoSet, dump, image_to_json, instance_to_json, write_atomically, write_coco
from xpose.data.datasets.sources import Source
from xpose.data.loading.place import Place
from xpose.errors import DataError, quote
from xpose.records import Box, Instance, Picture, Point, Record, replaced

LAYOUT = 1
_BLOCK = 512  # bytes of a tar header with a short name
_QUALITY = 92

Item = tuple[Record, bytes]


def write_shards(
    items: Callable[[], Iterable[Item]],
    out: str | Path,
    split: str,
    *,
    pictures: int = 1000,
    side: int | None = None,
) -> int:
    """Write one split as shards into the folder `out`; how many pictures it holds.

    Args:
        items: gives the records with the bytes of their picture files; called once.
        out: the folder.
        split: its name.
        pictures: how many go into one tar file.
        side: make pictures whose longer side is longer than this smaller (as JPEG), and their labels with them.

    Raises:
        DataError: a picture is damaged.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    records: list[Record] = []
    index: list[tuple[int, int, int]] = []
    tar: tarfile.TarFile | None = None
    try:
        for number, (record, content) in enumerate(items()):
            if number % pictures == 0:
                if tar is not None:
                    tar.close()
                path = folder / _shard_name(split, number // pictures)
                tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 (closed below)
            assert tar is not None
            if side is not None and max(record.picture.width, record.picture.height) > side:
                record, content = _smaller(record, content, side)
            ending = Path(record.picture.file).suffix.lower() or ".jpg"
            index.append((number // pictures, tar.offset + _BLOCK, len(content)))
            _add(tar, f"{number:08}{ending}", content)
            _add(tar, f"{number:08}.json", dump(_record_json(record)).encode())
            records.append(record)
    finally:
        if tar is not None:
            tar.close()
    write_coco(folder / f"{split}.json", lambda: records, {"description": "shards", "split": split})

    def write(file: IO[str]) -> None:
        file.write(dump({"layout": LAYOUT, "places": index}))

    write_atomically(folder / _index_name(split), write)
    return len(records)


def is_sharded(folder: Path) -> bool:
    """Whether a folder holds shards."""
    return next(folder.glob("*-000000.tar"), None) is not None


def read_shards(folder: str | Path, split: str) -> Iterator[tuple[Record, Place]]:
    """The records of a split and the places of their pictures.

    Raises:
        DataError: the split is not there, or the parts do not belong together.
    """
    root = Source(folder).root
    labels = root / f"{split}.json"
    if not labels.is_file():
        raise DataError(f"{quote(folder)} holds no shards of the split {quote(split)}: {labels.name} is missing.")
    places = _read_index(root, split)
    ends = _sizes(root, split)
    for record, place in zip_longest(CocoSet(labels), places):
        if record is None or place is None or place[0] >= len(ends) or place[1] + place[2] > ends[place[0]]:
            raise _mixed(root, split)
        yield record, Place(str(root / _shard_name(split, place[0])), place[1], place[2])


def _read_index(root: Path, split: str) -> list[tuple[int, int, int]]:
    path = root / _index_name(split)
    if not path.is_file():
        return _find_places(root, split)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["layout"] != LAYOUT:
            raise ValueError
        places = [(int(shard), int(offset), int(length)) for shard, offset, length in content["places"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(
            f"{quote(path)} is damaged or of another version. Delete it, and it is made from the tar files when read."
        ) from None
    if any(min(place) < 0 for place in places):
        raise _mixed(root, split)
    return places


def _find_places(root: Path, split: str) -> list[tuple[int, int, int]]:
    """The index from the tar files themselves."""
    places: list[tuple[int, int, int]] = []
    for shard in range(len(_sizes(root, split))):
        path = root / _shard_name(split, shard)
        try:
            with tarfile.open(path) as tar:
                places += [
                    (shard, member.offset_data, member.size)
                    for member in tar
                    if member.isfile() and not member.name.endswith(".json")
                ]
        except (tarfile.TarError, OSError, EOFError) as error:
            raise DataError(f"{quote(path)} is no whole tar file ({error}). Write the shards again.") from None
    return places


def _sizes(root: Path, split: str) -> list[int]:
    sizes: list[int] = []
    while (path := root / _shard_name(split, len(sizes))).is_file():
        sizes.append(path.stat().st_size)
    return sizes


def _mixed(root: Path, split: str) -> DataError:
    return DataError(
        f"The files of the split {quote(split)} in {quote(root)} do not belong together, or a shard is cut short. "
        "Labels, index and tar files come from one run: write the shards again."
    )


def _shard_name(split: str, number: int) -> str:
    return f"{split}-{number:06}.tar"


def _index_name(split: str) -> str:
    return f"{split}.shards.json"


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # its dates and owners are zero: the same pictures give the same bytes
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _record_json(record: Record) -> dict[str, Any]:
    instances = [
        {
            "category": instance.category.name,
            "skeleton": instance.category.skeleton,
            "names": list(instance.category.keypoints),
            **instance_to_json(instance),
        }
        for instance in record.instances
    ]
    return {**image_to_json(record), "licence": record.licence, "instances": instances}


def _smaller(record: Record, content: bytes, side: int) -> Item:
    """The picture with a longer side of `side` pixels, and its labels in those."""
    from xpose.pictures.decoding import decode, encode_jpeg
    from xpose.pictures.opencv import opencv

    picture = record.picture
    scale = side / max(picture.width, picture.height)
    width, height = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    pixels, _ = decode(content, picture.file, (picture.width, picture.height))
    cv2 = opencv()
    small = encode_jpeg(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), _QUALITY).tobytes()
    instances = tuple(
        _scaled(instance, width / picture.width, height / picture.height) for instance in record.instances
    )
    name = picture.file if picture.file.lower().endswith((".jpg", ".jpeg")) else f"{picture.file}.jpg"
    return replace(record, picture=Picture(name, width, height, "prepared"), instances=instances), small


def _scaled(instance: Instance, fx: float, fy: float) -> Instance:
    x, y, width, height = instance.box
    box: Box = (x * fx, y * fy, width * fx, height * fy)
    points: dict[str, Point] = {
        name: ((px + 0.5) * fx - 0.5, (py + 0.5) * fy - 0.5, v) for name, (px, py, v) in instance.keypoints.items()
    }
    area = None if instance.area is None else instance.area * fx * fy
    return replaced(instance, box=box, keypoints=points, area=area)
