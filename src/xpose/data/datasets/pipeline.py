"""From an original download to a prepared set: check, convert in chunks that survive an interruption, write, verify."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpose import __version__
from xpose.data.collection.manifest import LOCATION, MANIFEST, REPORT, read_manifest, verify, write_json
from xpose.data.collection.store import Counts, sha256_of, write_coco
from xpose.data.datasets.converters import load_converter
from xpose.data.datasets.converters.base import Converter, Entry, Need
from xpose.data.datasets.journal import ChunkJournal, digest_of
from xpose.data.datasets.report import read_report, write_report
from xpose.data.datasets.sources import Source, whole_file_fault
from xpose.errors import DataError, UnmappedKeypointError, quote
from xpose.records import Record, Skipped

CHUNK = 1000  # entries; what an interruption costs at most
WORK = ".work"

Progress = Callable[[str, int, int], None]  # split, entries done, entries in all


@dataclass(frozen=True)
class Prepared:
    """What `prepare` did."""

    folder: Path
    counts: dict[str, Counts]
    skipped: dict[str, dict[str, int]]  # split -> picture/object/point -> how many
    missing: dict[str, list[Need]]  # split -> what it lacks, for the splits that were not made


def prepare(
    converter: Converter | str,
    root: str | Path,
    out: str | Path,
    *,
    splits: Iterable[str] | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Prepared:
    """Convert the original under `root` into `out/NAME`; run it again to go on after an interruption.

    Splits whose files are not there are left out and listed, unless they were asked for by name.

    Raises:
        DataError: nothing can be converted, an annotation file is damaged, `out` lies in the original's folder, or
            a keypoint has no unified name. What was there before stays as it was.
    """
    if isinstance(converter, str):
        converter = load_converter(converter)
    folder = Path(out) / converter.name
    _refuse_inside(Path(root), folder)
    source = Source(root, folder)
    wanted, missing = _available(converter, source, splits)
    work = folder / WORK
    if fresh:
        shutil.rmtree(work, ignore_errors=True)
    journals = {split: _convert(converter, source, split, work / split, progress) for split in wanted}
    counts, skipped = _write(converter, folder, journals, missing, source)
    verify(folder)
    shutil.rmtree(work, ignore_errors=True)  # an original without entries has none
    return Prepared(folder, counts, skipped, missing)


def _refuse_inside(root: Path, folder: Path) -> None:
    place, original = folder.resolve(), root.resolve()
    if place == original or original in place.parents:
        raise DataError(
            f"{quote(folder)} lies inside the original's folder {quote(root)}, where nothing is ever written. "
            "Choose another folder with --out."
        )


def _available(
    converter: Converter, source: Source, splits: Iterable[str] | None
) -> tuple[list[str], dict[str, list[Need]]]:
    """The splits that can be made, and for the others what they lack."""
    asked = list(converter.splits) if splits is None else list(splits)
    unknown = [split for split in asked if split not in converter.splits]
    if unknown:
        raise DataError(
            f"{converter.name} has no split {', '.join(map(quote, unknown))}. "
            f"Its splits: {', '.join(f'{name} ({what})' for name, what in converter.splits.items())}."
        )
    missing = {split: lacking for split in asked if (lacking := converter.missing(source, split))}
    made = [split for split in asked if split not in missing]
    if not made or (splits is not None and missing):
        needs = {need.path: need for lacking in missing.values() for need in lacking}
        listed = "\n".join(f"  {need.path}   (get it: {need.where})" for need in needs.values())
        raise DataError(
            f"{quote(source.root)} lacks what {converter.title} needs:\n{listed}\n"
            f"Home page: {converter.homepage}. Put it there and run this again. "
            f"All about the set: xpose data info {converter.name}"
        )
    return made, missing


def _convert(converter: Converter, source: Source, split: str, work: Path, progress: Progress | None) -> ChunkJournal:
    """Bring the journal of one split up to date with the original."""
    identity = {"set": converter.name, "converter": converter.version, "xpose": __version__, "split": split}
    journal = ChunkJournal(work, {**identity, "root": str(source.root.resolve()), "chunk": CHUNK})
    entries = _entries(converter, source, split)
    chunks = [entries[start : start + CHUNK] for start in range(0, len(entries), CHUNK)]
    done = 0
    for number, chunk in enumerate(chunks):
        digest = digest_of([(entry, _stamp(source, entry)) for entry in chunk])
        if not journal.has(number, digest):
            journal.add(number, digest, _items(converter, source, split, chunk, done, len(entries), progress))
        done += len(chunk)
        if progress:
            progress(split, done, len(entries))
    journal.cut(len(chunks))
    return journal


def _entries(converter: Converter, source: Source, split: str) -> list[Entry | Skipped]:
    try:
        return list(converter.entries(source, split))
    except UnmappedKeypointError:
        raise
    except DataError as error:
        raise whole_file_fault(error, "The file may be damaged or of another release: fetch it again.") from None


def _items(
    converter: Converter,
    source: Source,
    split: str,
    chunk: list[Entry | Skipped],
    done: int,
    total: int,
    progress: Progress | None,
) -> Iterator[Record | Skipped]:
    for number, entry in enumerate(chunk, start=1):
        yield from converter.convert(source, split, entry)
        if progress and number % 50 == 0:
            progress(split, done + number, total)


def _stamp(source: Source, entry: Entry | Skipped) -> tuple[int, int] | None:
    """Size and time of the annotation file of a single picture, which change with the file."""
    if isinstance(entry, Skipped) or entry.file is None:
        return None
    try:
        status = source.path(entry.file).stat()
    except (OSError, DataError):
        return None  # `record` will say what is wrong
    return status.st_size, status.st_mtime_ns


def _write(
    converter: Converter,
    folder: Path,
    journals: dict[str, ChunkJournal],
    missing: dict[str, list[Need]],
    source: Source,
) -> tuple[dict[str, Counts], dict[str, dict[str, int]]]:
    """The COCO files, the report and the manifest, from the chunks."""
    counts = {}
    for split, journal in journals.items():
        info = {"description": converter.title, "set": converter.name, "split": split, "licence": converter.licence}
        counts[split] = write_coco(folder / f"{split}.json", _records_of(journal), info)
    manifest = describe(converter)
    manifest["xpose"] = __version__
    kept = _earlier_splits(folder, manifest, journals)
    skipped = write_report(folder / REPORT, converter.name, _skips_of(folder, kept, journals))
    manifest["sampling_seed"] = None  # a converter takes everything; `unify` samples
    lacking = {split: [need.path for need in needs] for split, needs in missing.items()}
    manifest["missing_splits"] = {split: needs for split, needs in lacking.items() if split not in kept}
    manifest["originals"] = _originals(converter, source, [*kept, *journals])
    manifest["splits"] = kept | {
        split: {
            "file": f"{split}.json",
            "sha256": sha256_of(folder / f"{split}.json"),
            "bytes": (folder / f"{split}.json").stat().st_size,
            "counts": counts[split].to_json(),
            "skipped": skipped.get(split, {}),
        }
        for split in journals
    }
    write_json(folder / LOCATION, {"root": str(source.root.resolve())})
    write_json(folder / MANIFEST, manifest)
    return counts, skipped


def _earlier_splits(folder: Path, now: dict[str, Any], made: Iterable[str]) -> dict[str, Any]:
    """The splits that an earlier run with the same converter made and this one did not make again."""
    try:
        before = read_manifest(folder)
    except DataError:
        return {}
    if any(before.get(key) != now[key] for key in ("name", "converter_version", "xpose")):
        return {}
    whole = {split: entry for split, entry in before["splits"].items() if (folder / entry["file"]).is_file()}
    return {split: entry for split, entry in whole.items() if split not in set(made)}


def _records_of(journal: ChunkJournal) -> Callable[[], Iterator[Record]]:
    def records() -> Iterator[Record]:
        seen = set()
        for item in journal.items():
            if isinstance(item, Record) and (name := _short(item)) not in seen:
                seen.add(name)
                yield item

    return records


def _skips_of(folder: Path, kept: Iterable[str], journals: dict[str, ChunkJournal]) -> Iterator[tuple[str, Skipped]]:
    if kept:
        for entry in read_report(folder / REPORT):
            if entry["split"] in kept:
                yield entry["split"], Skipped(entry["file"], entry["reason"], entry["what"])
    for split, journal in journals.items():
        seen = set()
        for item in journal.items():
            if isinstance(item, Skipped):
                yield split, item
            elif (name := _short(item)) in seen:
                yield split, Skipped(item.picture.file, "the original lists this picture twice; the first entry counts")
            else:
                seen.add(name)


def _short(record: Record) -> bytes:
    return hashlib.blake2b(record.picture.file.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def describe(converter: Converter) -> dict[str, Any]:
    """All that a converter states about its set, as it stands in the manifest."""
    expected = converter.expected
    stated = ("left_right", "origin", "visibility", "boxes", "evaluation")
    return {
        **{key: getattr(converter, key) for key in ("name", "title", "licence", "terms", "homepage")},
        "format": converter.status,
        "converter_version": converter.version,
        **{key: getattr(converter, key) for key in stated},
        "skeletons": sorted({table.skeleton for table in converter.tables.values()}),
        "expected": {
            "unikpt_images": expected.unikpt,
            "images": expected.images,
            "instances": expected.instances,
            "split_images": dict(expected.splits),
        },
    }


def _originals(converter: Converter, source: Source, splits: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Size and checksum of the annotation files that the set asks for (folders and pictures left out)."""
    used = {need.path for need in converter.needs for split in splits if split in (need.splits or converter.splits)}
    files = {name: source.path(name) for name in sorted(used)}
    return {
        name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for name, path in files.items()
        if path.is_file()
    }
