"""Picture files: reading, orientation, colour depth and sizes; and atomic writing of files.

This is the only part of the package that opens a picture.
"""

from collections.abc import Sequence
from itertools import takewhile

# File endings for searching folders, and the Pillow decoders that may be used. The others are excluded, because some
# of them start other programs.
PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
VIDEO_ENDINGS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".mts")
PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")

# What result files state about their coordinates, which are continuous: a picture of width W spans 0 to W.
UPRIGHT = "pixels of the upright picture (EXIF orientation applied), x right, y down"
AS_STORED = "pixels of the picture as stored (EXIF orientation not applied), x right, y down"


def shared_end(path: Sequence[str], other: Sequence[str]) -> int:
    """The number of parts at the end of both paths that agree."""
    pairs = zip(reversed(path), reversed(other), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
