"""Convert an original download into a prepared set, in chunks that survive an interruption, and verify the result.

A journal stores a digest of each chunk's original entries. The next run reuses a chunk if its entries have not
changed; a chunk that has changed, or that lacks a picture, is converted again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpose import __version__
from xpose.data.collection import store
from xpose.data.collection.manifest import LOCATION, MANIFEST, REPORT, read_manifest, split_entry, verify, write_json
from xpose.data.datasets.converters import load_converter
from xpose.data.datasets.converters.base import Converter, Need, PictureEntry, digest_of
from xpose.data.datasets.report import read_report, write_report
from xpose.data.datasets.sources import SourceFolder, whole_file_fault
from xpose.errors import DataError, UnmappedKeypointError, quote
from xpose.records import Category, Record, Skipped, Taxonomy

CHUNK = 1000  # entries; the most an interruption costs
WORK = ".work"
STATED = ("name", "title", "licence", "terms", "homepage", "left_right", "origin", "visibility", "boxes", "evaluation")

Progress = Callable[[str, int, int], None]  # split, entries done, entries in all


@dataclass(frozen=True)
class Prepared:
    """What `prepare` did."""

    folder: Path
    counts: dict[str, store.Counts]
    skipped: dict[str, dict[str, int]]  # split -> picture/object/point -> how many
    missing: dict[str, list[Need]]  # split not made -> its missing files


def prepare(
    converter: Converter | str,
    root: str | Path,
    out: str | Path,
    *,
    splits: Iterable[str] | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Prepared:
    """Convert the original under `root` into `out/NAME`; run it again to continue after an interruption.

    Splits with missing files are omitted and listed, unless they were requested by name.

    Raises:
        DataError: nothing can be converted, an annotation file is damaged, `out` is in the original's folder, or a
            keypoint has no unified name. Existing output is kept.
    """
    if isinstance(converter, str):
        converter = load_converter(converter)
    folder = Path(out) / converter.name
    if Path(root).resolve() in (folder.resolve(), *folder.resolve().parents):
        raise DataError(
            f"{quote(folder)} lies inside the original's folder {quote(root)}, where nothing is ever written. "
            "Choose another folder with --out."
        )
    source = SourceFolder(root, folder)
    available, missing = _available(converter, source, splits)
    work = folder / WORK
    if fresh:
        shutil.rmtree(work, ignore_errors=True)
    journals = {split: _convert(converter, source, split, work / split, progress) for split in available}
    counts, skipped = _write(converter, folder, journals, missing, source)
    verify(folder)
    shutil.rmtree(work, ignore_errors=True)  # an original without entries has none
    return Prepared(folder, counts, skipped, missing)


def describe(converter: Converter) -> dict[str, Any]:
    """A converter's facts about its set, in the manifest's form."""
    return {
        **{key: getattr(converter, key) for key in STATED},
        "format": converter.status,
        "converter_version": converter.version,
        "skeletons": sorted({table.skeleton for table in converter.tables.values()}),
        "expected": {
            "unikpt_images": None,
            "images": None,
            "instances": None,
            "split_images": {},
            **converter.expected,
        },
    }


def _available(
    converter: Converter, source: SourceFolder, splits: Iterable[str] | None
) -> tuple[list[str], dict[str, list[Need]]]:
    """The splits that can be made, and the needs of the others."""
    chosen = list(converter.splits) if splits is None else list(splits)
    unknown = [split for split in chosen if split not in converter.splits]
    if unknown:
        raise DataError(
            f"{converter.name} has no split {', '.join(map(quote, unknown))}. "
            f"Its splits: {', '.join(f'{name} ({what})' for name, what in converter.splits.items())}."
        )
    missing = {split: needs for split in chosen if (needs := converter.missing(source, split))}
    available = [split for split in chosen if split not in missing]
    if not available or (splits is not None and missing):
        lacking = {need.path: need for of_split in missing.values() for need in of_split}
        listed = "\n".join(f"  {need.path}   (get it: {need.where})" for need in lacking.values())
        raise DataError(
            f"{quote(source.root)} lacks what {converter.title} needs:\n{listed}\n"
            f"Home page: {converter.homepage}. Put it there and run this again. "
            f"All about the set: xpose data info {converter.name}"
        )
    return available, missing


class ChunkJournal:
    """The finished chunks of one split in a work folder, reusable as long as `identity` stays the same."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self.identity = dict(identity)
        self.digests: list[str] = []
        try:
            state = json.loads((folder / "journal.json").read_text(encoding="utf-8"))
            if state["identity"] == self.identity:
                self.digests = [str(digest) for digest in state["chunks"]]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # missing, or damaged by a crash: start afresh

    def has(self, number: int, digest: str) -> bool:
        """Whether chunk `number` exists and its entries had that digest."""
        return self.digests[number : number + 1] == [digest] and self._chunk(number).is_file()

    def add(self, number: int, digest: str, items: Iterable[Record | Skipped]) -> None:
        """Write chunk `number`, or replace it.

        A chunk that lacks pictures is not reused by later runs, since the pictures may be repaired by then.
        """
        lost: list[Skipped] = []
        lines = (f"{store.dump(line)}\n" for line in _encoded(items, lost))
        store.write_atomically(self._chunk(number), lambda file: file.writelines(lines))
        self.digests[number : number + 1] = ["" if lost else digest]
        write_json(self.folder / "journal.json", {"identity": self.identity, "chunks": self.digests})

    def items(self) -> Iterator[Record | Skipped]:
        """Everything in all chunks, in order."""
        for number in range(len(self.digests)):
            with open(self._chunk(number), encoding="utf-8", newline="\n") as file:
                yield from _decoded(file)

    def _chunk(self, number: int) -> Path:
        return self.folder / f"{number:05}.jsonl"


