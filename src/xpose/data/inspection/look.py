"""`xpose data look`: one page per set with pictures, points and charts, and one page for all of them.

The pages are self-contained (embedded pictures, inline SVG charts, no scripts) and contain no local paths. Each seed
selects a fixed set of pictures.
"""

from __future__ import annotations

import bisect
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from xpose.data.collection.manifest import MANIFEST, Places, read_manifest
from xpose.data.collection.parts import Progress, find_parts, split_files
from xpose.data.collection.store import CocoSet
from xpose.data.inspection.overlay import named_svg, picture_svg
from xpose.errors import counted
from xpose.pages import render
from xpose.pictures.atomic import write_text
from xpose.records import HIDDEN, Instance, Record

ROWS = 34  # keypoints in one chart
SIZE_CAPTION = "size of the box in pixels (root of its area), from"
SIZES = (16, 32, 64, 96, 128, 192, 256, 384, 512)  # pixels, upper bounds of the bins of the boxes' size
CROWDS = (("0", 0), ("1", 1), ("2", 2), ("3", 3), ("4", 4), ("5", 5), ("6-10", 10), ("11-20", 20), ("21+", 1 << 30))
EXAMPLES = 9  # categories shown large with all names


def look(
    sources: Iterable[str | Path],
    out: str | Path,
    *,
    pictures: int = 24,
    seed: int = 0,
    only: Iterable[str] = (),
    progress: Progress | None = None,
) -> list[Path]:
    """Write `index.html` and one page per set into `out`; return them, index first.

    A source is a prepared set, a unified collection, a folder of prepared sets, or a folder of COCO sets.

    Raises:
        DataError: a source holds no set, or is damaged.
    """
    folder = Path(out)
    looks: dict[str, SetLook] = {}
    for record, path, manifest, done, total in _records(sources, folder, set(only), progress):
        set_look = looks.setdefault(record.source, SetLook(record.source, manifest, pictures))
        set_look.add(record, path, seed)
        if progress and (done % 200 == 0 or done == total):
            progress(record.source, done, total)
    in_order = [looks[name] for name in sorted(looks)]
    content = {folder / "index.html": _index_page(in_order)}
    content |= {folder / page_name(set_look.name): _set_page(set_look) for set_look in in_order}
    for page, text in content.items():
        write_text(page, text)
    return list(content)


