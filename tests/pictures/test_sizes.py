"""The head of a picture file tells its size."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from xpose.pictures.sizes import WEBP_HEAD, webp_size


@pytest.mark.parametrize(
    ("mode", "options"),
    [("RGB", {}), ("RGB", {"lossless": True}), ("RGBA", {}), ("RGBA", {"lossless": True}), ("RGB", {"exif": b"Exif"})],
    ids=str,
)
@given(size=st.tuples(st.integers(1, 40), st.integers(1, 40)))
@settings(max_examples=10, deadline=None)
def test_the_head_of_a_webp_file_tells_what_pillow_finds(mode: str, options: dict, size: tuple[int, int]) -> None:
    buffer = io.BytesIO()
    Image.new(mode, size, (200, 90, 30, 77)[: len(mode)]).save(buffer, format="WEBP", **options)
    content = buffer.getvalue()
    with Image.open(buffer) as found:
        assert webp_size(content[:WEBP_HEAD], len(content)) == found.size == size
    assert webp_size(content[:WEBP_HEAD], len(content) - 1) is None, "cut short"
    assert webp_size(b"x" + content[1:WEBP_HEAD], len(content)) is None
