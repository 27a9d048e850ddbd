"""SLEAP label files (.slp), read by sleap-io: objects labelled by people, frames from the file or its videos."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xpose.data.datasets.converters.base import PictureEntry
from xpose.data.datasets.importers.base import ALL, OBJECT, Importer, PictureLabels, RawObject, path_parts
from xpose.data.datasets.importers.names import ObjectKind
from xpose.data.datasets.sources import MAX_NUMBER, SourceFolder, as_number
from xpose.errors import DataError, missing_extra, quote
from xpose.records import VISIBLE, Instance, Picture, Skipped

MAX_TABLE = 4 << 30  # bytes
DEFAULT_NAME = re.compile(r"skeleton[-_ ]?\d*", re.IGNORECASE)  # SLEAP's name of a skeleton that nobody named


class Sleap(Importer):
    """Frames become PNG files in the prepared set, and predictions are omitted, unless only the labels are read."""

    def open(self) -> tuple[dict[str, str], list[ObjectKind]]:
        self.file = self.only_file(".slp")
        self.labels = self._load()
        self.opened: dict[int, Any] = {}
        self.kinds: dict[int, str] = {}
        kinds = []
        several = len(self.labels.skeletons) > 1
        for number, skeleton in enumerate(self.labels.skeletons, start=1):
            name = skeleton.name if several or self.choices.labels_only else ""
            named = bool(name) and not DEFAULT_NAME.fullmatch(name)
            kind = name if named else f"{OBJECT} {number}" if several else OBJECT
            self.kinds[id(skeleton)] = kind
            flips = {a: b for pair in skeleton.symmetry_names for a, b in (tuple(pair), tuple(pair)[::-1])}
            edges = tuple((str(a), str(b)) for a, b in skeleton.edge_names)
            kinds.append(ObjectKind(kind, tuple(skeleton.node_names), edges, flips, named=several or named))
        return dict(ALL), kinds

    def listing(self, source: SourceFolder, split: str) -> Iterator[PictureEntry | Skipped]:
        videos = {id(video): number for number, video in enumerate(self.labels.videos)}
        frames = [(videos[id(frame.video)], int(frame.frame_idx), frame) for frame in self.labels.labeled_frames]
        seen = set()
        for video, index, frame in sorted(frames, key=lambda item: item[:2]):
            name = self._frame_name(video, index)
            instances, predicted = frame.user_instances, len(frame.predicted_instances)
            if self.choices.labels_only:
                instances, predicted = [*instances, *frame.unused_predictions], 0
            if name in seen:
                yield Skipped(name, "the file holds this frame twice; the first counts")
            elif not instances and not self.choices.labels_only:
                yield Skipped(name, f"its {predicted} objects are predicted, none is labelled")
            else:
                if predicted:
                    yield Skipped(name, f"{predicted} predicted objects in it are not labels", "object")
                objects = [self._raw(instance) for instance in instances]
                yield PictureEntry(name, PictureLabels(objects, (video, index), group=f"video{video}"))
            seen.add(name)

    def open_picture(self, source: SourceFolder, entry: PictureEntry) -> Picture:
        video, index = entry.data.size
        if self.choices.labels_only:
            return source.picture(entry.name, self._frame_size(video))
        try:
            pixels = self._video(video)[index]
        except DataError:
            raise
        except Exception as error:  # video readers differ, and so do their errors
            raise DataError(f"frame {index} of video {video} cannot be read: {error or type(error).__name__}") from None
        if pixels.dtype.name != "uint8" or pixels.ndim != 3:
            raise DataError(f"frame {index} of video {video} is not a picture of bytes")
        return source.save_picture(entry.name, pixels[:, :, 0] if pixels.shape[2] == 1 else pixels[:, :, :3])

    def object(self, raw: RawObject, picture: Picture, number: int) -> Instance:
        """One object; a point with invalid coordinates is moved far outside and reported as not labelled."""
        points = {}
        for name, *place in raw.points:
            x, y = (MAX_NUMBER if as_number(value) is None else value for value in place)
            points[name] = (x, y, VISIBLE)
        return self.settled(raw.kind, points, picture, number, id=raw.track or str(number), raw=raw)

    def _raw(self, instance: Any) -> RawObject:
        places = zip(instance.skeleton.node_names, instance.numpy().tolist(), strict=True)
        points = [(name, x, y) for name, (x, y) in places if x == x or y == y]  # both are NaN if not labelled
        raw = RawObject(
            self.kinds[id(instance.skeleton)], points, track=instance.track.name if instance.track else None
        )
        if hasattr(instance, "score"):  # a prediction
            raw.score = float(instance.score)
            raw.scores = dict(zip(instance.skeleton.node_names, instance.points["score"].tolist(), strict=True))
        return raw

    def _load(self) -> Any:
        try:
            import sleap_io
        except ImportError:
            raise missing_extra("Reading SLEAP files", "sleap-io", "data") from None
        path = self.files.path(self.file).resolve()
        try:
            _refuse_huge(path)
            return sleap_io.load_slp(str(path), open_videos=False)
        except DataError:
            raise
        except Exception as error:  # a damaged file can raise any kind of error
            fault = f"{type(error).__name__}: {error}"
            raise DataError(
                f"{quote(self.file)} cannot be read as a SLEAP file ({fault}). Open it in SLEAP and save it again."
            ) from None

    def _frame_name(self, video: int, index: int) -> str:
        """The picture of a frame: its own name in a sequence of pictures, if only the labels are read."""
        stored = self.labels.videos[video].filename
        if self.choices.labels_only and isinstance(stored, list) and index < len(stored):
            return "/".join(part for part in path_parts(str(stored[index])) if ":" not in part)
        return f"video{video}/{index:06}.png"

    def _frame_size(self, video: int) -> tuple[int, int] | None:
        """Width and height as the file states them."""
        shape = self.labels.videos[video].backend_metadata.get("shape")
        if isinstance(shape, list | tuple) and len(shape) == 4 and all(isinstance(side, int) for side in shape):
            return shape[2], shape[1]
        return None

    def _video(self, number: int) -> Any:
        """An open video; only files near the label file or in --pictures are opened, whatever the stored path."""
        if number not in self.opened:
            video = self.labels.videos[number]
            places = self._places(video)
            try:
                if places is not None:
                    video.replace_filename(places, open=False)
                video.open()
            except Exception as error:  # as above
                raise DataError(f"video {number} cannot be opened: {error or type(error).__name__}") from None
            self.opened[number] = video
        return self.opened[number]

    def _places(self, video: Any) -> str | list[str] | None:
        """The paths of a video's files on this machine; None if it is inside the label file."""
        if isinstance(video.filename, list):
            return [self._place(name) for name in video.filename]
        is_inside = Path(video.filename).resolve() == self.files.path(self.file).resolve()
        return None if is_inside else self._place(video.filename)

    def _place(self, stored: str) -> str:
        parts = path_parts(str(stored))
        for start in range(len(parts)):
            end = "/".join(parts[start:])
            if ":" not in end and (place := SourceFolder(self.root).path(end)).is_file():
                return str(place.resolve())
        raise DataError(
            f"the video {quote(stored)} is not there: put it beside the label file, or give its folder with --pictures"
        )


def _refuse_huge(path: Path) -> None:
    """Refuse a file whose tables would unpack to more than memory; pictures in it are only read one by one."""
    import h5py

    def check(name: str, data: Any) -> None:
        if isinstance(data, h5py.Dataset) and not name.endswith("/video") and data.nbytes > MAX_TABLE:
            raise DataError(
                f"{quote(path.name)} declares {data.nbytes >> 30} GiB in {quote(name)}, more than labels can need. It "
                "may be damaged: save it again."
            )

    with h5py.File(path, "r") as file:
        file.visititems(check)