def page_name(set_name: str) -> str:
    """The file name of a set's page: plain characters only, so that each page is inside the folder."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", set_name)
    is_safe = plain == set_name and plain not in ("", "index")
    return f"{plain}.html" if is_safe else f"{plain}-{hashlib.sha256(set_name.encode()).hexdigest()[:6]}.html"


def _records(
    sources: Iterable[str | Path], out: Path, only: set[str], progress: Progress | None
) -> Iterator[tuple[Record, Path, Mapping[str, Any], int, int]]:
    """Yield (record, picture path, manifest, records done, total) for every record."""
    others: list[str | Path] = []
    for source in map(Path, sources):
        manifest = read_manifest(source) if (source / MANIFEST).is_file() else {}
        if "sets" not in manifest:
            others.append(source)
            continue
        places, files = Places(source), split_files(source, manifest).values()
        total = sum(file.images for file in files)
        sets = manifest["sets"] if isinstance(manifest["sets"], dict) else {}
        for done, record in enumerate(chain.from_iterable(CocoSet(file.path) for file in files), start=1):
            if not only or record.source in only:
                yield record, places.path(record.picture), sets.get(record.source) or {}, done, total
    for part in find_parts(others, out, only=only, progress=progress) if others else ():
        places = Places(part.folder)
        total = part.images("train") + part.images("evaluation")
        for done, record in enumerate(chain(part.records("train"), part.records("evaluation")), start=1):
            yield record, places.path(record.picture), part.manifest, done, total


def _set_page(look: SetLook) -> str:
    examples = look.named_examples()
    return render(
        "look_set.html",
        title=str(look.manifest.get("title") or look.name),
        look=look,
        facts_of_set=list(_facts(look)),
        examples=[(e.instance.category.name, *named_svg(e.record, e.instance, e.path)) for e in examples],
        keypoints=list(_keypoint_charts(look)),
        categories=_most_common(look.categories),
        sheet=[(record.picture.file, picture_svg(record, path)) for _, record, path in look.sheet],
        size_caption=SIZE_CAPTION,
    )


def _index_page(looks: Sequence[SetLook]) -> str:
    whole = SetLook("", {}, 0)
    for look in looks:
        whole.include(look)
    kinds = [counts for look in looks for counts in look.kinds.values()]
    names = {name for counts in kinds for name in (*counts.visible, *counts.hidden)}
    return render(
        "look_index.html",
        title="The whole collection",
        whole=whole,
        points=len(names),
        pictures=_most_common(Counter({look.name: look.pictures.total() for look in looks})),
        categories=_most_common(whole.categories),
        sets=[(look, page_name(look.name), _cover(look)) for look in looks],
        size_caption=SIZE_CAPTION,
    )


def _facts(look: SetLook) -> Iterable[tuple[str, str | list[str]]]:
    manifest = look.manifest
    yield "name", look.name
    yield from ((key, str(manifest[key])) for key in ("licence", "terms", "format") if manifest.get(key))
    if len(look.licences) > 1:
        yield "licences of the pictures", _listed(look.licences)
    yield "home page", str(manifest.get("homepage") or "not stated")
    yield "left and right", _listed(look.left_right) if len(look.left_right) > 1 else next(iter(look.left_right))
    yield from ((key, str(manifest[key])) for key in ("visibility", "boxes") if manifest.get(key))
    splits = sorted(look.pictures.items())
    yield "splits", [f"{name}: {counted(n, 'picture')}, {counted(look.objects[name], 'object')}" for name, n in splits]
    if set(look.styles) != {"not stated"}:
        yield "styles", _listed(look.styles)
    skeletons = [f"{name} ({counted(counts.objects, 'object')})" for name, counts in sorted(look.kinds.items())]
    yield "skeletons", ", ".join(skeletons)


def _listed(counter: Counter[str], limit: int = 12) -> str:
    shown = ", ".join(f"{name} ({n:,})" for name, n in counter.most_common(limit))
    return shown + (f", and {len(counter) - limit} more" if len(counter) > limit else "")


def _keypoint_charts(look: SetLook) -> Iterable[tuple[str, int, list[tuple[str, tuple[int, int]]]]]:
    """Each skeleton's name, object count, and counts of visible and hidden points."""
    for skeleton, counts in sorted(look.kinds.items()):
        for start in range(0, len(counts.keypoints), ROWS):
            names = counts.keypoints[start : start + ROWS]
            part = f", {start + 1} to {start + len(names)}" if len(counts.keypoints) > ROWS else ""
            bars = [(name, (counts.visible[name], counts.hidden[name])) for name in names]
            yield skeleton + part, counts.objects, bars


def _most_common(counter: Counter[str]) -> list[tuple[str, tuple[int]]]:
    return [(name, (count,)) for name, count in sorted(counter.items(), key=lambda item: (-item[1], item[0]))]


def _cover(look: SetLook) -> str | None:
    def prominence(picture: _SheetPicture) -> float:
        """The share of the picture covered by its largest labelled object, at most 0.6."""
        area = picture.record.picture.width * picture.record.picture.height
        return max((min(i.box[2] * i.box[3] / area, 0.6) for i in picture.record.instances if i.keypoints), default=0.0)

    cover = max(look.sheet, key=prominence, default=None)
    return picture_svg(cover.record, cover.path, longest=420) if cover else None


@dataclass
class _SkeletonCounts:
    keypoints: tuple[str, ...]
    objects: int = 0
    visible: Counter[str] = field(default_factory=Counter)
    hidden: Counter[str] = field(default_factory=Counter)


