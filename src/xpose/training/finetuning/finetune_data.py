"""The data of a fine-tuning run: a user's labels as a prepared set in the run's folder, and what they contain.

found = gather(Request("birds/labels.json"), Path("runs/finetune"))
found.pictures, found.kinds, found.skipped
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpose.data.collection.manifest import LOCATION, MANIFEST, REPORT, read_manifest
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
    from xpose.data.datasets.importers.recognise import Recognised

DATA, REQUEST_FILE = "data", "finetune.json"
TRAIN, VALIDATION = "train", "val"
OWN_NAMES = "none"  # as a skeleton: the names stay those of the labels


@dataclass(frozen=True)
class Request:
    """What the user named."""

    data: str  # absolute path
    images: str | None = None
    format: str | None = None
    name: str | None = None  # what the objects are, where the source does not say it
    skeleton: str | None = None
    split: str | None = None

    @classmethod
    def of(cls, data: Path, images: Path | None = None, **more: str | None) -> Request:
        """The request with paths that mean the same from every folder."""
        return cls(_absolute(data), None if images is None else _absolute(images), **more)


def _absolute(path: Path) -> str:
    return os.path.abspath(path.expanduser())


@dataclass(frozen=True)
class Material:
    """A set to learn from."""

    place: Path  # of the prepared set, collection or folder of sets
    format: str
    split: str  # that is trained on
    validation: str | None  # a split of its own, where the source has one
    usable: tuple[tuple[Record, Path], ...]  # the records of the split whose objects have keypoints
    tested: int  # such records of the validation split
    kinds: Mapping[Category, int]  # of the usable records: how many objects there are
    skipped: Counter[str]  # what the import left out: "picture", "object", "point"
    reasons: tuple[str, ...]  # the first of them in words
    notes: tuple[str, ...]

    @property
    def pictures(self) -> int:
        """How many pictures there are to learn from."""
        return len(self.usable)

    @property
    def objects(self) -> int:
        """How many objects with keypoints they show."""
        return sum(self.kinds.values())

    @cached_property
    def flips(self) -> dict[str, dict[str, str]]:
        """The mirror names of skeletons of its own."""
        return own_flips([self.place])

    def pairs(self, category: Category) -> list[tuple[str, str]]:
        """The points that change names in a mirrored picture, each pair once."""
        kind = Kind.of(category.name, category.skeleton, category.keypoints, (), self.flips.get(category.skeleton))
        found = zip(kind.names, kind.mirrored, strict=True)
        return [
            (a, b) for a, b in found if a != b and (b not in kind.names or kind.names.index(a) < kind.names.index(b))
        ]

    @property
    def numbered(self) -> bool:
        """Whether some points are only numbered, with nothing that says which of them are left and right."""
        return any(
            not self.pairs(category) and any(_is_number(name) for name in category.keypoints) for category in self.kinds
        )

    @property
    def from_videos(self) -> bool:
        """Whether several pictures come from one video: frames that look alike."""
        groups = [record.group for record, _ in self.usable if record.group]
        return len(groups) > len(set(groups))

    def skeleton_file(self, category: Category) -> Path | None:
        """The file beside the set that holds the category's skeleton; None for one of the vocabulary."""
        if not (self.place / MANIFEST).is_file():
            return None
        files = read_manifest(self.place).get("import", {}).get("skeletons", {})
        name = files.get(category.skeleton)
        return None if name is None else self.place / name


def _is_number(name: str) -> bool:
    word, _, number = name.rpartition(" ")
    return word == "point" and number.isdigit()


@dataclass(frozen=True)
class Opened:
    """What the labels are, before anything of them is imported."""

    before: Mapping[str, Any] | None  # what the run in the folder began with, if it is continued
    found: Recognised | None  # None if a run is continued


