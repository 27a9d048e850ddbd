"""The data of a fine-tuning run: a user's labels as a prepared set in the run's folder, and what they contain."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpose.data.collection.manifest import LOCATION, REPORT, read_manifest
from xpose.data.datasets.folder_sets import folder_sets, is_folder_of_sets, skeleton_for
from xpose.data.datasets.pipeline import Progress
from xpose.data.datasets.report import read_report
from xpose.data.loading.pool import own_flips, read_places
from xpose.data.loading.samples import Kind
from xpose.errors import ConfigError, DataError, UnmappedKeypointError, did_you_mean, quote
from xpose.evaluation.questions import key_of
from xpose.pictures.atomic import write_atomically
from xpose.records import Category, Record
from xpose.training.recipes.session import last_step, made
from xpose.training.run.log import LOG_FILE

if TYPE_CHECKING:
    from xpose.data.datasets.importers.base import Importer
    from xpose.data.datasets.importers.recognise import Recognised

DATA, REQUEST_FILE = "data", "finetune.json"
TRAIN, VALIDATION = "train", "val"
OWN_NAMES = "none"  # as a skeleton: keep the names of the labels


@dataclass(frozen=True)
class Request:
    """The user's choices."""

    data: str  # absolute path
    images: str | None = None
    format: str | None = None
    name: str | None = None  # what the objects are, if the source does not state it
    skeleton: str | None = None
    split: str | None = None

    @classmethod
    def of(cls, data: Path, images: Path | None = None, **choices: str | None) -> Request:
        """The request with absolute paths, valid from every folder."""
        return cls(absolute(data), None if images is None else absolute(images), **choices)


def absolute(path: str | Path) -> str:
    """The absolute path, with links kept as they are."""
    return os.path.abspath(Path(path).expanduser())


@dataclass(frozen=True)
class Material:
    """A set to learn from."""

    place: Path  # of the prepared set, collection or folder of sets
    format: str
    split: str  # the training split
    validation: str | None  # the source's own validation split
    usable: tuple[tuple[Record, Path], ...]  # the records of the split whose objects have keypoints
    tested: int  # such records of the validation split
    kinds: Mapping[Category, int]  # number of objects in the usable records
    skipped: Counter[str]  # what the import skipped: "picture", "object", "point"
    reasons: tuple[str, ...]  # the first reasons as text
    notes: tuple[str, ...]

    @property
    def pictures(self) -> int:
        """The number of pictures to learn from."""
        return len(self.usable)

    @cached_property
    def flips(self) -> dict[str, dict[str, str]]:
        """The mirror names of the set's own skeletons."""
        return own_flips([self.place])

    def pairs(self, category: Category) -> list[tuple[str, str]]:
        """The points that swap names in a mirrored picture, each pair once."""
        kind = Kind.of(category.name, category.skeleton, category.keypoints, (), self.flips.get(category.skeleton))
        place = {name: number for number, name in enumerate(kind.names)}
        pairs = zip(kind.names, kind.mirrored, strict=True)
        return [(a, b) for a, b in pairs if a != b and place[a] < place.get(b, len(place))]

    @property
    def numbered(self) -> bool:
        """Whether some points are only numbered ("point 3"), so that left and right are unknown."""
        return any(
            not self.pairs(category) and any(re.fullmatch(r"point \d+", name) for name in category.keypoints)
            for category in self.kinds
        )

    @property
    def from_videos(self) -> bool:
        """Whether several pictures come from one video: frames that look alike."""
        groups = [record.group for record, _ in self.usable if record.group]
        return len(groups) > len(set(groups))


def opened(request: Request, folder: Path) -> Recognised | dict[str, Any]:
    """The recognised labels, or the initial data of the run in the folder if it continues; nothing is written."""
    before = _before(request, folder)
    return before if before is not None and last_step(folder) else _recognised(request)


def _recognised(request: Request) -> Recognised:
    from xpose.data.datasets.importers.recognise import Recognised, recognise

    return Recognised(request.format, Path(request.data)) if request.format else recognise(request.data)


