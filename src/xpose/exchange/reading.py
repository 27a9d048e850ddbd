"""Read labels or results in any format as `Poses`; the pictures themselves need not be there.

Coordinates are taken as they are: no half pixel is added or subtracted, because programs that exchange files do not do
so either. Names keep their spelling unless a skeleton or a mapping file renames them.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xpose.data.datasets.importers import load_importer
from xpose.data.datasets.importers.base import ImportChoices, Importer, StatedInstance
from xpose.data.datasets.importers.names import Named
from xpose.data.datasets.importers.recognise import recognise
from xpose.data.datasets.sources import SourceFolder, safe_name, whole_file_fault
from xpose.errors import DataError, counted, first_line, quote
from xpose.pictures import PICTURE_ENDINGS
from xpose.pictures.reading import picture_size
from xpose.records import Instance, Picture, Skipped
from xpose.results import Poses
from xpose.results.formats.objects import NOWHERE, UNKNOWN, Place, ReadObject, poses_of
from xpose.results.formats.table import ALL, FORMATS, row_of
from xpose.vocabulary import Skeleton, list_skeletons

# Formats that are known by the ending of a file; others are recognised by their content.
_ENDINGS = {".parquet": "parquet", ".nwb": "nwb", ".txt": "mot"}
_CSV_HEADER = "picture,object,category"
_KEYS = {"id", "image_id", "category_id", "bbox", "area", "keypoints", "num_keypoints", "score", "track_id"}
_KEYS |= {"keypoint_scores", "keypoint_errors", "tentative"}  # what is read of a COCO annotation
_POSETRACK = {"vid_id", "frame_id"}


@dataclass(frozen=True)
class ReadLabels:
    """The labels or results in a file, one `Poses` for each picture."""

    format: str
    results: list[Poses]
    track_names: dict[int, str] = field(default_factory=dict)  # if the file names its tracks
    known: frozenset[str] = ALL  # of `xpose.results.formats.table.ASPECTS`: what the file states
    continuous: bool = True  # coordinates are those of `Poses`, and not what another program means by them
    notes: tuple[str, ...] = ()  # what was not read, by name and count


def read_labels(
    path: str | Path,
    format: str | None = None,
    *,
    skeleton: str | Path | None = None,
    names: str | Path | None = None,
    category: str | None = None,
    pictures: str | Path | None = None,
) -> ReadLabels:
    """Read a file or folder.

    Args:
        path: the file or folder.
        format: a name in `FORMATS`; None recognises it.
        skeleton: rename keypoints to those of this skeleton or skeleton file, including its aliases.
        names: a mapping file for the names of keypoints (docs/data-import.md).
        category: the class of the objects, if the file does not state it.
        pictures: the folder of the pictures, for formats that do not state their sizes.

    Raises:
        DataError: the file is damaged or of another format.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise DataError(f"{quote(place)} does not exist. Give the file or folder with the labels. Check the spelling.")
    format, place = (format, place) if format is not None else _recognised(place)
    row = row_of(format)
    if not row.readable:
        raise DataError(
            f"{quote(place)}: {row.name} files cannot be read alone. Readable are {', '.join(_readable())}."
        )
    if row.importer is None:
        if skeleton or names or category:
            raise DataError(f"{row.name} files state all names. Leave --skeleton, --names and --category out.")
        track_names: dict[int, str] = {}
        results = [poses for file in _files(place, row.file) for poses in _decoded(file, format, place, track_names)]
        known = row.keeps if all(poses.image_size != UNKNOWN for poses in results) else row.keeps - {"picture sizes"}
        if pictures is not None:
            results, known = [_sized(poses, Path(pictures)) for poses in results], known | {"picture sizes"}
        return ReadLabels(format, results, track_names, known)
    if isinstance(skeleton, str) and skeleton.endswith(".toml"):
        skeleton = Path(skeleton)
    map_file, folder = (None if value is None else Path(value) for value in (names, pictures))
    choices = ImportChoices(category, skeleton, map_file, folder, labels_only=True)
    try:
        return _imported(load_importer(row.importer)(place, choices, "labels"), format)
    except DataError as error:
        way_out = f"The file may be damaged or not in the format {format}: export it again."
        raise whole_file_fault(error, way_out) from None


def _readable() -> list[str]:
    return [name for name, row in FORMATS.items() if row.readable]