def opened(request: Request, folder: Path) -> Opened:
    """Look at the labels and at the folder of the run; nothing is written.

    Raises:
        DataError: the labels are not there, damaged, or of no known format.
        ConfigError: the folder holds a run on other data.
    """
    before = _before(request, folder)
    if before is not None and last_step(folder):
        return Opened(before, None)
    return Opened(None, _recognised(request))


def _recognised(request: Request) -> Recognised:
    from xpose.data.datasets.importers.recognise import Recognised, recognise

    return Recognised(request.format, Path(request.data)) if request.format else recognise(request.data)


def gather(
    request: Request, folder: Path, *, known: Opened | None = None, progress: Progress | None = None
) -> Material:
    """The material of a run: imported into its folder, or as it was imported when the run began.

    Args:
        request: what the user named.
        folder: of the run.
        known: what `opened` found, where it was asked already.
        progress: hears of the import.

    Raises:
        DataError: the labels are damaged, of no known format, or hold nothing to learn.
        ConfigError: the folder holds a run on other data.
        CheckpointError: the folder cannot be made.
    """
    from xpose.data.datasets.importers.recognise import PREPARED

    known = known or opened(request, folder)
    if known.before is not None:
        before = known.before
        return survey(Path(before["place"]), before["format"], request.split, before["notes"])
    found = known.found or _recognised(request)
    notes: list[str] = []
    if found.format == PREPARED:
        _refuse_choices(request)
        place = found.path
    else:
        _forget_other(request, folder)
        try:
            place, notes = _imported(found.format, found.path, request, folder, progress)
        except DataError as error:  # the import calls the option by another name
            raise type(error)(str(error).replace("--pictures", "--images")) from None
    content = {"request": asdict(request), "place": str(place), "format": found.format, "notes": notes}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomically(made(folder) / REQUEST_FILE, lambda path: path.write_text(text, encoding="utf-8"))
    return survey(place, found.format, request.split, notes)