def gather(
    request: Request,
    folder: Path,
    *,
    source: Recognised | dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> Material:
    """The material of a run: imported into its folder now, or when the run began.

    `source` is the result of `opened`, if it was called before.

    Raises:
        DataError, ConfigError: the labels are damaged, of unknown format or without keypoints; or another run is there.
    """
    from xpose.data.datasets.importers.recognise import PREPARED

    source = source or opened(request, folder)
    if isinstance(source, dict):
        return survey(Path(source["place"]), source["format"], request.split, source["notes"])
    notes: list[str] = []
    if source.format == PREPARED:
        _refuse_choices(request)
        place = source.path
    else:
        _forget_other(request, folder)
        try:
            place, notes = _imported(source.format, source.path, request, folder, progress)
        except DataError as error:  # the import calls the option by another name
            raise type(error)(str(error).replace("--pictures", "--images")) from None
    content = {"request": asdict(request), "place": str(place), "format": source.format, "notes": notes}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomically(made(folder) / REQUEST_FILE, lambda path: path.write_text(text, encoding="utf-8"))
    return survey(place, source.format, request.split, notes)


def _before(request: Request, folder: Path) -> dict[str, Any] | None:
    """The initial data of the run in the folder; None if no training has begun, even if data were imported."""
    path, step = folder / REQUEST_FILE, last_step(folder)
    if not step and not ((folder / LOG_FILE).is_file() and path.is_file()):
        return None
    if not path.is_file():
        raise ConfigError(
            f"{quote(folder)} holds a run that was not begun with `xpose finetune`. Choose another folder with --out."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        before = content["request"]
        result = {name: content[name] for name in ("place", "format", "notes")}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{quote(path)} is damaged ({error}). Choose another folder with --out.") from None
    now = asdict(request)
    changes = [f"{key} was {before.get(key)!r}, now {now[key]!r}" for key in now if before.get(key) != now[key]]
    if changes:
        _recognised(request)  # first report labels that cannot be read
        raise ConfigError(
            f"{quote(folder)} holds a run on other data: {'; '.join(changes)}. A run must continue with the data it "
            "began with. Name them again, or choose another folder: --out FOLDER"
        )
    return result


def _forget_other(request: Request, folder: Path) -> None:
    """Remove only what was imported for a run on other data that never began to train."""
    try:
        content = json.loads((folder / REQUEST_FILE).read_text(encoding="utf-8"))
        other, place = content["request"] != asdict(request), Path(content["place"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    if other and place.resolve().parent == (folder / DATA).resolve() and (place / LOCATION).is_file():
        shutil.rmtree(place)


def _refuse_choices(request: Request) -> None:
    for flag in ("images", "name", "skeleton"):
        if (value := getattr(request, flag)) is not None:
            raise ConfigError(
                f"--{flag} {quote(value)} cannot be given: {quote(request.data)} is a prepared set, which states it. "
                "Leave the option out, or give the labels that the set was made from."
            )


def _imported(
    format_name: str, path: Path, request: Request, folder: Path, progress: Progress | None
) -> tuple[Path, list[str]]:
    from xpose.data.datasets.importers import import_set, load_importer
    from xpose.data.datasets.importers.base import ImportChoices

    pictures = None if request.images is None else Path(request.images)
    importer = load_importer(format_name)(path, ImportChoices(request.name, pictures=pictures))
    fitting = _fitting_skeleton(importer) if request.skeleton is None else None
    skeleton = fitting if request.skeleton in (None, OWN_NAMES) else request.skeleton
    done = import_set(
        format_name,
        path,
        folder / DATA,
        name=_set_name(importer),
        pictures=request.images,
        category=request.name,
        skeleton=skeleton,
        progress=progress,
    )
    # Pictures in several splits matter only for the two that are used, which `survey` checks.
    shared = done.importer.leaks()
    notes = [note for note in done.notes if note not in shared]
    if fitting is not None:
        notes.insert(
            0,
            f"All keypoints are those of the skeleton {quote(fitting)} of the vocabulary, so its names and mirror "
            f"partners are used. To keep the names of the labels: --skeleton {OWN_NAMES}",
        )
    return done.prepared.folder, notes


def _set_name(importer: Importer) -> str:
    """The name of the only category; of the labels' file or folder if others have that name, or if there are several.

    A set with the name of its category gives that name to its skeleton.
    """
    from xpose.data.datasets.converters import CONVERTERS
    from xpose.data.datasets.importers import name_of, slug_of
    from xpose.data.datasets.importers.base import OBJECT
    from xpose.data.datasets.importers.names import in_vocabulary

    titles = [named.title for named in importer.named.values()]
    slug = slug_of(titles[0])
    usable = len(titles) == 1 and 0 < len(slug) <= 100 and slug not in (OBJECT, *CONVERTERS)
    return slug if usable and not in_vocabulary(titles[0]) else name_of(importer.path)


def _fitting_skeleton(importer: Importer) -> str | None:
    """The vocabulary's skeleton with exactly the points of all kinds of objects, under any names; or None.

    The weights have learned its names, and it has mirror partners that the source's names do not reveal.
    """
    skeletons: set[str | None] = set()
    for named in importer.named.values():
        try:
            skeleton = skeleton_for(named.title, list(named.table.names))
        except UnmappedKeypointError:
            return None
        skeletons.add(skeleton.name if len(skeleton) == len(named.table.names) else None)
    return skeletons.pop() if len(skeletons) == 1 else None


def survey(place: Path, format_name: str, split: str | None = None, notes: Iterable[str] = ()) -> Material:
    """Survey a set."""
    names = _splits(place)
    train = _training_split(place, names, split)
    usable = tuple(_usable(place, train))
    kinds: Counter[Category] = Counter()
    for record, _ in usable:
        kinds.update(instance.category for instance in record.instances if instance.keypoints and not instance.iscrowd)
    entries = read_report(place / REPORT) if (place / REPORT).is_file() else []
    reasons = tuple(f"{entry['file']}: {entry['reason']}" for entry in entries[:3])
    if not usable:
        why = f" The first that was left out: {reasons[0].rstrip('. ')}." if reasons else ""
        raise DataError(
            f"No picture of {quote(place)} (split {quote(train)}) shows an object with keypoints.{why} At least one is "
            f"needed to learn anything. All that was left out: {place / REPORT}"
        )
    other = VALIDATION if VALIDATION in names and train != VALIDATION else None
    tested = {key_of(record) for record, _ in _usable(place, other)} if other else set()
    if shared := tested & {key_of(record) for record, _ in usable}:
        notes = [*notes, f"{len(shared)} pictures are in {train} and in {other}, which is not used for testing."]
        tested = set()
    skipped, validation = Counter(entry["what"] for entry in entries), other if tested else None
    return Material(place, format_name, train, validation, usable, len(tested), kinds, skipped, reasons, tuple(notes))


def _usable(place: Path, split: str) -> Iterator[tuple[Record, Path]]:
    for record, where in read_places(place, split):
        if any(instance.keypoints and not instance.iscrowd for instance in record.instances):
            yield record, where


def _splits(place: Path) -> list[str]:
    if (place / LOCATION).is_file():
        return list(read_manifest(place)["splits"])
    if is_folder_of_sets(place):
        return list(dict.fromkeys(split for part in folder_sets(place) for split in part.splits))
    return [TRAIN, VALIDATION] if (place / f"{VALIDATION}.json").is_file() else [TRAIN]


def _training_split(place: Path, names: list[str], split: str | None) -> str:
    split = split or (names[0] if len(names) == 1 else TRAIN)
    if split in names:
        return split
    raise DataError(
        f"{quote(place)} has no split {quote(split)}.{did_you_mean(split, names)} There are: {', '.join(names)}. Name "
        "the one to learn from with --split"
    )
