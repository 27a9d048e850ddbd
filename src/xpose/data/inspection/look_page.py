"""The two kinds of pages that `xpose data look` writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from xpose.data.inspection.overlay import named_svg, picture_svg
from xpose.data.inspection.set_look import SetLook
from xpose.errors import counted
from xpose.pages import render
from xpose.records import Record

ROWS = 34  # keypoints in one chart
SIZE_CAPTION = "size of the box in pixels (root of its area), from"


def set_page(look: SetLook) -> str:
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
        sheet=[(shown.record.picture.file, picture_svg(shown.record, shown.path)) for shown in look.shown()],
        size_caption=SIZE_CAPTION,
    )


def index_page(looks: Sequence[SetLook], page_name: Callable[[str], str]) -> str:
    """The page of the whole collection."""
    whole = SetLook("", {}, 0)
    for look in looks:
        whole.include(look)
    names = {name for kind in whole.kinds.values() for name in (*kind.visible, *kind.hidden)}
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
    kinds = sorted(look.kinds.items())
    yield "skeletons", ", ".join(f"{name} ({counted(kind.objects, 'object')})" for name, kind in kinds)


def _listed(counter: Counter[str], limit: int = 12) -> str:
    shown = ", ".join(f"{name} ({n:,})" for name, n in counter.most_common(limit))
    return shown + (f", and {len(counter) - limit} more" if len(counter) > limit else "")


def _keypoint_charts(look: SetLook) -> Iterable[tuple[str, int, list[tuple[str, tuple[int, int]]]]]:
    """For each skeleton its name, its objects, and how often each point is visible and hidden."""
    for skeleton, kind in sorted(look.kinds.items()):
        for start in range(0, len(kind.keypoints), ROWS):
            names = kind.keypoints[start : start + ROWS]
            part = f", {start + 1} to {start + len(names)}" if len(kind.keypoints) > ROWS else ""
            yield skeleton + part, kind.objects, [(name, (kind.visible[name], kind.hidden[name])) for name in names]


def _most_common(counter: Counter[str]) -> list[tuple[str, tuple[int]]]:
    return [(name, (count,)) for name, count in sorted(counter.items(), key=lambda item: (-item[1], item[0]))]


def _cover(look: SetLook) -> str | None:
    cover = max(look.shown(), key=lambda shown: _prominence(shown.record), default=None)
    return picture_svg(cover.record, cover.path, longest=420) if cover else None


def _prominence(record: Record) -> float:
    """The share of the picture that its largest labelled object takes; more than 0.6 is no better."""
    area = record.picture.width * record.picture.height
    return max((min(i.box[2] * i.box[3] / area, 0.6) for i in record.instances if i.keypoints), default=0.0)