def _encoded(items: Iterable[Record | Skipped], lost: list[Skipped]) -> Iterator[dict[str, Any]]:
    """One line per item; a category is written once, before its first object, and later referenced by number."""
    numbers: dict[Category, int] = {}
    for item in items:
        if isinstance(item, Skipped):
            lost += [item] if item.what == "picture" else []
            yield {"skipped": [item.file, item.reason, item.what]}
            continue
        for category in (instance.category for instance in item.instances):
            if category not in numbers:
                numbers[category] = len(numbers)
                points = [category.keypoints, category.edges, category.taxonomy.to_json()]
                yield {"category": [category.name, category.skeleton, *points]}
        objects = [[numbers[instance.category], store.instance_to_json(instance)] for instance in item.instances]
        yield {"image": store.image_to_json(item), "licence": item.licence, "objects": objects}


def _decoded(lines: Iterable[str]) -> Iterator[Record | Skipped]:
    categories: list[Category] = []
    for line in lines:
        value = json.loads(line)
        if "skipped" in value:
            yield Skipped(*value["skipped"])
        elif "category" in value:
            name, skeleton, keypoints, edges, taxonomy = value["category"]
            pairs = tuple((a, b) for a, b in edges)
            categories.append(Category(name, skeleton, tuple(keypoints), pairs, Taxonomy.from_json(taxonomy)))
        else:
            instances = tuple(store.instance_from_json(entry, categories[number]) for number, entry in value["objects"])
            yield store.record_from_json(value["image"], instances, value["licence"])


