"""SLEAP label files (.slp), read by sleap-io: objects that people labelled, frames out of the file or its videos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xpose.data.datasets.converters.base import LOADER_ONLY, Entry
from xpose.data.datasets.importers.base import ALL, OBJECT, Importer, LabelledObject, LabelledPicture
from xpose.data.datasets.importers.names import ObjectKind
from xpose.data.datasets.sources import Source, as_number
from xpose.errors import DataError, missing_extra, quote
from xpose.records import VISIBLE, Point, Skipped

EMBEDDED = "pictures inside the file"


class Sleap(Importer):
    """Frames become PNG files in the prepared set; predictions of a model are left out."""

    format = "sleap"
    what = "a SLEAP label file (.slp or .pkg.slp)"
    title = "SLEAP labels"
    status = LOADER_ONLY
    origin = "as in the file"
    visibility = "none in the source: a point is there (2) or not"
    boxes = "extent of the points and 10 % of its longer side all round"

    def open(self) -> tuple[dict[str, str], list[ObjectKind]]:
        """The skeletons of the file; a single one is seldom named after the animal."""
        self.file = self.only_file(".slp")
        self.labels = self._load()
        self.opened: dict[int, Any] = {}
        skeletons = list(self.labels.skeletons)
        self.kinds = {id(skeleton): self._kind_name(skeleton, i) for i, skeleton in enumerate(skeletons, start=1)}
        kinds = []
        for skeleton in skeletons:
            flips = {a: b for pair in skeleton.symmetry_names for a, b in (tuple(pair), tuple(pair)[::-1])}
            edges = tuple((str(a), str(b)) for a, b in skeleton.edge_names)
            named = len(skeletons) > 1
            kinds.append(ObjectKind(self.kinds[id(skeleton)], tuple(skeleton.node_names), edges, flips, named=named))
        return dict(ALL), kinds

    def listing(self, source: Source, split: str) -> Iterator[Entry | Skipped]:
        """One entry per frame with labelled objects, by video and frame."""
        videos = {id(video): number for number, video in enumerate(self.labels.videos)}
        frames = sorted(
            (videos[id(frame.video)], int(frame.frame_idx), number)
            for number, frame in enumerate(self.labels.labeled_frames)
        )
        seen = set()
        for video, index, number in frames:
            frame = self.labels.labeled_frames[number]
            name = f"video{video}/{index:06}.png"
            predicted = len(frame.predicted_instances)
            if (video, index) in seen:
                yield Skipped(name, "the file holds this frame twice; the first counts")
            elif not frame.user_instances:
                yield Skipped(name, f"its {predicted} objects are predicted, none is labelled")
            else:
                if predicted:
                    yield Skipped(name, f"{predicted} predicted objects in it are not labels", "object")
                yield Entry(name, (video, index, [self._thing(each) for each in frame.user_instances]))
            seen.add((video, index))

    def look(self, source: Source, split: str, entry: Entry) -> LabelledPicture:
        """One frame, stored as a picture of its own."""
        video, index, objects = entry.data
        pixels = self._frame(video, index)
        picture = source.save_picture(entry.name, pixels)
        things, dropped = [], []
        for number, (kind, track, places) in enumerate(objects, start=1):
            points: dict[str, Point] = {}
            for name, x, y in places:
                if x != x and y != y:
                    continue
                if as_number(x) is None or as_number(y) is None:
                    dropped.append(Skipped(picture.file, f"object {number}: {quote(name)} is at ({x}, {y})", "point"))
                    continue
                points[name] = (x, y, VISIBLE)
            things.append(LabelledObject(kind, points, id=track or str(number)))
        return LabelledPicture(picture, things, dropped, group=f"video{video}")

    def _thing(self, instance: Any) -> tuple[str, str | None, list[tuple[str, float, float]]]:
        names, places = instance.skeleton.node_names, instance.numpy()
        points = [(name, float(x), float(y)) for name, (x, y) in zip(names, places, strict=True)]
        return self.kinds[id(instance.skeleton)], instance.track.name if instance.track else None, points

    def _kind_name(self, skeleton: Any, number: int) -> str:
        if len(self.labels.skeletons) == 1:
            return OBJECT
        return skeleton.name or f"{OBJECT} {number}"

    def _load(self) -> Any:
        try:
            import sleap_io
        except ImportError:
            raise missing_extra("Reading SLEAP files", "sleap-io", "data") from None
        path = self.files.path(self.file)
        try:
            return sleap_io.load_slp(str(path.resolve()), open_videos=False)
        except Exception as error:  # a damaged file fails in as many ways as the reader has lines
            raise DataError(
                f"{quote(self.file)} cannot be read as a SLEAP file ({type(error).__name__}: {error}). Is it "
                "whole? Open it in SLEAP and save it again."
            ) from None

    def _frame(self, number: int, index: int) -> Any:
        """The pixels of a frame, (height, width) or (height, width, 3)."""
        video = self._video(number)
        try:
            pixels = video[index]
        except Exception as error:  # video readers differ, and so do their errors
            raise DataError(
                f"frame {index} of video {number} cannot be read: {error or type(error).__name__}"
            ) from None
        if pixels.dtype.name != "uint8" or pixels.ndim != 3:
            raise DataError(f"frame {index} of video {number} is not a picture of bytes")
        return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels[:, :, :3]

    def _video(self, number: int) -> Any:
        """A video, open; only files beside the label file or in --pictures are, whatever path the label file gives."""
        if number not in self.opened:
            video = self.labels.videos[number]
            places = self._places(video)
            try:
                if places is not EMBEDDED:
                    video.replace_filename(places, open=False)
                video.open()
            except Exception as error:  # as above
                raise DataError(f"video {number} cannot be opened: {error or type(error).__name__}") from None
            self.opened[number] = video
        return self.opened[number]

    def _places(self, video: Any) -> Any:
        stored = video.filename
        if isinstance(stored, list):
            return [self._place(name) for name in stored]
        own = self.files.path(self.file).resolve()
        return EMBEDDED if Path(stored).resolve() == own else self._place(stored)

    def _place(self, stored: str) -> str:
        parts = [part for part in str(stored).replace("\\", "/").split("/") if part not in ("", ".", "..")]
        for start in range(len(parts)):
            end = "/".join(parts[start:])
            if ":" not in end and (place := Source(self.root).path(end)).is_file():
                return str(place.resolve())
        raise DataError(
            f"the video {quote(stored)} is not there: put it beside the label file, or give its folder with --pictures"
        )
