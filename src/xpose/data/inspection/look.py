"""`xpose data look`: one page per set with pictures, points and charts, and one page for all of them.

The pages are self-contained (embedded pictures, inline SVG charts, no scripts) and name no folder of the machine. Each
seed selects a fixed set of pictures.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from xpose.data.collection.manifest import MANIFEST, Places, read_manifest
from xpose.data.collection.parts import Progress, find_parts, split_files
from xpose.data.collection.store import CocoSet
from xpose.data.inspection.overlay import named_svg, picture_svg
from xpose.data.inspection.set_look import SetLook
from xpose.pages import counted, render
from xpose.pictures.atomic import write_text
from xpose.records import Record

ROWS = 34  # keypoints in one chart
SIZE_CAPTION = "size of the box in pixels (root of its area), from"


def look(
    sources: Iterable[str | Path],
    out: str | Path,
    *,
    pictures: int = 24,
    seed: int = 0,
    only: Iterable[str] = (),
    progress: Progress | None = None,
) -> list[Path]:
    """Write `index.html` and one page per set into `out`; the pages, the index first.

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
    """The file name of a set's page: plain letters, so that every set gets one and none leaves the folder."""
    plain = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "_" for letter in set_name)
    safe = plain == set_name and plain not in ("", "index")
    suffix = "" if safe else "-" + hashlib.sha256(set_name.encode()).hexdigest()[:6]
    return f"{plain}{suffix}.html"


def _records(
    sources: Iterable[str | Path], out: Path, only: set[str], progress: Progress | None
) -> Iterator[tuple[Record, Path, Mapping[str, Any], int, int]]:
    """Every record with its picture's path, its set's manifest, and how far its set is."""
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
    """The page of one set."""
    return render(
        "look_set.html",
        title=str(look.manifest.get("title") or look.name),
        look=look,
        facts_of_set=list(_facts(look)),
        examples=[
            (example.instance.category.name, *named_svg(example.record, example.instance, example.path))
            for example in look.named_examples()
        ],
        keypoints=list(_keypoint_charts(look)),
        categories=_most_common(look.categories),
        sheet=[(record.picture.file, picture_svg(record, path)) for _, record, path in look.sheet],
        size_caption=SIZE_CAPTION,
    )


def _index_page(looks: Sequence[SetLook]) -> str:
    """The page of the whole collection."""
    whole = SetLook("", {}, 0)
    for look in looks:
        whole.include(look)
    names = {name for counts in whole.kinds.values() for name in (*counts.visible, *counts.hidden)}
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
    yield (
        "splits",
        [
            f"{split}: {counted(number, 'picture')}, {counted(look.objects[split], 'object')}"
            for split, number in sorted(look.pictures.items())
        ],
    )
    if set(look.styles) != {"not stated"}:
        yield "styles", _listed(look.styles)
    skeletons = [f"{name} ({counted(counts.objects, 'object')})" for name, counts in sorted(look.kinds.items())]
    yield "skeletons", ", ".join(skeletons)


def _listed(counter: Counter[str], limit: int = 12) -> str:
    shown = ", ".join(f"{name} ({n:,})" for name, n in counter.most_common(limit))
    return shown + (f", and {len(counter) - limit} more" if len(counter) > limit else "")


def _keypoint_charts(look: SetLook) -> Iterable[tuple[str, int, list[tuple[str, tuple[int, int]]]]]:
    """For each skeleton its name, its objects, and how often each point is visible and hidden."""
    for skeleton, counts in sorted(look.kinds.items()):
        for start in range(0, len(counts.keypoints), ROWS):
            names = counts.keypoints[start : start + ROWS]
            part = f", {start + 1} to {start + len(names)}" if len(counts.keypoints) > ROWS else ""
            bars = [(name, (counts.visible[name], counts.hidden[name])) for name in names]
            yield skeleton + part, counts.objects, bars


def _most_common(counter: Counter[str]) -> list[tuple[str, tuple[int]]]:
    return [(name, (count,)) for name, count in sorted(counter.items(), key=lambda item: (-item[1], item[0]))]


def _cover(look: SetLook) -> str | None:
    cover = max(look.sheet, key=lambda picture: _prominence(picture.record), default=None)
    return picture_svg(cover.record, cover.path, longest=420) if cover else None


def _prominence(record: Record) -> float:
    """The share of the picture that its largest labelled object takes; more than 0.6 is no better."""
    area = record.picture.width * record.picture.height
    return max((min(i.box[2] * i.box[3] / area, 0.6) for i in record.instances if i.keypoints), default=0.0)
