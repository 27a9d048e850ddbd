"""Picture files of many kinds become RGB bytes in the stored orientation; damaged ones are named."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from xpose.errors import DataError
from xpose.pictures.decoding import decode


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("what", "image", "kind", "expected"),
    [
        ("JPEG", Image.new("RGB", (40, 30), (200, 100, 50)), "JPEG", (200, 100, 50)),
        ("CMYK JPEG", Image.new("CMYK", (40, 30), (0, 0, 0, 0)), "JPEG", (255, 255, 255)),
        ("grey JPEG", Image.new("L", (40, 30), 77), "JPEG", (77, 77, 77)),
        ("palette", Image.new("P", (40, 30), 0), "PNG", (0, 0, 0)),
        ("transparent", Image.new("RGBA", (40, 30), (9, 9, 9, 0)), "PNG", (255, 255, 255)),
        ("16 bits", Image.fromarray(np.full((30, 40), 65535, np.uint16)), "PNG", (255, 255, 255)),
        ("WebP", Image.new("RGB", (40, 30), (255, 0, 0)), "WEBP", (255, 0, 0)),
    ],
)
def test_pictures_of_many_kinds_become_rgb(what, image, kind, expected):
    pixels, by = decode(encoded(image, kind), what, (40, 30))
    assert (pixels.shape, pixels.dtype, by) == ((30, 40, 3), np.uint8, 1)
    np.testing.assert_allclose(pixels[15, 20], expected, atol=3)


def test_the_stored_orientation_is_kept():
    image = Image.new("RGB", (40, 30))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    assert decode(encoded(image, "JPEG", exif=exif), "x", (40, 30))[0].shape == (30, 40, 3)


@pytest.mark.parametrize(
    ("what", "content", "size", "message"),
    [
        ("another size", encoded(Image.new("RGB", (40, 30)), "JPEG"), (41, 30), "40x30"),
        ("a cut PNG", encoded(Image.effect_noise((40, 30), 50), "PNG")[:300], (40, 30), "cannot be read"),
        ("text", b"hello", (40, 30), "cannot be read"),
        ("nothing", b"", (40, 30), "cannot be read"),
        ("a JPEG's first bytes", b"\xff\xd8\xff\xe0", (40, 30), "cannot be read"),
        ("too many pixels", b"", (100_000, 100_000), "more than"),
    ],
)
def test_damaged_pictures_are_named(what, content, size, message):
    with pytest.raises(DataError, match=message) as error:
        decode(content, "some/where.jpg", size)
    assert "some/where.jpg" in str(error.value)