def _before(request: Request, folder: Path) -> dict[str, Any] | None:
    """What the run in the folder was begun with; None where no training was begun, whatever was imported for it."""
    path = folder / REQUEST_FILE
    if not last_step(folder) and not (folder / LOG_FILE).is_file():
        return None
    if not path.is_file():
        if last_step(folder):
            raise ConfigError(
                f"{quote(folder)} holds a run that was not begun with `xpose finetune`. Each has a folder of its own. "
                "Choose another with --out."
            )
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        before, found = content["request"], [content["place"], content["format"], content["notes"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{quote(path)} is damaged ({error}). Choose another folder with --out.") from None
    now = asdict(request)
    other = [f"{key} was {before.get(key)!r}, now {now[key]!r}" for key in now if before.get(key) != now[key]]
    if other:
        _recognised(request)  # labels that cannot be read are the nearer fault
        raise ConfigError(
            f"{quote(folder)} holds a run on other data: {'; '.join(other)}. A run must continue with the data it "
            "began with. Name them again, or choose another folder: --out FOLDER"
        )
    return dict(zip(("place", "format", "notes"), found, strict=True))


def _forget_other(request: Request, folder: Path) -> None:
    """Take away what was imported for a run on other data that never began to train, and nothing else."""
    try:
        content = json.loads((folder / REQUEST_FILE).read_text(encoding="utf-8"))
        other, place = content["request"] != asdict(request), Path(content["place"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    if other and place.resolve().parent == (folder / DATA).resolve() and (place / LOCATION).is_file():
        shutil.rmtree(place)


def _refuse_choices(request: Request) -> None:
    given = [flag for flag in ("images", "name", "skeleton") if getattr(request, flag) is not None]
    if given:
        raise ConfigError(
            f"--{given[0]} {quote(str(getattr(request, given[0])))} cannot be given: {quote(request.data)} is a "
            "prepared set, which says all of that itself. Leave it out, or give the labels that the set was made from."
        )


def _imported(
    format_name: str, path: Path, request: Request, folder: Path, progress: Progress | None
) -> tuple[Path, list[str]]:
    from xpose.data.datasets.importers import import_set

    skeleton = request.skeleton if request.skeleton != OWN_NAMES else None
    fitting = _fitting_skeleton(format_name, path, request) if request.skeleton is None else None
    done = import_set(
        format_name,
        path,
        folder / DATA,
        pictures=request.images,
        category=request.name,
        skeleton=skeleton or fitting,
        progress=progress,
    )
    # What splits share counts only for the two that are used, and `survey` looks at these.
    shared = done.importer.leaks()
    notes = [note for note in done.notes if note not in shared]
    if fitting is not None:
        notes.insert(
            0,
            f"All keypoints are those of the skeleton {quote(fitting)} of the vocabulary: its names and mirror "
            f"partners are taken. To keep the names of the labels: --skeleton {OWN_NAMES}",
        )
    return done.prepared.folder, notes


def _fitting_skeleton(format_name: str, path: Path, request: Request) -> str | None:
    """The skeleton of the vocabulary that has just the points of all kinds of objects, under whatever names; or None.

    The weights have learned its names, and it knows mirror partners that the source's names do not tell.
    """
    from xpose.data.datasets.importers import load_importer
    from xpose.data.datasets.importers.base import ImportChoices

    pictures = None if request.images is None else Path(request.images)
    importer = load_importer(format_name)(path, ImportChoices(request.name, pictures=pictures))
    found: set[str | None] = set()
    for named in importer.named.values():
        try:
            skeleton = skeleton_for(named.title, list(named.table.names))
        except UnmappedKeypointError:
            return None
        found.add(skeleton.name if len(skeleton) == len(named.table.names) else None)
    return found.pop() if len(found) == 1 else None


def survey(place: Path, format_name: str, split: str | None = None, notes: list[str] | None = None) -> Material:
    """What is in a set.

    Raises:
        DataError: it has no such split, no split that can be meant, or nothing to learn from.
    """
    names = _splits(place)
    train = _training_split(place, names, split)
    usable = tuple(_usable(place, train))
    kinds: Counter[Category] = Counter()
    for record, _ in usable:
        kinds.update(instance.category for instance in record.instances if instance.keypoints and not instance.iscrowd)
    skipped, reasons = _skips(place)
    if not usable:
        why = f" The first that was left out: {reasons[0].rstrip('. ')}." if reasons else ""
        raise DataError(
            f"No picture of {quote(place)} (split {quote(train)}) shows an object with keypoints.{why} At least one is "
            f"needed to learn anything. All that was left out: {place / REPORT}"
        )
    all_notes = list(notes or ())
    other = VALIDATION if VALIDATION in names and train != VALIDATION else None
    tested = {key_of(record) for record, _ in _usable(place, other)} if other else set()
    if shared := tested & {key_of(record) for record, _ in usable}:
        all_notes.append(
            f"{len(shared)} pictures are in {train} and in {other}, which is therefore not used for testing."
        )
        tested = set()
    return Material(
        *(place, format_name, train, other if tested else None, usable, len(tested), kinds, skipped, reasons),
        notes=tuple(all_notes),
    )


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


def _training_split(place: Path, names: list[str], wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in names:
            raise DataError(
                f"{quote(place)} has no split {quote(wanted)}.{did_you_mean(wanted, names)} There are: "
                f"{', '.join(names)}."
            )
        return wanted
    if TRAIN in names:
        return TRAIN
    if len(names) == 1:
        return names[0]
    raise DataError(
        f"{quote(place)} has the splits {', '.join(names)}, none of them called {TRAIN}. One of them is learned from: "
        "name it with --split"
    )


def _skips(place: Path) -> tuple[Counter[str], tuple[str, ...]]:
    if not (place / REPORT).is_file():
        return Counter(), ()
    entries = read_report(place / REPORT)
    return Counter(entry["what"] for entry in entries), tuple(f"{e['file']}: {e['reason']}" for e in entries[:3])
