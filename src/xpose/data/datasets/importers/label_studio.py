"""Label Studio's json export: `keypointlabels` in per cent of the picture's sides, held together by rectangles.

sleap-io is not used here, because it does not keep the rectangles as boxes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from xpose.data.datasets.converters.base import UNVERIFIED, Entry, read_each
from xpose.data.datasets.importers.base import ALL, OBJECT, Importer, LabelledObject, LabelledPicture
from xpose.data.datasets.importers.names import ObjectKind
from xpose.data.datasets.importers.places import refuse_turned
from xpose.data.datasets.sources import Fields, Source, as_number
from xpose.errors import DataError, quote
from xpose.records import VISIBLE, Box, Picture, Point, Skipped

POINT, RECTANGLE = "keypointlabels", "rectanglelabels"
WAY_OUT = 'Export the project again as "JSON" (not "JSON-MIN").'


@dataclass
class Group:
    """An object as drawn: a rectangle, if there is one, and the points that belong to it; plain values, in per cent."""

    kind: str
    id: str | None = None
    corners: list[Any] | None = None  # x, y, width, height
    turned: Any = 0
    points: list[tuple[str, Any, Any]] = field(default_factory=list)


class LabelStudio(Importer):
    """Points belong to the rectangle that is their parent, that a relation joins them to, or that alone holds them;
    in a picture without rectangles they are one object.
    """

    format = "label-studio"
    what = 'the json of the export "JSON"'
    title = "Label Studio"
    status = UNVERIFIED
    origin = "per cent of the picture's sides, times these"
    visibility = "none in the source: a point is there (2) or not"
    boxes = "the rectangle, else the extent of the points and 10 % of its longer side all round"

    def open(self) -> tuple[dict[str, str], list[ObjectKind]]:
        """The labels that occur, in the order in which they do."""
        self.file = self.only_file(".json")
        self.tasks = self.files.json(self.file)
        if not isinstance(self.tasks, list):
            raise DataError(f"{quote(self.file)} is not a list of tasks. {WAY_OUT}")
        if not any(isinstance(task, Mapping) and "annotations" in task for task in self.tasks):
            raise DataError(f'{quote(self.file)} holds no task with "annotations". {WAY_OUT}')
        parts: dict[str, list[str]] = {}
        faults = []
        for number, task in enumerate(self.tasks, start=1):
            try:
                groups = self._groups(Fields(task, f"task number {number}"), [])
            except DataError as error:
                faults.append(str(error))  # `listing` reports it
                continue
            for group in groups:
                known = parts.setdefault(group.kind, [])
                known += [name for name, *_ in group.points if name not in known]
        if not any(parts.values()) and faults:
            raise DataError(f"None of the tasks in {quote(self.file)} can be read; the first: {faults[0]}. {WAY_OUT}")
        return dict(ALL), [
            ObjectKind(kind, tuple(names), named=kind != OBJECT) for kind, names in parts.items() if names
        ]

    def listing(self, source: Source, split: str) -> Iterator[Entry | Skipped]:
        """One entry per task."""
        for number, task in enumerate(self.tasks, start=1):
            where = f"{self.file}: task number {number}"
            dropped: list[Skipped] = []
            address = ""
            try:
                fields = Fields(task, where)
                address = _address(fields.object("data"))
                name = self.pictures.find_url(address)
                groups = self._groups(fields, dropped, name)
            except DataError as error:
                yield Skipped(address or where, str(error))
                continue
            yield from dropped
            yield Entry(name, (task.get("id"), _sizes(fields), groups))

    def look(self, source: Source, split: str, entry: Entry) -> LabelledPicture:
        """One picture with its objects."""
        task, sizes, groups = entry.data
        picture = source.picture(entry.name)
        refuse_turned(source.path(entry.name))
        strange = [size for size in sizes if size != (picture.width, picture.height)]
        if strange:
            raise DataError(f"the annotation says {strange[0]}, but the picture is {picture.width}x{picture.height}")
        things, dropped = read_each(entry.name, groups, lambda group, i: _thing(group, picture, i))
        return LabelledPicture(picture, things, dropped, source_id=None if task is None else str(task))

    def _groups(self, task: Fields, dropped: list[Skipped], name: str = "") -> list[Group]:
        """The objects of a task.

        Raises:
            DataError: there is no usable annotation, or the points cannot be told apart.
        """
        results = _results(task, dropped, name)
        groups: dict[str, Group] = {}
        points: list[Fields] = []
        joined: dict[str, list[str]] = {}
        for number, result in enumerate(results, start=1):
            fields = Fields(result, f"{task.where}: result number {number}")
            kind = fields.value.get("type")
            if kind == RECTANGLE:
                value, own = fields.object("value"), _id(fields, number)
                corners = [value.value.get(key) for key in ("x", "y", "width", "height")]
                groups[own] = Group(_label(value, RECTANGLE), own, corners, value.value.get("rotation") or 0)
            elif kind == POINT:
                points.append(fields)
            elif kind == "relation":
                for a, b in (("from_id", "to_id"), ("to_id", "from_id")):
                    joined.setdefault(str(fields.value.get(a)), []).append(str(fields.value.get(b)))
            elif name:
                dropped.append(Skipped(name, f"{quote(kind)} is neither a point nor a rectangle", "object"))
        for fields in points:
            value = fields.object("value")
            owner = self._owner(fields, value, groups, joined)
            owner.points.append((_label(value, POINT), value.value.get("x"), value.value.get("y")))
        return list(groups.values())

    def _owner(self, point: Fields, value: Fields, groups: dict[str, Group], joined: Mapping[str, list[str]]) -> Group:
        """The object that a point belongs to."""
        parent = point.value.get("parentID")
        if isinstance(parent, str) and parent in groups:
            return groups[parent]
        partners = [other for other in joined.get(str(point.value.get("id")), []) if other in groups]
        if len(partners) == 1:
            return groups[partners[0]]
        rectangles = [group for group in groups.values() if group.corners is not None]
        holding = [group for group in rectangles if _holds(group, value)]
        if len(rectangles) == 1 or len(holding) == 1:
            return (holding or rectangles)[0]
        if rectangles:
            raise DataError(
                f"{point.where}: {len(holding)} of {len(rectangles)} rectangles hold the point "
                f"{quote(_label(value, POINT))}; make one of them its parent in Label Studio"
            )
        return groups.setdefault("", Group(OBJECT))


def _results(task: Fields, dropped: list[Skipped], name: str) -> list[Any]:
    """The results of the first annotation that was not cancelled; others are reported."""
    annotations = [Fields(value, f"{task.where}: an annotation") for value in task.list("annotations")]
    usable = [each for each in annotations if not each.value.get("was_cancelled")]
    if not usable:
        raise DataError("nobody has labelled it, or the annotation was cancelled")
    if len(usable) > 1 and name:
        dropped.append(Skipped(name, f"{len(usable)} annotations of it; only the first counts", "object"))
    return usable[0].list("result")


def _sizes(task: Fields) -> list[tuple[Any, Any]]:
    """The picture's sizes as the results state them, each once."""
    results = [result for result in _results(task, [], "") if isinstance(result, Mapping)]
    turned = [result.get("image_rotation") for result in results if result.get("image_rotation")]
    if turned:
        return [(f"a rotation by {turned[0]} degrees", "which is not supported")]
    sizes = [(result.get("original_width"), result.get("original_height")) for result in results]
    return [size for i, size in enumerate(sizes) if None not in size and size not in sizes[:i]]


