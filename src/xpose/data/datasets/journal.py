"""What lets an interrupted `prepare` go on: finished chunks of records in small files, and a journal that lists them.

The journal remembers a digest of the original's entries behind each chunk. On the next run a chunk whose entries are
still the same is taken as it is; one that differs, or that had to leave out a picture, is converted again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from xpose.data.collection.store import dump, image_to_json, instance_from_json, instance_to_json, record_from_json
from xpose.data.collection.store import write_atomically as write
from xpose.records import Category, Record, Skipped, Taxonomy


class ChunkJournal:
    """The chunks of one split in a work folder; `identity` is what must not have changed for them to be of use."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self.identity = dict(identity)
        self.digests: list[str] = []
        try:
            known = json.loads((folder / "journal.json").read_text(encoding="utf-8"))
            if known["identity"] == self.identity:
                self.digests = [str(digest) for digest in known["chunks"]]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # no journal, or one that a crash of the machine left damaged: start afresh

    def has(self, number: int, digest: str) -> bool:
        """Whether chunk `number` is there and was made of entries with that digest."""
        return number < len(self.digests) and self.digests[number] == digest and self._chunk(number).is_file()

    def add(self, number: int, digest: str, items: Iterable[Record | Skipped]) -> None:
        """Write chunk `number` in the place of an older one of that number.

        A chunk that lacks pictures is kept for this run but not for a later one: they may have been mended by then.
        """
        losses: list[Skipped] = []
        write(self._chunk(number), lambda file: file.writelines(f"{dump(line)}\n" for line in _encoded(items, losses)))
        self.digests[number : number + 1] = ["" if losses else digest]
        state = {"identity": self.identity, "chunks": self.digests}
        write(self.folder / "journal.json", lambda file: json.dump(state, file, indent=1, sort_keys=True))

    def items(self) -> Iterator[Record | Skipped]:
        """Everything in all chunks, in order."""
        for number in range(len(self.digests)):
            with open(self._chunk(number), encoding="utf-8", newline="\n") as file:
                yield from _decoded(file)

    def cut(self, count: int) -> None:
        """Forget the chunks from number `count` on (the original has become shorter)."""
        self.digests = self.digests[:count]

    def _chunk(self, number: int) -> Path:
        return self.folder / f"{number:05}.jsonl"


def digest_of(entries: Iterable[object]) -> str:
    """A digest of what the entries print as."""
    state = hashlib.sha256()
    for entry in entries:
        state.update(repr(entry).encode("utf-8", "backslashreplace"))
    return state.hexdigest()


def _encoded(items: Iterable[Record | Skipped], losses: list[Skipped]) -> Iterator[dict[str, Any]]:
    """One line each; a category stands once, before the first object that has it, and is a number from there on."""
    numbers: dict[Category, int] = {}
    for item in items:
        if isinstance(item, Skipped):
            losses += [item] if item.what == "picture" else []
            yield {"skipped": [item.file, item.reason, item.what]}
            continue
        for instance in item.instances:
            category = instance.category
            if category not in numbers:
                numbers[category] = len(numbers)
                rest = [category.keypoints, category.edges, category.taxonomy.to_json()]
                yield {"category": [category.name, category.skeleton, *rest]}
        objects = [[numbers[instance.category], instance_to_json(instance)] for instance in item.instances]
        yield {"image": image_to_json(item), "licence": item.licence, "objects": objects}


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
            instances = tuple(instance_from_json(entry, categories[number]) for number, entry in value["objects"])
            yield record_from_json(value["image"], instances, value["licence"])
