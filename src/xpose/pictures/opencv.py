"""OpenCV, loaded when it is first needed, with its own threads off: the loader's workers are the parallel part."""

from __future__ import annotations

from functools import cache
from typing import Any

from xpose.errors import missing_extra


@cache
def opencv() -> Any:
    """The module `cv2`.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import cv2
    except ImportError:
        raise missing_extra("Loading pictures for training", "opencv-python-headless", "data") from None
    cv2.setNumThreads(0)  # a process that forks while OpenCV's threads run may hang
    return cv2
