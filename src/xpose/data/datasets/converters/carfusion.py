"""CarFusion (`{train,test}/SEQUENCE/images_jpg/CAMERA_FRAME.jpg`, `gt/CAMERA_FRAME.txt`): cars in street videos."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from xpose.data.datasets.converters.base import Converter, NameTable, PictureEntry, stem_of
from xpose.data.datasets.sources import SourceFolder, box_of_points, parse_numbers
from xpose.errors import DataError, quote
from xpose.records import HIDDEN, NOT_LABELLED, VISIBLE, Box, Instance, Picture, Point, Record, Skipped

CAR = NameTable.from_file("car", "carfusion")
POINTS = dict(enumerate(CAR.names, start=1))
VISIBILITY = {1: VISIBLE, 2: HIDDEN, 3: VISIBLE}

Cars = dict[str, dict[str, Point]]  # a car's number in its file -> its points by the original's names


class CarFusion(Converter):
    """Cars with 14 points, two of which seem never labelled."""

    tables = {"car": CAR}

    def entries(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        return self.paired(source, source.pictures(split, deep=True), gt_files(source, split), _key)

    def record(self, source: SourceFolder, split: str, entry: PictureEntry) -> Record:
        picture = source.picture(entry.name)
        dropped: list[Skipped] = []
        cars = read_cars(source, entry.data)
        if not cars:
            raise DataError(f"{quote(entry.data)} holds no car")
        instances, faults = self.read_each(entry.name, cars.items(), lambda car, _: _car(*car, picture, dropped))
        group = "/".join(entry.name.split("/")[:2])
        return self.make(picture, instances, split, group=group, dropped=dropped + faults)


def gt_files(source: SourceFolder, folder: str) -> list[str]:
    """The files with the points of a split."""
    return [name for name in source.files(folder, (".txt",), deep=True) if name.split("/")[-2] == "gt"]


def sequence_of(name: str) -> str:
    """The folders of a picture (in "images_jpg" or "images") or gt file, without the last one."""
    return "/".join(name.split("/")[:-2])


def _key(name: str) -> str:
    return f"{sequence_of(name)}/{stem_of(name).rpartition('/')[2]}"


def read_cars(source: SourceFolder, file: str) -> Cars:
    """The cars of a gt file (lines `x,y,point,car,visibility`); points with x, y <= 0 are not labelled."""
    cars: Cars = {}
    for number, line in enumerate(source.lines(file), start=1):
        where = f"{file}, line {number}"
        if not line.strip():
            continue
        x, y, point, car, visible = parse_numbers(line, 5, where, ",")
        name = POINTS.get(point)  # type: ignore[call-overload]  # 9.0 finds 9
        if name is None or visible not in VISIBILITY or not car.is_integer():
            raise DataError(f"{where}: there is no point {point:g} of car {car:g} with visibility {visible:g}")
        points = cars.setdefault(str(int(car)), {})
        if name in points:
            raise DataError(f"{where}: car {car:g} already has point {point:g}")
        points[name] = (x, y, VISIBILITY[int(visible)]) if max(x, y) > 0 else (0.0, 0.0, NOT_LABELLED)
    return cars


def _car(number: str, labels: Mapping[str, Point], picture: Picture, dropped: list[Skipped]) -> Instance:
    points = {}
    for name, (x, y, v) in labels.items():
        if v and min(x, y) <= 0:
            place = f"{quote(CAR.names[name])} of car {number} at ({x:.6g}, {y:.6g})"
            dropped.append(Skipped(picture.file, f"{place} counts as not labelled, as by the authors", "point"))
        else:
            points[name] = (x, y, v)
    labelled = CAR.unify(points)
    try:
        return Instance(CAR.category("car"), _box(labelled, picture), labelled, source_id=number)
    except DataError as error:
        raise DataError(f"car {number}: {error}") from None


def _box(points: Mapping[str, Point], picture: Picture) -> Box:
    """The box of the authors' converter: around the points in the picture, clipped to it, in whole pixels."""
    inside = [point for point in points.values() if point[0] <= picture.width and point[1] <= picture.height]
    x, y, width, height = box_of_points(inside)
    left, top = max(x - width / 10, 0.0), max(y - height / 10, 0.0)
    across, down = min(1.25 * width, picture.width - left), min(1.25 * height, picture.height - top)
    return float(int(left)), float(int(top)), float(int(across)), float(int(down))
