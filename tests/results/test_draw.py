"""`Poses.crops`; drawings themselves are tested in tests/drawing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from tests.results.pose_cases import any_poses, two_dogs_and_a_box

from xpose.errors import ConfigError, ImageError
from xpose.results import Poses

PIXELS = np.arange(100 * 200 * 3).reshape(100, 200, 3).astype(np.uint8)


def test_a_crop_is_what_is_inside_the_box() -> None:
    poses = two_dogs_and_a_box(boxes=[[10.2, 20, 110, 69.5], [-30, -9, 50, 40], [150, 50, 250, 300]])
    corners = [(10, 20, 110, 70), (0, 0, 50, 40), (150, 50, 200, 100)]
    for crop, (x1, y1, x2, y2) in zip(poses.crops(PIXELS), corners, strict=True):
        np.testing.assert_array_equal(crop, PIXELS[y1:y2, x1:x2])
    doubled = PIXELS.repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(poses.crops(doubled)[2], doubled[100:, 300:])


@given(any_poses())
def test_every_pose_has_a_crop_of_at_least_one_pixel(poses: Poses) -> None:
    crops = poses.crops(np.zeros((*poses.image_size, 3), np.uint8))
    assert len(crops) == len(poses)
    assert all(crop.width >= 1 and crop.height >= 1 for crop in crops)


def test_a_crop_needs_the_picture() -> None:
    with pytest.raises(ConfigError, match="do not know their picture"):
        two_dogs_and_a_box(source=None).crops()
    with pytest.raises(ImageError, match="no picture"):
        two_dogs_and_a_box(source="gone.png").crops()
    with pytest.raises(ImageError, match="same shape"):
        two_dogs_and_a_box().crops(PIXELS[:, :50])
