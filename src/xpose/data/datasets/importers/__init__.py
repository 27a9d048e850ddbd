"""Importers for labels of other tools: one module per format. An importer converts one file or folder.

`import_set("yolo-pose", "my/data.yaml", "sets")` makes a prepared set: it chooses a name, converts and writes the
skeletons into its folder. docs/data-import.md has one command per format.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpose.data.collection.manifest import LOCATION, MANIFEST, pictures_root, read_manifest, write_json
from xpose.data.datasets.converters import CONVERTERS
from xpose.data.datasets.pipeline import Prepared, Progress, originals_of, prepare
from xpose.errors import DataError, did_you_mean, quote
from xpose.pictures.atomic import write_text
from xpose.vocabulary import Skeleton, load_skeleton

if TYPE_CHECKING:
    from xpose.data.datasets.importers.base import Importer

IMPORTERS = {  # format -> module in this folder and class
    "coco": "coco:CocoImport",
    "yolo-pose": "yolo:YoloPose",
    "deeplabcut": "deeplabcut:DeepLabCut",
    "sleap": "sleap:Sleap",
    "cvat": "cvat:Cvat",
    "label-studio": "label_studio:LabelStudio",
    "part-masks": "part_masks:PartMasks",
}
# File and folder names of only these words say nothing; the name of the folder around them is used instead.
DULL = {"annotations", "annotation", "data", "dataset", "config", "labels", "result", "results", "export", "project"}
DULL |= {"coco", "instances", "keypoints", "default", "images", "pictures", "all", "train", "val", "valid", "test"}


@dataclass(frozen=True)
class Imported:
    """What `import_set` did."""

    prepared: Prepared
    importer: Importer
    skeletons: dict[str, Path | None]  # skeleton's name -> its file in the set, None for one of the vocabulary
    notes: list[str]  # messages for the user


def load_importer(format_name: str) -> type[Importer]:
    """The importer of a format."""
    target = IMPORTERS.get(format_name.casefold().replace("_", "-"))
    if target is None:
        hint = did_you_mean(format_name, IMPORTERS)
        raise DataError(f"Unknown format {quote(format_name)}.{hint} List them with: xpose data formats")
    module, _, attribute = target.partition(":")
    importer: type[Importer] = getattr(import_module(f"{__package__}.{module}"), attribute)
    return importer


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
    """Import a user's file or folder into `out/NAME`; run it again to continue after an interruption.

    Raises:
        DataError: the source is damaged or of another format, contains `out`, or has an unresolved name.
    """
    from xpose.data.datasets.importers.base import ImportChoices

    importer_type = load_importer(format_name)
    set_name = name if name is not None else name_of(Path(path))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", set_name) or set_name.casefold() in CONVERTERS:
        raise DataError(
            f"--name {quote(set_name)} cannot be the name of the set. It is the name of a folder in {quote(out)}: "
            "letters, digits, dots, hyphens and underscores, and none that `xpose data list` shows. Choose another."
        )
    if skeleton is not None and str(skeleton).endswith(".toml"):
        skeleton = Path(skeleton)  # so that a file is not confused with a skeleton's name
    map_file, pictures_folder = (None if path is None else Path(path) for path in (names, pictures))
    choices = ImportChoices(category, skeleton, map_file, pictures_folder, licence)
    importer = importer_type(path, choices, set_name)
    folder = Path(out) / set_name
    _refuse_foreign(folder, importer)
    done = prepare(importer, importer.root, out, fresh=fresh, progress=progress)
    importer.notes += importer.leaks()
    skeletons = _write_skeletons(folder, importer)
    _complete_manifest(folder, importer, skeletons)
    return Imported(done, importer, skeletons, list(importer.notes))


def imported_skeletons(folder: str | Path) -> dict[str, Skeleton]:
    """The skeletons stored with an imported set, by the name used in its categories."""
    files = read_manifest(folder).get("import", {}).get("skeletons", {})
    return {name: load_skeleton(Path(folder) / file) for name, file in files.items() if file is not None}


def name_of(path: Path) -> str:
    """A name for the set: the file's, or its folder's if the file's is not informative."""
    place = start = Path(os.path.abspath(path))
    while place.name and _is_dull(place.stem.casefold()):
        place = place.parent
    is_file = place == start and not place.is_dir()
    stem = place.stem.removesuffix(".pkg").removesuffix(".coco") if is_file else place.name
    slug = slug_of(stem) or "imported"
    return f"{slug}-import" if slug in CONVERTERS else slug


