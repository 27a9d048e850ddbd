"""The input of `xpose data unify`: prepared sets, and which splits are for training or evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from xpose.data.collection.manifest import LOCATION, MANIFEST, read_manifest
from xpose.data.collection.store import CocoSet, sha256_of
from xpose.data.datasets.sources import safe_name
from xpose.errors import DataError, did_you_mean, quote
from xpose.records import Record

Role = Literal["train", "evaluation", "none"]
ROLES: tuple[Role, ...] = get_args(Role)
INSIDE = "prepared"  # subfolder of the collection in which folders of sets are prepared

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SplitFile:
    """A manifest's entry for one split."""

    path: Path
    sha256: str
    images: int


def split_files(folder: Path, manifest: Mapping[str, Any]) -> dict[str, SplitFile]:
    """The splits of a prepared set or a collection by name, in a fixed order."""
    files = {}
    for split, entry in sorted(manifest["splits"].items()):
        match entry:
            case {"file": file, "sha256": str(digest), "counts": {"images": int(images)}}:
                files[split] = SplitFile(folder / safe_name(file), digest, images)
            case _:
                damage = f"does not tell file, checksum and counts of the split {quote(split)}"
                raise DataError(f"The manifest in {quote(folder)} {damage}. It is damaged: prepare the set again.")
    return files


@dataclass(frozen=True)
class PreparedSet:
    """One prepared set with the roles of its splits."""

    name: str
    folder: Path
    manifest: Mapping[str, Any]
    files: Mapping[str, SplitFile]
    roles: Mapping[str, Role]

    def splits(self, role: Role) -> list[str]:
        """The splits with this role, in a fixed order."""
        return sorted(split for split, given in self.roles.items() if given == role)

    def records(self, role: Role) -> Iterator[Record]:
        """All records with this role, one by one."""
        for split in self.splits(role):
            yield from CocoSet(self.files[split].path)

    def images(self, role: Role) -> int:
        """The number of these pictures in the manifest."""
        return sum(self.files[split].images for split in self.splits(role))


def role_of(split: str) -> Role:
    """The role of a split: "train" and "all" are for training, others for evaluation; names with "-" are repeats."""
    if split in ("train", "all"):
        return "train"
    return "none" if "-" in split else "evaluation"


def find_parts(
    sources: Iterable[str | Path],
    out: Path,
    *,
    only: Iterable[str] = (),
    without: Iterable[str] = (),
    roles: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> list[PreparedSet]:
    """The sets in the given folders, by name.

    A source is a prepared set, a folder of prepared sets, or a folder of COCO sets (`xpose.data.datasets.folder_sets`),
    which are first prepared into `out`. `roles` maps "SET:SPLIT" to one of `ROLES`, to override roles.
    """
    included, excluded = set(only), set(without)
    folders: dict[str, Path] = {}
    names: set[str] = set()

    def is_included(name: str) -> bool:
        names.add(name)
        return (not included or name in included) and name not in excluded

    for source in sources:
        for name, folder in _folders(Path(source), out, is_included, progress).items():
            if name in folders:
                both = f"{quote(folders[name])} and in {quote(folder)}"
                raise DataError(f"The set {quote(name)} is in {both}. A collection holds each set once: omit one.")
            folders[name] = folder
    for name in sorted((included | excluded) - names):
        listed = ", ".join(sorted(names)) or "none"
        raise DataError(f"There is no set {quote(name)}.{did_you_mean(name, names)} There are: {listed}.")
    given = dict(roles or {})
    parts = [_part(name, folders[name], given) for name in sorted(folders)]
    if given:
        splits = [f"{part.name}:{split}" for part in parts for split in part.roles]
        raise DataError(f"There is no split {quote(next(iter(given)))}. There are: {', '.join(splits)}.")
    if not parts:
        raise DataError("No set is left to unify. Give folders of prepared sets: xpose data prepare NAME makes them.")
    return parts


def _folders(source: Path, out: Path, is_included: Callable[[str], bool], progress: Progress | None) -> dict[str, Path]:
    """The prepared folders of one source's included sets, by name."""
    from xpose.data.datasets.folder_sets import folder_sets, is_folder_of_sets
    from xpose.data.datasets.pipeline import prepare

    if (source / MANIFEST).is_file():
        prepared = {_name_of(source): source}
    elif not source.is_dir():
        raise DataError(f"{quote(source)} is not a folder. Give the folder that `xpose data prepare --out` wrote.")
    else:  # a collection may be next to its sets, and a folder may hold another program's manifest
        folders = [path for path in sorted(source.iterdir()) if all((path / x).is_file() for x in (MANIFEST, LOCATION))]
        prepared = {_name_of(path): path for path in folders if "sets" not in read_manifest(path)}
    if prepared:
        return {name: path for name, path in prepared.items() if is_included(name)}
    if not is_folder_of_sets(source):
        what = f"neither prepared sets (folders with {MANIFEST}) nor folders of COCO sets"
        raise DataError(f"{quote(source)} holds {what}. Make a set first: xpose data prepare NAME")
    return {
        coco_set.name: prepare(coco_set, coco_set.root, out / INSIDE, progress=progress).folder
        for coco_set in folder_sets(source)
        if is_included(coco_set.name)
    }


def _name_of(folder: Path) -> str:
    manifest = read_manifest(folder)
    if "sets" in manifest:
        raise DataError(f"{quote(folder)} is a unified collection already. Give the prepared sets it was made of.")
    name = manifest.get("name")
    if not isinstance(name, str) or not name or "/" in name or name in (".", ".."):
        raise DataError(f"The manifest in {quote(folder)} names its set {quote(name)}. Prepare the set again.")
    return name


def _part(name: str, folder: Path, given: dict[str, str]) -> PreparedSet:
    manifest = read_manifest(folder)
    roles: dict[str, Role] = {}
    files = split_files(folder, manifest)
    for split, file in files.items():
        if not file.path.is_file() or sha256_of(file.path) != file.sha256:
            damage = "is missing or does not have the checksum in the manifest"
            raise DataError(f"{quote(file.path)} {damage}. Prepare it again: xpose data prepare {name} --fresh")
        role = given.pop(f"{name}:{split}", None) or role_of(split)
        if role not in ROLES:
            raise DataError(f"The role {quote(role)} of {name}:{split} is unknown. Roles are: {', '.join(ROLES)}.")
        roles[split] = role
    return PreparedSet(name, folder, manifest, files, roles)