def _recognised(path: Path) -> tuple[str, Path]:
    """The format of a file or folder, and the input of its reader."""
    if path.is_dir():
        if any(path.rglob("*_keypoints.json")):
            return "openpose", path
        if any(_json_format(file) == "json" for file in sorted(path.rglob("*.json"))[:1]):
            return "json", path
    elif path.suffix.lower() in PICTURE_ENDINGS:
        raise DataError(f"{quote(path)} is a picture. Give the file or folder with the labels.")
    elif path.suffix.lower() in _ENDINGS:
        return _ENDINGS[path.suffix.lower()], path
    elif path.suffix.lower() == ".csv":
        with path.open("rb") as file:
            return "csv" if file.read(40).startswith(_CSV_HEADER.encode()) else "deeplabcut", path
    elif path.suffix.lower() == ".h5":
        return "deeplabcut-h5", path
    elif path.suffix.lower() == ".json" and (known := _json_format(path)):
        return known, path
    recognised = recognise(path)
    by_importer = {row.importer: row.name for row in reversed(FORMATS.values()) if row.importer}
    if recognised.format not in by_importer:
        raise DataError(f"{quote(path)} holds {recognised.format} labels. Give a file of {', '.join(_readable())}.")
    return by_importer[recognised.format], recognised.path


def _json_format(path: Path) -> str | None:
    """The format of a JSON file that `recognise` does not know."""
    content = SourceFolder(path.parent).json(path.name)
    first = content[0] if isinstance(content, list) and content else content
    if not isinstance(first, Mapping):
        return None
    images = first.get("images")
    if isinstance(images, list) and any(isinstance(image, Mapping) and {*image} >= _POSETRACK for image in images):
        return "posetrack"
    if "image_id" in first and "category_id" in first:
        return "coco-results"
    known = {"people": "openpose", "predictions": "label-studio", "format": "json", "pictures": "json"}
    return next((name for key, name in known.items() if key in first), None)


def _files(path: Path, pattern: str) -> list[Path]:
    if path.is_file():
        return [path]
    files = sorted(path.rglob(pattern.rpartition("/")[2].format(picture="*")))
    if not files:
        raise DataError(f'{quote(path)} holds no "{pattern.format(picture="*")}". Give the file itself.')
    return files


def _decoded(path: Path, format: str, root: Path, track_names: dict[int, str]) -> list[Poses]:
    row = FORMATS[format]
    assert row.decode is not None
    try:
        options = {"track_names": track_names} if "track_names" in row.options else {}
        results = row.decode(path.read_bytes(), Poses, **options)
    except DataError as error:
        raise DataError(f"{quote(path)}: {error}") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{quote(path)} is damaged or not in the format {format} ({first_line(error)[:100]}). Export it again."
        ) from None
    if row.single and len(results) == 1 and results[0].source is None:
        name = path.name if path == root else path.relative_to(root).as_posix()
        return [dataclasses.replace(results[0], source=name.removesuffix(row.file.format(picture="")))]
    return results


def _sized(poses: Poses, folder: Path) -> Poses:
    """The results with the size of the picture in a folder."""
    name = safe_name(poses.source)
    place = next((place for place in (name, name.rpartition("/")[2]) if (folder / place).is_file()), None)
    if place is None:
        raise DataError(
            f"The picture {quote(name)} is not in {quote(folder)}. Give the folder that holds all pictures."
        )
    width, height = picture_size(folder / place)
    return dataclasses.replace(poses, image_size=(height, width))


# Files that the importers read.


class _LabelsOnly(SourceFolder):
    """A source whose pictures may be missing: their sizes are those that the labels state, that of the file, or 0."""

    def __init__(self, root: str | Path) -> None:
        super().__init__(root)
        self._stated: dict[str, tuple[int, int]] = {}

    def picture(self, name: str, size: tuple[int, int] | None = None) -> Picture:
        """What is known of the picture."""
        name = safe_name(name)
        size = self._stated.setdefault(name, size) if size is not None else self._stated.get(name)
        place = next((place for place in (name, name.rpartition("/")[2]) if self.path(place).is_file()), None)
        if size is None and place is None:
            return Picture(name, 0, 0)
        picture = Picture(name, *(size or picture_size(self.path(place or name))))
        if faults := picture.faults():
            raise DataError("; ".join(faults))
        return picture