class _SheetPicture(NamedTuple):
    rank: bytes
    record: Record
    path: Path


class _LargeObject(NamedTuple):
    score: tuple[int, int, bytes]
    record: Record
    instance: Instance
    path: Path


@dataclass
class SetLook:
    """All content of a set's page, collected record by record."""

    name: str
    manifest: Mapping[str, Any]
    sheet_size: int
    pictures: Counter[str] = field(default_factory=Counter)  # by split
    objects: Counter[str] = field(default_factory=Counter)  # by split
    categories: Counter[str] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    crowds: Counter[str] = field(default_factory=Counter)
    styles: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    left_right: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, _SkeletonCounts] = field(default_factory=dict)
    sheet: list[_SheetPicture] = field(default_factory=list)  # those of the smallest ranks, in order
    examples: dict[str, _LargeObject] = field(default_factory=dict)  # by category

    def add(self, record: Record, path: Path, seed: int) -> None:
        """Count one more record, and keep it if it is among those to show."""
        self.pictures[record.split] += 1
        self.objects[record.split] += len(record.instances)
        self.licences[record.licence] += 1
        self.left_right[record.left_right] += 1
        self.styles[record.style or "not stated"] += 1
        self.crowds[next(label for label, most in CROWDS if len(record.instances) <= most)] += 1
        rank = hashlib.blake2b(record.picture.file.encode(), digest_size=12, key=str(seed).encode()).digest()
        for instance in record.instances:
            self._count(instance)
            self._keep_example(record, instance, path, rank)
        if any(instance.keypoints for instance in record.instances):
            bisect.insort(self.sheet, _SheetPicture(rank, record, path), key=lambda picture: picture.rank)
            del self.sheet[self.sheet_size :]

    def size_bins(self) -> list[tuple[str, int]]:
        """The sizes of the boxes as a histogram."""
        return [(str(low), self.sizes[number]) for number, low in enumerate((0, *SIZES))]

    def crowd_bins(self) -> list[tuple[str, int]]:
        """The numbers of objects in a picture as a histogram."""
        return [(label, self.crowds[label]) for label, _ in CROWDS]

    def include(self, other: SetLook) -> None:
        """Add another set's counts of pictures, objects and categories."""
        for name in ("pictures", "objects", "categories", "sizes", "crowds"):
            getattr(self, name).update(getattr(other, name))

    def _count(self, instance: Instance) -> None:
        category = instance.category
        self.categories[category.name] += 1
        side = (instance.box[2] * instance.box[3]) ** 0.5
        self.sizes[bisect.bisect_right(SIZES, side)] += 1
        counts = self.kinds.setdefault(category.skeleton, _SkeletonCounts(category.keypoints))
        if not set(category.keypoints) <= set(counts.keypoints):
            counts.keypoints = tuple(dict.fromkeys(counts.keypoints + category.keypoints))
        counts.objects += 1
        for name, (*_, v) in instance.keypoints.items():
            (counts.hidden if v == HIDDEN else counts.visible)[name] += 1

    def _keep_example(self, record: Record, instance: Instance, path: Path, rank: bytes) -> None:
        """Keep the category's object with the most points, then the larger size class, then by seed."""
        name, size = instance.category.name, min(int(min(instance.box[2:]) // 60), 2)
        score, best = (len(instance.keypoints), size, rank), self.examples.get(name)
        if best is None and len(self.examples) >= 4 * EXAMPLES:
            return  # limits the number of candidate categories
        if instance.keypoints and (best is None or score > best.score):
            self.examples[name] = _LargeObject(score, record, instance, path)

    def named_examples(self) -> list[_LargeObject]:
        """One object for each of the most common categories."""
        common = sorted(self.examples, key=lambda name: (-self.categories[name], name))
        return [self.examples[name] for name in common[:EXAMPLES]]
