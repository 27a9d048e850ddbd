"""The options of a detection: one meaning of None, explicit off values, and calls that do not disturb each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tests.inference.conftest import own_detector, telling
from tests.model.conftest import tiny_dense_config

from xpose.errors import ConfigError
from xpose.inference import DetectionOptions, Detector
from xpose.inference.options import OptionValues
from xpose.model.checkpoints.calibration import Calibration

STORED = Calibration({"": 0.0}, 0.4, 1.0, 1.0, 0.3, 0.8, ("horse", "moon"))


def test_none_is_the_stored_value_and_every_option_has_an_off_value() -> None:
    assert DetectionOptions().over(STORED) == STORED
    off = DetectionOptions(threshold=0.0, keypoint_threshold=0.0, nms=1.0, nms_oks=1.0, rivals=()).over(STORED)
    assert off == Calibration({"": 0.0}, nms=1.0)
    assert DetectionOptions(rivals=["cat"]).over(STORED).rivals == ("cat",)


def test_keywords_are_the_fields() -> None:
    assert set(OptionValues.__annotations__) == set(DetectionOptions.__dataclass_fields__)
    with pytest.raises(TypeError, match="treshold"):
        own_detector().detect(np.zeros((9, 9, 3), np.uint8), "dog", treshold=0.3)  # type: ignore[call-overload]


def test_stored_suppression_holds_until_a_call_switches_it_off(picture: np.ndarray) -> None:
    everything = own_detector().detect(picture, "horse", threshold=0.0, nms=1.0)
    by_boxes = own_detector(nms=0.1).detect(picture, "horse", threshold=0.0)
    by_poses = own_detector(nms=1.0, nms_oks=0.0).detect(picture, "horse", threshold=0.0)
    assert len(by_boxes) < len(everything)
    assert len(by_poses) < len(everything)
    detector = own_detector(nms=0.1, nms_oks=0.0)
    assert len(detector.detect(picture, "horse", threshold=0.0, nms=1.0, nms_oks=1.0)) == len(everything)


def test_an_object_and_keywords_mean_the_same(detector: Detector, picture: np.ndarray) -> None:
    options = DetectionOptions(threshold=0.0, max_instances=3)
    by_object = detector.detect(picture, "horse", options=options)
    assert by_object == detector.detect(picture, "horse", threshold=0.0, max_instances=3)
    assert len(detector.detect(picture, "horse", options=options, max_instances=1)) == 1


def test_the_side_of_the_input(detector: Detector, picture: np.ndarray) -> None:
    small = detector.detect(picture, "horse", threshold=0.0, side=64)
    assert small == detector.detect(detector.encode_image(picture, side=64), "horse", threshold=0.0)
    assert small == own_detector(image_short=64, image_long=64).detect(picture, "horse", threshold=0.0)
    assert not np.allclose(small.boxes[0], detector.detect(picture, "horse", threshold=0.0).boxes[0])
    with pytest.raises(ConfigError, match="side is 0"):
        DetectionOptions(side=0)


def test_calls_from_several_threads_keep_their_options(picture: np.ndarray) -> None:
    detector = telling(rivals=("horse", "moon"))
    calls = [
        DetectionOptions(threshold=0.0, nms=nms, rivals=rivals, side=side)
        for nms in (0.2, 1.0)
        for rivals in (None, (), ("violin", "horse", "moon"))
        for side in (None, 64)
    ] * 2
    alone = [detector.detect(picture, "horse", options=options) for options in calls]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda options: detector.detect(picture, "horse", options=options), calls))
        other = detector.calibrated(Calibration(temperature=2.0))
        mixed = list(pool.map(lambda n: (detector, other)[n % 2].detect(picture, "horse", threshold=0.0), range(12)))
    assert together == alone
    assert all(mixed[n] == mixed[n % 2] for n in range(12))
    assert mixed[0] != mixed[1]


def test_expected_errors_are_in_pixels_where_the_network_predicts_them(picture: np.ndarray) -> None:
    assert own_detector().detect(picture, "horse", threshold=0.0).keypoint_errors is None
    values = {name: getattr(tiny_dense_config(), name) for name in ("selection", "sinks", "pose_map", "point_error")}
    detector = own_detector(**values)
    encoded = detector.encode_image(picture)
    poses = detector.detect(encoded, "horse, face", threshold=0.0, nms=1.0)
    assert poses.keypoint_errors is not None
    assert np.isfinite(poses.keypoint_errors).tolist() == np.isfinite(poses.xy[..., 0]).tolist()
    raw = detector.detect(encoded, "horse", threshold=0.0, nms=1.0, max_instances=1)
    (answer,) = detector.engine.decode(encoded.features, _arrays(detector, "horse"))
    best = int(answer.scores[:, 0].argmax())
    assert answer.keypoint_error is not None
    side = max(raw.boxes[0, 2:] - raw.boxes[0, :2])
    np.testing.assert_allclose(raw.keypoint_errors[0], answer.keypoint_error[best] * side, rtol=1e-3)


def _arrays(detector: Detector, words: str):
    from xpose.inference.encoded import assemble

    return assemble([detector.encode_prompts(words)])