def _convert(
    converter: Converter, source: SourceFolder, split: str, work: Path, progress: Progress | None
) -> ChunkJournal:
    identity = {"set": converter.name, "converter": converter.version, "xpose": __version__, "split": split}
    identity |= {"root": str(source.root.resolve()), "chunk": CHUNK, "choices": converter.choices_digest}
    journal = ChunkJournal(work, identity)
    try:
        entries = list(converter.entries(source, split))
    except UnmappedKeypointError:
        raise
    except DataError as error:
        raise whole_file_fault(error, "The file may be damaged or of another release: fetch it again.") from None

    def report(done: int) -> None:
        if progress:
            progress(split, done, len(entries))

    def items(start: int, chunk: list[PictureEntry | Skipped]) -> Iterator[Record | Skipped]:
        for done, entry in enumerate(chunk, start=start + 1):
            yield from converter.convert(source, split, entry)
            if done % 50 == 0:
                report(done)

    for number, start in enumerate(range(0, len(entries), CHUNK)):
        chunk = entries[start : start + CHUNK]
        digest = digest_of(chunk)
        if not journal.has(number, digest):
            journal.add(number, digest, items(start, chunk))
        report(start + len(chunk))
    del journal.digests[-(-len(entries) // CHUNK) :]  # the original may have become shorter
    return journal


def _write(
    converter: Converter,
    folder: Path,
    journals: dict[str, ChunkJournal],
    missing: dict[str, list[Need]],
    source: SourceFolder,
) -> tuple[dict[str, store.Counts], dict[str, dict[str, int]]]:
    counts = {}
    for split, journal in journals.items():
        info = {"description": converter.title, "set": converter.name, "split": split, "licence": converter.licence}
        counts[split] = store.write_coco(folder / f"{split}.json", _records_of(journal), info)
    manifest = describe(converter) | {"xpose": __version__}
    earlier = _earlier_splits(folder, manifest, journals)
    skipped = write_report(folder / REPORT, converter.name, _skips_of(folder, earlier, journals))
    used = {need.path for need in converter.needs if {*earlier, *journals} & {*(need.splits or converter.splits)}}
    splits = {split: split_entry(folder, split, counts[split], skipped.get(split, {})) for split in journals}
    manifest |= {
        "sampling_seed": None,  # a converter takes everything; `unify` samples
        "missing_splits": {split: [need.path for need in missing[split]] for split in missing if split not in earlier},
        "originals": originals_of(source, sorted(used)),
        "splits": earlier | splits,
    }
    write_json(folder / LOCATION, {"root": str(source.root.resolve())})
    write_json(folder / MANIFEST, manifest)
    return counts, skipped


def _earlier_splits(folder: Path, now: dict[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """The splits made by an earlier run with the same converter, but not by this one."""
    try:
        before = read_manifest(folder)
    except DataError:
        return {}
    if any(before.get(key) != now[key] for key in ("name", "converter_version", "xpose")):
        return {}
    others = {split: entry for split, entry in before["splits"].items() if split not in made}
    return {split: entry for split, entry in others.items() if (folder / entry["file"]).is_file()}


def _records_of(journal: ChunkJournal) -> Callable[[], Iterator[Record]]:
    return lambda: (item for item, again in _marked(journal) if isinstance(item, Record) and not again)


def _skips_of(folder: Path, earlier: Iterable[str], journals: dict[str, ChunkJournal]) -> Iterator[tuple[str, Skipped]]:
    for entry in read_report(folder / REPORT) if earlier else ():
        if entry["split"] in earlier:
            yield entry["split"], Skipped(entry["file"], entry["reason"], entry["what"])
    for split, journal in journals.items():
        for item, again in _marked(journal):
            if isinstance(item, Skipped):
                yield split, item
            elif again:
                yield split, Skipped(item.picture.file, "the original lists this picture twice; the first entry counts")


def _marked(journal: ChunkJournal) -> Iterator[tuple[Record | Skipped, bool]]:
    """All items of a split, each with whether it is a record of a picture seen before."""
    seen: set[bytes] = set()  # digests take less memory than names
    for item in journal.items():
        if isinstance(item, Skipped):
            yield item, False
            continue
        name = hashlib.blake2b(item.picture.file.encode("utf-8", "surrogatepass"), digest_size=12).digest()
        yield item, name in seen
        seen.add(name)


def originals_of(source: SourceFolder, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Size and checksum of the annotation files among `names`, for the manifest; folders and pictures are omitted."""
    files = {name: path for name in names if (path := source.path(name)).is_file()}
    return {name: {"bytes": path.stat().st_size, "sha256": store.sha256_of(path)} for name, path in files.items()}
