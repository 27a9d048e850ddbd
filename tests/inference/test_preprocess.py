"""The picture's way to the network's input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpose.inference.preprocess import MEAN, STD, input_size, to_input


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        pytest.param(480, 640, (800, 1066), id="landscape: the long side is rounded down"),
        pytest.param(640, 480, (1066, 800), id="portrait"),
        pytest.param(800, 800, (800, 800), id="square"),
        pytest.param(500, 1000, (666, 1332), id="1600 would pass 1333: short = round(666.5), to even"),
        pytest.param(100, 1000, (133, 1330), id="very wide"),
        pytest.param(1, 1, (800, 800), id="one pixel"),
        pytest.param(1, 10000, (1, 1333), id="a line keeps a pixel"),
    ],
)
def test_input_size(height: int, width: int, expected: tuple[int, int]) -> None:
    assert input_size(height, width, 800, 1333) == expected


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_input_size_keeps_its_limits(height: int, width: int) -> None:
    h, w = input_size(height, width, 800, 1333)
    assert 1 <= min(h, w) <= 800
    # Rounding the short side up lets the long side pass the limit by half its ratio to the short one.
    assert max(h, w) <= 1333 + max(height, width) / min(height, width) / 2 + 1


def test_normalisation() -> None:
    pixels = np.full((20, 30, 3), 128, np.uint8)
    x = to_input(pixels, 20, 100)
    assert x.shape == (3, 20, 30)
    for channel in range(3):
        np.testing.assert_allclose(x[channel], (128 / 255 - MEAN[channel]) / STD[channel], rtol=1e-5)


def test_shrinking_averages() -> None:
    """A fine chessboard becomes grey, not noise: the filter is antialiased."""
    board = (np.indices((400, 400)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    x = to_input(board, 40, 100)[:, 2:-2, 2:-2]
    assert x.std((1, 2)).max() < 0.05