def _imported(importer: Importer, format: str) -> ReadLabels:
    source = _LabelsOnly(importer.root)
    reader = _RecordReader(importer)
    results, skipped, read, unread = [], [], set[str](), Counter[str]()
    for split in importer.splits:
        for entry in importer.entries(source, split):
            if isinstance(entry, Skipped):
                skipped.append(entry)
                continue
            if entry.name in read:  # YOLO's training and validation may be the same pictures
                continue
            read.add(entry.name)
            try:
                record = importer.record(source, split, entry)
            except (DataError, OSError) as error:
                skipped.append(Skipped(entry.name, str(error)))
                continue
            skipped += record.dropped
            unread.update(_unread(entry.data))
            upright = bool(getattr(entry.data, "upright", False))
            results.append(reader.poses(record.picture, record.instances, upright))
    notes = [*importer.notes, *_summary(skipped)]
    notes += [f'"{key}" of {counted(count, "object")} is not read' for key, count in sorted(unread.items())]
    known = (FORMATS[format].keeps | {"picture sizes"}) - reader.unknown
    return ReadLabels(format, results, dict(reader.track_names), known, reader.continuous, tuple(notes))


def _unread(data: Any) -> Iterator[str]:
    """The fields of COCO annotations that no `Poses` can hold."""
    for annotation in getattr(data, "annotations", ()):
        if isinstance(annotation, Mapping):
            yield from (key for key, value in annotation.items() if key not in _KEYS and value not in (None, 0, [], ""))


def _summary(skipped: list[Skipped]) -> list[str]:
    """What was skipped, with the reason of the first of each kind."""
    kinds: dict[str, list[Skipped]] = {}
    for item in skipped:
        kinds.setdefault(item.what, []).append(item)
    return [
        f"{len(items)} {what}{'s' if len(items) > 1 else ''} not read; the first, in {items[0].file}: {items[0].reason}"
        for what, items in kinds.items()
    ]


class _RecordReader:
    """Makes `Poses` of records, with the names of the source."""

    def __init__(self, importer: Importer) -> None:
        choices = importer.choices
        renamed = choices.skeleton is not None or choices.names is not None
        self._kinds: dict[str, tuple[str, dict[str, str], tuple[str, ...]]] = {}  # class, spellings, canonical names
        for kind, named in importer.named.items():
            names = named.table.names.items()
            spelt = {to: to if renamed else name for name, to in names if to is not None}
            shown = named.title if renamed or choices.category is not None else kind
            self._kinds[named.title] = shown, spelt, _canonical(named, list(spelt.values()))
        self.track_names: dict[int, str] = {}
        self.unknown: frozenset[str] = frozenset()  # aspects that the file does not state
        self.continuous = False

    def poses(self, picture: Picture, instances: tuple[Instance, ...], upright: bool) -> Poses:
        """The objects of one picture."""
        objects = [self._object(item) for item in instances if isinstance(item, StatedInstance)]
        if any(isinstance(item, StatedInstance) and item.box_made for item in instances):
            self.unknown |= {"boxes"}
        if not picture.width:
            self.unknown |= {"picture sizes"}
        self.continuous |= upright
        size = (picture.height, picture.width) if picture.width else None
        return poses_of(Poses, objects, size, picture.file, upright=upright)

    def _object(self, item: StatedInstance) -> ReadObject:
        shown_class, spelt, canonical = self._kinds[item.category.name]
        left, top, width, height = item.box
        points: dict[str, Place] = {}
        for name, shown in spelt.items():
            x, y, v = item.keypoints.get(name, (*NOWHERE[:2], 0))
            points[shown] = (x, y, item.keypoint_scores.get(name, NOWHERE[2]), v)
        return ReadObject(
            category=shown_class,
            points=points,
            box=(left, top, left + width, top + height),
            score=1.0 if item.score is None else item.score,
            canonical=canonical,
            edges=tuple((spelt[start], spelt[end]) for start, end in item.category.edges),
            errors={spelt[name]: value for name, value in item.keypoint_errors.items()},
            track=None if item.track is None else self._track(item.track),
            tentative=item.tentative,
        )

    def _track(self, name: str) -> int:
        if name.isdecimal() and len(name) < 16:
            return int(name)
        number = next((number for number, known in self.track_names.items() if known == name), None)
        if number is None:
            number = 1 + max(self.track_names, default=0)
            self.track_names[number] = name
        return number


def _canonical(named: Named, names: list[str]) -> tuple[str, ...]:
    """The vocabulary's names: those of the chosen skeleton, or of the first one that knows all of them."""
    if named.shipped:
        return tuple(named.skeleton.point(name).name for name in names)
    skeletons: tuple[Skeleton, ...] = tuple(list_skeletons())
    known = next((skeleton for skeleton in skeletons if all(name in skeleton for name in names)), None)
    canonical = [known.point(name).name for name in names] if known else list(named.table.unified)
    return tuple(canonical) if len(set(canonical)) == len(names) else tuple(named.table.unified)
