"""Small videos whose frames show their numbers as bright and dark blocks."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from xpose.video.sources import open_source

BITS = 8
WIDTH, HEIGHT = 64, 32


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A frame [height, width, 3] that shows the bits of a number, the lowest one at the left."""
    bits = (number >> np.arange(BITS)) & 1
    columns = np.repeat(40 + 170 * bits, -(-width // BITS))[:width].astype(np.uint8)
    pixels = np.repeat(np.repeat(columns[None, :, None], height, 0), 3, 2)
    pixels[: height // 4] = (250, 20, 20)  # a red stripe at the top
    return pixels


def number_of(pixels: np.ndarray) -> int:
    width = pixels.shape[1] // BITS
    blocks = pixels[pixels.shape[0] // 2, width // 2 :: width, 1][:BITS]
    return int(((blocks > 125) << np.arange(BITS)).sum())


def make_clip(
    path: Path,
    frames: int = 30,
    fps: float = 25.0,
    times: Sequence[float] | None = None,
    rotation: int = 0,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    gop: int = 10,
    codec: str = "libx264",
    pictures: Sequence[np.ndarray] | None = None,
) -> Path:
    """A video with these times in seconds, or with a constant rate."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        options = {"crf": "12", "preset": "ultrafast", "bf": "2"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000), options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.time_base = Fraction(1, 1000) if times is not None else 1 / Fraction(fps)
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            pixels = numbered(number, *size) if pictures is None else pictures[number]
            image = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            image.time_base = stream.codec_context.time_base
            image.pts = number if times is None else round(1000 * times[number])
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))
    return path


def same_frames(a: Path, b: Path) -> bool:
    """Whether two videos show the same at the same times. Encoders may differ in bytes from run to run."""
    frames, others = ([*open_source(path).frames()] for path in (a, b))
    return [frame.time for frame in frames] == [frame.time for frame in others] and all(
        np.abs(frame.pixels.astype(int) - other.pixels).mean() < 8 for frame, other in zip(frames, others, strict=True)
    )


def damaged(path: Path, target: Path, start: float = 0.5, length: int = 200) -> Path:
    """A copy in which bytes are replaced, from this part of the file on."""
    content = bytearray(path.read_bytes())
    first = int(start * len(content))
    content[first : first + length] = bytes((7 * value + 13) % 256 for value in content[first : first + length])
    target.write_bytes(content)
    return target