def _is_dull(stem: str) -> bool:
    words = re.findall(r"[a-z]+", stem)
    return bool(words and set(words) <= DULL) or re.match(r"instances_|collecteddata_", stem) is not None


def slug_of(text: str) -> str:
    """A text as a name of a set: lower case, hyphens for everything but letters and digits."""
    return re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-")


def _refuse_foreign(folder: Path, importer: Importer) -> None:
    if not (folder / MANIFEST).is_file():
        return
    stated = read_manifest(folder).get("import", {})
    is_same = (stated.get("format"), stated.get("file")) == (importer.format, importer.path.name)
    if is_same and (folder / LOCATION).is_file():
        is_same = pictures_root(folder).resolve() == importer.root.resolve()
    if not is_same:
        raise DataError(
            f"{quote(folder)} already holds another set. Choose another name with --name, or remove that folder."
        )


def _write_skeletons(folder: Path, importer: Importer) -> dict[str, Path | None]:
    """Write skeletons missing from the vocabulary: `skeleton.toml`, or one `CATEGORY.skeleton.toml` each."""
    new = {named.skeleton.name: named for named in importer.named.values() if not named.shipped}
    files: dict[str, Path | None] = {named.skeleton.name: None for named in importer.named.values()}
    for name, named in new.items():
        slug = slug_of(named.title) or "object"
        path = folder / ("skeleton.toml" if len(new) == 1 else f"{slug}.skeleton.toml")
        while path in files.values():
            path = path.with_name(f"{path.name.removesuffix('.skeleton.toml')}-2.skeleton.toml")
        files[name] = path
        write_text(path, skeleton_toml(named.skeleton))
    return files


def _complete_manifest(folder: Path, importer: Importer, skeletons: Mapping[str, Path | None]) -> None:
    manifest: dict[str, Any] = read_manifest(folder)
    manifest["originals"] = originals_of(importer.files, importer.originals())
    manifest["import"] = {
        "format": importer.format,
        "file": importer.path.name,  # no local path: the manifest may be published
        "categories": {
            named.title: {"source": kind, "skeleton": named.skeleton.name, "names": dict(named.table.names)}
            for kind, named in importer.named.items()
        },
        "skeletons": {name: None if path is None else path.name for name, path in skeletons.items()},
        "notes": importer.notes,
    }
    write_json(folder / MANIFEST, manifest)


def skeleton_toml(skeleton: Skeleton) -> str:
    """The TOML text of a skeleton, as `xpose.vocabulary` reads it; equal skeletons give equal bytes."""
    fields = {key: getattr(skeleton, key) for key in ("name", "title", "left_right", "note")}
    fields |= {f"source.{key}": value for key, value in dataclasses.asdict(skeleton.source).items()}
    lines = [f"{key} = {_toml(value)}" for key, value in fields.items() if value]
    points = []
    for point in skeleton.points:
        stated = {key: value for key, value in dataclasses.asdict(point).items() if value not in (None, (), False)}
        points.append("{ " + ", ".join(f"{key} = {_toml(value)}" for key, value in stated.items()) + " }")
    for key, values in {"keypoints": points, "edges": map(_toml, skeleton.edges)}.items():
        lines += ["", f"{key} = [", *(f"  {value}," for value in values), "]"]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    # JSON strings, numbers, booleans and flat lists are valid TOML, except for one control character.
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")
