"""From a user's file to a prepared set: choose a name, convert, leave the skeletons beside the set."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpose.data.collection.manifest import LOCATION, MANIFEST, pictures_root, read_manifest, write_json
from xpose.data.collection.store import sha256_of
from xpose.data.datasets.converters import CONVERTERS
from xpose.data.datasets.pipeline import Prepared, Progress, prepare
from xpose.errors import DataError, quote

if TYPE_CHECKING:
    from xpose.data.datasets.importers.base import Importer
    from xpose.vocabulary import Skeleton

# Names that say nothing about what is in a file; the folder's is taken instead.
DULL = {"annotations", "annotation", "data", "dataset", "config", "labels", "result", "results", "export", "project"}


@dataclass(frozen=True)
class Imported:
    """What `import_set` did."""

    prepared: Prepared
    importer: Importer
    skeletons: dict[str, Path | None]  # skeleton's name -> its file beside the set, None for one of the vocabulary
    notes: list[str]  # what the user should know


def import_set(
    format_name: str,
    path: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    pictures: str | Path | None = None,
    category: str | None = None,
    skeleton: str | Path | None = None,
    names: str | Path | None = None,
    licence: str | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Imported:
    """Import a file or folder of a user into `out/NAME`; run it again to go on after an interruption.

    Raises:
        DataError: the source is damaged or of another format, `out` lies in it, or a name cannot be settled.
    """
    from xpose.data.datasets.importers.base import ImportChoices
    from xpose.data.datasets.importers.table import load_importer

    kind = load_importer(format_name)
    set_name = name if name is not None else name_of(Path(path))
    _check_name(set_name, out)
    choices = ImportChoices(
        category,
        _skeleton_path(skeleton),
        None if names is None else Path(names),
        None if pictures is None else Path(pictures),
        licence,
    )
    importer = kind(path, choices, set_name)
    folder = Path(out) / set_name
    _refuse_foreign(folder, importer)
    done = prepare(importer, importer.root, out, fresh=fresh, progress=progress)
    importer.notes += importer.leaks()
    skeletons = _write_skeletons(folder, importer)
    _complete_manifest(folder, importer, skeletons)
    return Imported(done, importer, skeletons, list(importer.notes))


def imported_skeletons(folder: str | Path) -> dict[str, Skeleton]:
    """The skeletons that lie beside an imported set, by the name that its categories give."""
    from xpose.vocabulary import load_skeleton

    files = read_manifest(folder).get("import", {}).get("skeletons", {})
    return {name: load_skeleton(Path(folder) / file) for name, file in files.items() if file is not None}


def name_of(path: Path) -> str:
    """A name for the set: that of the file, or of its folder if the file's says nothing."""
    whole = start = Path(os.path.abspath(path))
    while whole.name and (whole.stem.casefold() in DULL or re.match(r"instances_|collecteddata_", whole.stem.lower())):
        whole = whole.parent
    stem = whole.stem.removesuffix(".pkg") if whole == start and not whole.is_dir() else whole.name
    slug = re.sub(r"[^a-z0-9]+", "-", stem.casefold()).strip("-") or "imported"
    return f"{slug}-import" if slug in CONVERTERS else slug


def _check_name(name: str, out: str | Path) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) or name.casefold() in CONVERTERS:
        raise DataError(
            f"--name {quote(name)} cannot be the name of the set. It is the name of a folder in {quote(out)}: letters, "
            "digits, dots, hyphens and underscores, and none that `xpose data list` shows. Choose another."
        )


def _skeleton_path(skeleton: str | Path | None) -> str | Path | None:
    """A path for what is a file, so that a name and a file of that name are not mixed up."""
    return Path(skeleton) if skeleton is not None and str(skeleton).endswith(".toml") else skeleton


def _origin(importer: Importer) -> dict[str, str]:
    """What identifies an import; without a local path, since it is written to the manifest."""
    return {"format": importer.format, "file": importer.path.name}


def _refuse_foreign(folder: Path, importer: Importer) -> None:
    """Do not mix two sources in one folder."""
    if not (folder / MANIFEST).is_file():
        return
    before = read_manifest(folder).get("import", {})
    same = all(before.get(key) == value for key, value in _origin(importer).items())
    if same and (folder / LOCATION).is_file():
        same = pictures_root(folder).resolve() == importer.root.resolve()
    if not same:
        raise DataError(
            f"{quote(folder)} already holds another set. Every import has a folder of its own. Choose another name "
            "with --name, or remove that folder."
        )


def _write_skeletons(folder: Path, importer: Importer) -> dict[str, Path | None]:
    """Write what is not in the vocabulary: `skeleton.toml`, or `CATEGORY.skeleton.toml` each if there are several."""
    from xpose.data.datasets.importers.skeleton_file import write_skeleton

    own = {named.skeleton.name: named for named in importer.named.values() if not named.shipped}
    files: dict[str, Path | None] = {named.skeleton.name: None for named in importer.named.values()}
    taken: set[str] = set()
    for name, named in own.items():
        slug = re.sub(r"[^a-z0-9]+", "-", named.title.casefold()).strip("-") or "object"
        while slug in taken:
            slug += "-2"
        taken.add(slug)
        path = folder / ("skeleton.toml" if len(own) == 1 else f"{slug}.skeleton.toml")
        write_skeleton(path, named.skeleton)
        files[name] = path
    return files


def _complete_manifest(folder: Path, importer: Importer, skeletons: dict[str, Path | None]) -> None:
    """Add what only an import has: the names as they were settled, and checksums of the annotation files."""
    manifest: dict[str, Any] = read_manifest(folder)
    manifest["originals"] = {
        name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for name in importer.originals()
        if (path := importer.files.path(name)).is_file()
    }
    manifest["import"] = {
        **_origin(importer),
        "categories": {
            named.title: {"source": kind, "skeleton": named.skeleton.name, "names": dict(named.table.names)}
            for kind, named in importer.named.items()
        },
        "skeletons": {name: None if path is None else path.name for name, path in skeletons.items()},
        "notes": importer.notes,
    }
    write_json(folder / MANIFEST, manifest)
