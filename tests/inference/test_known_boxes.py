"""Known boxes: one pose for each, in their order, from the keypoint decoder."""

from __future__ import annotations

import numpy as np
import pytest
from tests.inference.conftest import own_detector
from tests.inference.test_detector import same, shifted

from xpose import Poses, TextPrompt
from xpose.errors import ConfigError, ImageError, PromptError
from xpose.inference import Detector

BOXES = [[60, 10, 110, 70], [5.5, 6, 40, 80], [20, 30, 30, 45]]
NAMED = [("face", BOXES[0]), ("horse", BOXES[1]), ("face", BOXES[2])]


@pytest.fixture(scope="module")
def poses(detector: Detector, picture: np.ndarray) -> Poses:
    return detector.detect(picture, "horse", boxes=BOXES)


def test_every_box_gives_a_pose_as_it_is(detector: Detector, picture: np.ndarray, poses: Poses) -> None:
    assert poses.boxes.tolist() == BOXES
    assert poses.categories == ("horse",) * 3
    assert np.isfinite(poses.xy).all()
    assert len(np.unique(poses.scores)) == 3
    turned = detector.detect(picture, "horse", boxes=BOXES[::-1])
    same(turned[::-1], poses)
    same(detector.detect(picture, "horse", boxes=BOXES[1:2]), poses[1:2])
    partly = detector.detect(picture, "horse", boxes=[[-50, -20, 30, 40]])
    assert partly.boxes.tolist() == [[-50, -20, 30, 40]], "a box may reach beyond the picture"


def test_forms_of_boxes_mean_the_same(detector: Detector, picture: np.ndarray, poses: Poses) -> None:
    for boxes in (np.array(BOXES), list(map(np.array, BOXES)), tuple(BOXES), iter(BOXES), poses):
        assert detector.detect(picture, "horse", boxes=boxes) == poses
    assert detector.detect(picture, "horse", boxes=[("Horse", box) for box in BOXES]) == poses
    assert detector.detect(detector.encode_image(picture), "horse", boxes=BOXES) == poses


def test_a_box_names_its_class_among_several(detector: Detector, picture: np.ndarray) -> None:
    """Also where classes have different keypoints, and where a class has no box."""
    words = [TextPrompt("horse"), TextPrompt("nut", keypoints=["tip"]), TextPrompt("face")]
    poses = detector.detect(picture, words, boxes=NAMED)
    assert poses.categories == ("face", "horse", "face")
    assert [len(pose.names) for pose in poses] == [68, 17, 68]
    for pose in poses:
        assert np.isfinite(pose.xy).all()
    assert detector.detect(picture, words, boxes=poses) == poses


def test_several_pictures(detector: Detector, picture: np.ndarray, poses: Poses) -> None:
    """Of one size, so that nothing is padded; with different numbers of boxes and classes, also none."""
    pictures = [picture, picture[::-1].copy(), picture]
    boxes = [BOXES[:1], [], BOXES]
    expected = [detector.detect(p, "horse", boxes=b) for p, b in zip(pictures, boxes, strict=True)]
    assert list(map(len, expected)) == [1, 0, 3]
    assert expected[1] == Poses.empty((90, 120))
    same(expected[2], poses)
    for batch_size in (1, 3):
        together = detector.detect(pictures, "horse", boxes=boxes, batch_size=batch_size)
        streamed = list(detector.detect(iter(pictures), "horse", boxes=iter(boxes), batch_size=batch_size))
        encoded = detector.detect([detector.encode_image(p) for p in pictures], "horse", boxes=boxes, batch_size=3)
        for one, *others in zip(expected, together, streamed, encoded, strict=True):
            for other in others:
                same(other, one)
    asked = ["horse", "face, horse"]
    both = detector.detect([picture] * 2, per_image=asked, boxes=[BOXES, NAMED], batch_size=2)
    same(both[0], poses)
    same(both[1], detector.detect(picture, asked[1], boxes=NAMED))


def test_boxes_in_a_region_are_those_of_the_cropped_picture(detector: Detector, picture: np.ndarray) -> None:
    inside = np.array(BOXES[1:])
    cropped = detector.detect(picture[:, 2:50], "horse", boxes=inside - [2, 0, 2, 0])
    poses = detector.detect(picture, "horse", boxes=inside, region=(2, 0, 48, 90))
    same(poses, shifted(cropped, 2, 0, picture.shape[:2]))
    with pytest.raises(ImageError, match=r"Box 0 \(60, 10, 110, 70\) is outside .* \(2, 0, 50, 90\)"):
        detector.detect(picture, "horse", boxes=BOXES, region=(2, 0, 48, 90))


def test_expected_errors_are_measured_in_the_known_box() -> None:
    detector = own_detector(point_error=True)
    picture = np.zeros((90, 120, 3), np.uint8)
    poses = detector.detect(picture, "horse", boxes=BOXES)
    assert poses.keypoint_errors is not None
    arrays = np.array(BOXES)
    relative = poses.keypoint_errors / (arrays[:, 2:] - arrays[:, :2]).max(1, keepdims=True)
    assert (relative > 0).all()
    encoded, classes = detector.encode_image(picture), detector.encode_prompts("horse")
    from xpose.inference.encoded import assemble
    from xpose.inference.known_boxes import box_arrays, known_boxes

    known = box_arrays([known_boxes(BOXES, classes)], [encoded])
    (raw,) = detector.engine.decode_known(encoded.features, assemble([classes]), known)
    np.testing.assert_allclose(relative, raw.keypoint_error, rtol=1e-4)


@pytest.mark.parametrize(
    ("words", "boxes", "message"),
    [
        ("horse", [[1, 2, 3]], r'Box 0 is "\[1, 2, 3\]"'),
        ("horse", [BOXES[0], [5, 5, 5, 9]], "Box 1 is .* x2 > x1"),
        ("horse", [[0, 0, float("nan"), 9]], "Box 0"),
        ("horse", [1, 2, 3, 4], 'Box 0 is "1"'),
        ("horse", "boxes", "must be a list of boxes"),
        ("horse", 7, "must be a list of boxes"),
        ("horse", [("hrose", BOXES[0])], 'class "hrose", which is not prompted. Did you mean "horse"'),
        ("horse, face", BOXES, 'Box 0 names no class, and 2 are prompted ."horse", "face"'),
    ],
)
def test_wrong_boxes_say_so(detector: Detector, picture: np.ndarray, words: str, boxes: object, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        detector.detect(picture, words, boxes=boxes)


def test_wrong_calls_say_so_before_a_picture_is_read(detector: Detector, picture: np.ndarray) -> None:
    for option in ({"threshold": 0.2}, {"max_instances": 1}, {"best": True}, {"rivals": ()}):
        with pytest.raises(ConfigError, match=f"{next(iter(option))} and boxes were both given"):
            detector.detect("missing.jpg", "horse", boxes=BOXES, **option)
    with pytest.raises(PromptError, match="2 pictures and 3 lists of boxes"):
        detector.detect(["missing.jpg"] * 2, "horse", boxes=[BOXES] * 3)
    with pytest.raises(PromptError, match="Box 1"):
        detector.detect(["missing.jpg"] * 2, "horse", boxes=[BOXES, [BOXES[0], 5]])
    with pytest.raises(PromptError, match="boxes ended before"):
        list(detector.detect(iter([picture] * 2), "horse", boxes=iter([BOXES])))
    with pytest.raises(ImageError, match=r"Box 0 .* is outside"):
        detector.detect(picture, "horse", boxes=[[200, 0, 220, 20]])
