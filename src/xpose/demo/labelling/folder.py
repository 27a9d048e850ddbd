"""A folder of pictures to label: their labels and proposals, what has changed, and when it is saved."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from xpose.demo.labelling.label_file import LabelFile, SavedPicture
from xpose.demo.labelling.objects import LabelledObject, LabelledPicture
from xpose.errors import DataError, XPoseError, quote
from xpose.pictures.reading import read_picture

LONGEST_SHOWN = 3200  # pixels; larger pictures are reduced for the browser
_KEPT = 8  # pictures that are ready to be shown
_MOST_UNDO = 200

Propose = Callable[[str, np.ndarray], tuple[LabelledObject, ...]]  # from a picture's name and pixels


@dataclass(frozen=True)
class PreparedPicture:
    """What showing a picture needs: its size, its pixels as JPEG, and proposals, or why there are none."""

    width: int
    height: int
    jpeg: bytes
    proposals: tuple[LabelledObject, ...] = ()
    fault: str = ""


class LabelFolder:
    """The labels of the pictures of a folder. Whoever uses it from several threads holds `lock`.

    `history` holds the states of each opened picture since it was last saved. `proposing` is whether pictures without
    labels are opened with proposals.
    """

    def __init__(self, pictures: Mapping[str, Path], file: LabelFile, propose: Propose) -> None:
        self.pictures, self.names, self.file, self._propose = pictures, list(pictures), file, propose
        self.history: dict[str, list[LabelledPicture]] = {}
        self.proposing = True
        self.lock = threading.RLock()
        self._preparing = threading.Lock()
        self._worker = ThreadPoolExecutor(1)
        self._prepared: OrderedDict[str, Future[PreparedPicture]] = OrderedDict()  # least recently used first

    @property
    def labelled(self) -> int:
        """The number of pictures of the folder that the file holds."""
        return sum(map(self.is_labelled, self.names))

    def is_labelled(self, name: str) -> bool:
        """Whether the file holds the picture."""
        return name in self.file.pictures

    def first_open(self, start: int = 0) -> int:
        """The index of the first picture that is not labelled, searched from `start` on and then from the beginning."""
        order = [*range(start, len(self.names)), *range(start)]
        return next((number for number in order if not self.is_labelled(self.names[number])), start % len(order))

    def prepared(self, name: str) -> Future[PreparedPicture]:
        """The picture, which a background thread prepares; safe to call from any thread."""
        with self._preparing:
            future = self._prepared.pop(name, None) or self._worker.submit(self._prepare, name)
            self._prepared[name] = future
            if len(self._prepared) > _KEPT:
                self._prepared.popitem(last=False)
        return future

    def prepare_first(self) -> None:
        """Start to prepare the picture that is shown first, which also loads the text encoder."""
        self.prepared(self.names[self.first_open()])

    def _prepare(self, name: str) -> PreparedPicture:
        pixels, _ = read_picture(self.pictures[name])
        height, width = pixels.shape[:2]
        shown = Image.fromarray(pixels)
        shown.thumbnail((LONGEST_SHOWN, LONGEST_SHOWN))
        stream = io.BytesIO()
        shown.save(stream, "JPEG", quality=92)
        prepared = PreparedPicture(width, height, stream.getvalue())
        if self.is_labelled(name):
            return prepared
        try:
            proposals = self._propose(name, pixels)
        except (XPoseError, MemoryError) as error:
            return replace(prepared, fault=f"There are no proposals for this picture: {error}")
        fault = "" if proposals else f"No {self.file.category.name} is proposed for this picture."
        return replace(prepared, proposals=proposals, fault=fault)

    def open(self, name: str) -> LabelledPicture:
        """The labels of a picture, saved or proposed; `ImageError` if it cannot be read."""
        prepared = self.prepared(name).result()
        if name not in self.history:
            saved, size = self.file.pictures.get(name), (prepared.width, prepared.height)
            if saved is not None and (saved.width, saved.height) != size:
                raise DataError(
                    f"{quote(name)} has {size[0]} x {size[1]} pixels, but was labelled with {saved.width} x "
                    f"{saved.height}. Restore the picture that was labelled."
                )
            proposals = prepared.proposals if self.proposing else ()
            objects = proposals if saved is None else saved.objects
            self.history[name] = [LabelledPicture(self.file.category.keypoints, *size, objects).go(0)]
        return self.history[name][-1]

    def change(self, name: str, labels: LabelledPicture) -> None:
        """Set the labels of an opened picture; a step can be undone if it changes an object."""
        history = self.history[name]
        if labels.objects != history[-1].objects:
            history.append(labels)
            del history[1:-_MOST_UNDO]
        history[-1] = labels

    def undo(self, name: str) -> None:
        """Undo the last change of an opened picture."""
        history = self.history[name]
        if len(history) > 1:
            history.pop()

    def propose(self, proposing: bool) -> None:
        """Open pictures with or without proposals from now on, also those that were opened but not changed."""
        self.proposing = proposing
        self.history = {name: history for name, history in self.history.items() if self.changed(name)}

    def changed(self, name: str) -> bool:
        """Whether an opened picture was changed since it was saved or opened."""
        history = self.history.get(name)
        return history is not None and history[0].begun != history[-1].begun

    def save(self, name: str) -> int:
        """Accept the labels of an opened picture as they are shown, write them, and return the number of objects."""
        labels = self.history[name][-1]
        self.file.save(name, SavedPicture(labels.width, labels.height, labels.labels))
        self.history[name] = [replace(labels, objects=labels.labels).go(0)]
        return len(labels.labels)

    def close(self) -> None:
        """Save what was changed, and stop preparing pictures."""
        self._worker.shutdown(wait=False, cancel_futures=True)
        for name in self.names:
            if self.changed(name):
                self.save(name)
