"""The two kinds of pages that `xpose data look` writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from xpose.data.inspection import pages
from xpose.data.inspection.overlay import named_svg, picture_svg
from xpose.data.inspection.pages import text
from xpose.data.inspection.set_look import Kind, SetLook

if TYPE_CHECKING:
    from xpose.records import Record

ROWS = 34  # keypoints in one chart
NAMES = 40  # categories in a chart
SIZE_CAPTION = "size of the box in pixels (root of its area), from"
HINT = (
    "Blue is left, orange right, green the middle, by name; hollow points are labelled as hidden. Point at one for its "
    "name."
)


def set_page(look: SetLook) -> str:
    """The page of one set."""
    told = look.manifest
    title = str(told.get("title") or look.name)
    pictures, objects = look.pictures.total(), look.objects.total()
    body = [
        '<p class=faint><a href="index.html">all sets</a></p>',
        f"<h1>{text(title)}</h1>",
        f"<p>{_pictures(pictures)}, {_objects(objects)}, {_categories(len(look.categories))}.</p>",
        pages.facts(_facts(look)),
        "<h2>The points by name</h2>",
        f"<p class=faint>{HINT}</p>",
        f"<div class=large>{''.join(_examples(look))}</div>",
        "<h2>How it is spread</h2>",
        f"<div class=cards>{''.join(_charts(look))}</div>",
        f"<h2>{len(look.sheet)} of its pictures</h2>" if look.sheet else "<p class=faint>No picture has keypoints.</p>",
        f"<div class=sheet>{''.join(_sheet(look))}</div>",
    ]
    return pages.page(title, body)


def index_page(looks: Sequence[SetLook], page_name: Callable[[str], str]) -> str:
    """The page of the whole collection."""
    pictures = sum(look.pictures.total() for look in looks)
    objects = sum(look.objects.total() for look in looks)
    categories: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    crowds: Counter[str] = Counter()
    points: set[str] = set()
    for look in looks:
        categories.update(look.categories)
        sizes.update(dict(look.size_bins()))
        crowds.update(look.crowds)
        points.update(name for kind in look.kinds.values() for name in (*kind.visible, *kind.hidden))
    by_set = {look.name: (look.pictures.total(),) for look in _largest_first(looks)}
    charts = [
        _card("Pictures of each set", pages.bars(by_set)),
        _card("Objects of each category", pages.bars(_counted(categories), limit=NAMES)),
        _card("Size of the objects", pages.histogram(list(sizes.items()), SIZE_CAPTION) + _crowd_chart(crowds)),
    ]
    body = [
        "<h1>The whole collection</h1>",
        f"<p>{pages.counted(len(looks), 'set', 'sets')}, {_pictures(pictures)}, {_objects(objects)}, "
        f"{_categories(len(categories))}, {pages.counted(len(points), 'keypoint name', 'keypoint names')}.</p>",
        f"<div class=cards>{''.join(charts)}</div>",
        "<h2>Sets</h2>",
        f"<div class=tiles>{''.join(_set_card(look, page_name(look.name)) for look in looks)}</div>",
    ]
    return pages.page("The whole collection", body)


def _facts(look: SetLook) -> Iterable[tuple[str, str]]:
    told = look.manifest
    yield "name", text(look.name)
    for label, key in (("licence", "licence"), ("terms", "terms"), ("format", "format")):
        if told.get(key):
            yield label, text(told[key])
    if len(look.licences) > 1:
        yield "licences of the pictures", text(_listed(look.licences))
    homepage = str(told.get("homepage") or "not stated")
    yield "home page", pages.link(homepage, homepage)
    yield "left and right", text(_listed(look.left_right) if len(look.left_right) > 1 else next(iter(look.left_right)))
    for label, key in (("visibility", "visibility"), ("boxes", "boxes")):
        if told.get(key):
            yield label, text(told[key])
    counts = [f"{split}: {_pictures(n)}, {_objects(look.objects[split])}" for split, n in sorted(look.pictures.items())]
    yield "splits", "<br>".join(map(text, counts))
    if set(look.styles) != {"not stated"}:
        yield "styles", text(_listed(look.styles))
    yield (
        "skeletons",
        text(", ".join(f"{name} ({_objects(kind.objects)})" for name, kind in sorted(look.kinds.items()))),
    )


def _listed(counter: Counter[str], limit: int = 12) -> str:
    shown = ", ".join(f"{name} ({n:,})" for name, n in counter.most_common(limit))
    return shown + (f", and {len(counter) - limit} more" if len(counter) > limit else "")


def _examples(look: SetLook) -> Iterable[str]:
    for example in look.named_examples():
        svg, numbered = named_svg(example.record, example.instance, example.path)
        caption = f"<ol>{''.join(f'<li>{text(name)}</li>' for name in numbered)}</ol>" if numbered else ""
        name = example.instance.category.name
        yield _card(name, svg + caption)


def _charts(look: SetLook) -> Iterable[str]:
    for skeleton, kind in sorted(look.kinds.items()):
        yield from _keypoint_charts(skeleton, kind)
    yield _card("Categories", pages.bars(_counted(look.categories), limit=NAMES))
    yield _card("Size of the objects", pages.histogram(look.size_bins(), SIZE_CAPTION))
    yield _card("Objects in a picture", _crowd_chart(look.crowds))


def _keypoint_charts(skeleton: str, kind: Kind) -> Iterable[str]:
    for start in range(0, len(kind.keypoints), ROWS):
        names = kind.keypoints[start : start + ROWS]
        part = f", {start + 1} to {start + len(names)}" if len(kind.keypoints) > ROWS else ""
        chart = pages.bars({name: (kind.visible[name], kind.hidden[name]) for name in names}, total=kind.objects)
        told = "<p class=faint>share of the objects on which the point is labelled; pale: as hidden</p>"
        yield _card(f"Keypoints of {skeleton}{part}", chart + told)


def _crowd_chart(crowds: Counter[str]) -> str:
    from xpose.data.inspection.set_look import CROWDS

    return pages.histogram([(label, crowds[label]) for label, _ in CROWDS], "objects in a picture")


def _sheet(look: SetLook) -> Iterable[str]:
    for shown in look.shown():
        svg = picture_svg(shown.record, shown.path)
        file = shown.record.picture.file
        yield f'<figure>{svg}<figcaption title="{text(file)}">{text(file.rpartition("/")[2])}</figcaption></figure>'


def _set_card(look: SetLook, address: str) -> str:
    cover = max(look.shown(), key=lambda shown: _presence(shown.record), default=None)
    picture = picture_svg(cover.record, cover.path, longest=420) if cover else "<p class=faint>no keypoints</p>"
    title = text(look.manifest.get("title") or look.name)
    licence = text(look.manifest.get("licence") or "licence not stated")
    counts = f"{_pictures(look.pictures.total())}, {_objects(look.objects.total())}"
    return (
        f'<div class=card><h3><a href="{text(address)}">{text(look.name)}</a></h3><div class=cover>{picture}</div>'
        f"<p>{title}</p><p class=faint>{counts}<br>{licence}</p></div>"
    )


def _presence(record: Record) -> float:
    """How well the objects can be seen on a small picture: the share of it that the largest labelled one takes."""
    area = record.picture.width * record.picture.height
    return max((min(i.box[2] * i.box[3] / area, 0.6) for i in record.instances if i.keypoints), default=0.0)


def _pictures(number: int) -> str:
    return pages.counted(number, "picture", "pictures")


def _objects(number: int) -> str:
    return pages.counted(number, "object", "objects")


def _categories(number: int) -> str:
    return pages.counted(number, "category", "categories")


def _card(title: str, content: str) -> str:
    return f"<div class=card><h3>{text(title)}</h3>{content}</div>"


def _counted(counter: Counter[str]) -> dict[str, tuple[int]]:
    return {name: (n,) for name, n in sorted(counter.items(), key=lambda item: (-item[1], item[0]))}


def _largest_first(looks: Sequence[SetLook]) -> list[SetLook]:
    return sorted(looks, key=lambda look: (-look.pictures.total(), look.name))