def _address(data: Fields) -> str:
    """Where the picture is: `image`, or the one field that looks like a picture."""
    texts = {key: value for key, value in data.value.items() if isinstance(value, str) and value.strip()}
    if "image" in texts:
        return texts["image"]
    addresses = [value for key, value in texts.items() if key in ("img", "picture") or "/" in value]
    if len(addresses) != 1:
        raise DataError(f'{data.where} names no picture as "image"')
    return addresses[0]


def _label(value: Fields, key: str) -> str:
    labels = value.list(key)
    if len(labels) != 1 or not isinstance(labels[0], str) or not labels[0].strip():
        raise DataError(f"{value.where}: {quote(key)} is {quote(labels)}, not one label")
    return labels[0]


def _id(fields: Fields, number: int) -> str:
    stated = fields.value.get("id")
    return stated if isinstance(stated, str) and stated else f"number {number}"


def _holds(group: Group, value: Fields) -> bool:
    numbers = [as_number(each) for each in [*(group.corners or []), value.value.get("x"), value.value.get("y")]]
    if None in numbers:
        return False
    left, top, width, height, x, y = (float(number or 0) for number in numbers)
    return left <= x <= left + width and top <= y <= top + height


def _thing(group: Group, picture: Picture, number: int) -> LabelledObject:
    where = f"object {number} ({group.kind}): "
    doubled = [name for name, count in Counter(name for name, *_ in group.points).items() if count > 1]
    if doubled:
        raise DataError(
            f"{where}{', '.join(map(quote, doubled))} occur more than once; draw a rectangle round each object "
            "in Label Studio and make it the parent of its points"
        )
    if group.turned:
        raise DataError(f"{where}its rectangle is turned by {quote(group.turned)} degrees, and boxes are upright")
    points: dict[str, Point] = {}
    for name, x, y in group.points:
        across, down = _share(x, where + quote(name)), _share(y, where + quote(name))
        points[name] = (across * picture.width, down * picture.height, VISIBLE)
    box: Box | None = None
    if group.corners is not None:
        x, y, width, height = (_share(each, f"{where}its rectangle") for each in group.corners)
        box = (x * picture.width, y * picture.height, width * picture.width, height * picture.height)
    return LabelledObject(group.kind, points, box, id=group.id)


def _share(value: Any, what: str) -> float:
    number = as_number(value)
    if number is None:
        raise DataError(f"{what} has {quote(value)} where a number in per cent must be")
    return number / 100
