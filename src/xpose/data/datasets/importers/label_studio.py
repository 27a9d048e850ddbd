"""Label Studio's json export: `keypointlabels` in per cent of the picture's sides, combined by rectangles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from xpose.data.datasets.converters.base import PictureEntry
from xpose.data.datasets.importers.base import ALL, OBJECT, Importer, PictureLabels, RawObject
from xpose.data.datasets.importers.names import ObjectKind
from xpose.data.datasets.sources import Fields, SourceFolder, as_number, grouped
from xpose.errors import DataError, quote
from xpose.records import VISIBLE, Instance, Picture, Point, Skipped

POINT, RECTANGLE = "keypointlabels", "rectanglelabels"
WAY_OUT = 'Export the project again as "JSON" (not "JSON-MIN").'


class LabelStudio(Importer):
    """Points belong to their parent rectangle, to one linked by a relation, or to the only one around them.
    In a picture without rectangles, they form one object.
    """

    def open(self) -> tuple[dict[str, str], list[ObjectKind]]:
        self.file = self.only_file(".json")
        self.tasks = tasks = self.files.json(self.file)
        if not is_export(tasks) and not (self.choices.labels_only and is_export(tasks, "predictions")):
            raise DataError(f'{quote(self.file)} is not a list of tasks with "annotations". {WAY_OUT}')
        objects, faults = self.read_each(  # `listing` reports the faults
            self.file, tasks, lambda task, number: self._objects(Fields(task, f"task number {number}"), [])
        )
        labels = [(raw.kind, point[0]) for of_task in objects for raw in of_task for point in raw.points]
        parts = grouped(dict.fromkeys(labels))
        if not parts and faults:
            raise DataError(f"No task in {quote(self.file)} can be read; the first: {faults[0].reason}. {WAY_OUT}")
        return dict(ALL), [ObjectKind(kind, tuple(names), named=kind != OBJECT) for kind, names in parts.items()]

    def listing(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        for number, task in enumerate(self.tasks, start=1):
            where = f"{self.file}: task number {number}"
            dropped: list[str] = []
            address = ""
            try:
                fields = Fields(task, where)
                address = _address(fields.object("data"))
                name = self.pictures.find_url(address)
                objects = self._objects(fields, dropped)
            except DataError as error:
                yield Skipped(address or where, str(error))
                continue
            yield from (Skipped(name, reason, "object") for reason in dropped)
            stated = None if task.get("id") is None else str(task["id"])
            sizes = _sizes(self._results(fields, []))
            data = fields.object("data")
            if self.choices.labels_only and not sizes and "width" in data and "height" in data:
                sizes = [(data.integer("width"), data.integer("height"))]
            yield PictureEntry(name, PictureLabels(objects, sizes, id=stated))

    def open_picture(self, source: SourceFolder, entry: PictureEntry) -> Picture:
        if self.choices.labels_only:
            return source.picture(entry.name, next(iter(entry.data.size), None))
        picture = super().open_picture(source, entry)
        for size in entry.data.size:
            if size != (picture.width, picture.height):
                raise DataError(f"the annotation says {size}, but the picture is {picture.width}x{picture.height}")
        return picture

    def object(self, raw: RawObject, picture: Picture, number: int) -> Instance:
        where = f"object {number} ({raw.kind}): "
        raw.refuse_doubles(where, "draw a rectangle round each object and make it the parent of its points")
        if raw.mark:
            raise DataError(f"{where}its rectangle is turned by {quote(raw.mark)} degrees, and boxes are upright")
        sides = (picture.width, picture.height)
        points: dict[str, Point] = {}
        for name, *place in raw.points:
            x, y = _pixels(place, sides, where + quote(name))
            points[name] = (x, y, VISIBLE)
        box: Any = None if raw.box is None else tuple(_pixels(raw.box, sides * 2, f"{where}its rectangle"))
        return self.settled(raw.kind, points, picture, number, box, id=raw.id, raw=raw)

    def _objects(self, task: Fields, dropped: list[str]) -> list[RawObject]:
        return _objects(task, self._results(task, dropped), dropped)

    def _results(self, task: Fields, dropped: list[str]) -> list[Any]:
        """The results of the first annotation that was not cancelled, or of a prediction; others are reported."""
        guessed = self.choices.labels_only and "predictions" in task
        stated = task.list("annotations") if "annotations" in task or not guessed else []
        annotations = [Fields(value, f"{task.where}: an annotation") for value in stated]
        usable = [annotation for annotation in annotations if not annotation.value.get("was_cancelled")]
        if guessed and not usable:
            usable = [Fields(value, f"{task.where}: a prediction") for value in task.list("predictions")]
        if not usable:
            raise DataError("nobody has labelled it, or the annotation was cancelled")
        if len(usable) > 1:
            dropped.append(f"{len(usable)} annotations of it; only the first counts")
        return usable[0].list("result")


def is_export(content: object, key: str = "annotations") -> bool:
    """Whether the content of a json file is a list of tasks with annotations, or with predictions."""
    return isinstance(content, list) and any(isinstance(task, Mapping) and key in task for task in content)


def _objects(task: Fields, results: list[Any], dropped: list[str]) -> list[RawObject]:
    """The objects of a task; anything else is added to `dropped`."""
    objects: dict[str, RawObject] = {}
    points: list[Fields] = []
    joined: dict[str, list[str]] = {}
    for number, result in enumerate(results, start=1):
        fields = Fields(result, f"{task.where}: result number {number}")
        kind = fields.value.get("type")
        if kind == RECTANGLE:
            value, stated = fields.object("value"), fields.value.get("id")
            name = stated if isinstance(stated, str) and stated else f"number {number}"
            corners = [value.value.get(key) for key in ("x", "y", "width", "height")]
            rotation, score = value.value.get("rotation") or 0, fields.value.get("score")
            objects[name] = RawObject(_label(value, RECTANGLE), [], corners, name, rotation, score)
        elif kind == POINT:
            points.append(fields)
        elif kind == "relation":
            ends = str(fields.value.get("from_id")), str(fields.value.get("to_id"))
            for start, end in (ends, ends[::-1]):
                joined.setdefault(start, []).append(end)
        else:
            dropped.append(f"{quote(kind)} is neither a point nor a rectangle")
    for fields in points:
        value = fields.object("value")
        owner = _owner(fields, value, objects, joined)
        owner.points.append((_label(value, POINT), value.value.get("x"), value.value.get("y")))
        if fields.value.get("score") is not None:
            owner.scores[_label(value, POINT)] = fields.value["score"]
    return list(objects.values())


def _owner(point: Fields, value: Fields, objects: dict[str, RawObject], joined: Mapping[str, list[str]]) -> RawObject:
    parent = point.value.get("parentID")
    if isinstance(parent, str) and parent in objects:
        return objects[parent]
    partners = [other for other in joined.get(str(point.value.get("id")), []) if other in objects]
    if len(partners) == 1:
        return objects[partners[0]]
    rectangles = [raw for raw in objects.values() if raw.box is not None]
    holding = [raw for raw in rectangles if raw.box and _holds(raw.box, value)]
    if len(rectangles) == 1 or len(holding) == 1:
        return (holding or rectangles)[0]
    if rectangles:
        raise DataError(
            f"{point.where}: {len(holding)} of {len(rectangles)} rectangles hold the point "
            f"{quote(_label(value, POINT))}; make one of them its parent in Label Studio"
        )
    return objects.setdefault("", RawObject(OBJECT, []))


def _sizes(results: list[Any]) -> list[tuple[Any, Any]]:
    sizes: list[tuple[Any, Any]] = []
    for result in (result for result in results if isinstance(result, Mapping)):
        if rotation := result.get("image_rotation"):
            return [(f"a rotation by {rotation} degrees", "which is not supported")]
        size = (result.get("original_width"), result.get("original_height"))
        sizes += [size] if None not in size and size not in sizes else []
    return sizes


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
    (label,) = value.list(key, 1)
    return Fields({key: label}, value.where).text(key)


def _holds(box: list[Any], value: Fields) -> bool:
    try:
        left, top, width, height, x, y = _pixels([*box, value.value.get("x"), value.value.get("y")], (1,) * 6, "")
    except DataError:
        return False
    return left <= x <= left + width and top <= y <= top + height


def _pixels(values: list[Any], sides: tuple[int, ...], what: str) -> list[float]:
    shares = [number for value in values if (number := as_number(value)) is not None]
    if len(shares) < len(values):
        raise DataError(f"{what} has {quote(values)} instead of numbers in per cent")
    return [share / 100 * side for share, side in zip(shares, sides, strict=True)]
