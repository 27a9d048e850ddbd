"""The PyTorch engine: copies, synchronisation, pictures that are resized on the device."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.inference.conftest import own_detector
from tests.model.conftest import tiny_config, tiny_dense_config
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from xpose.inference import Detector
from xpose.inference.engines.torch import TorchEngine, normalised
from xpose.inference.preprocess import STD, to_input
from xpose.model import XPose, XPoseConfig
from xpose.model.types import ProjectedPrompts, to_array, to_arrays

GPU = torch.cuda.is_available()


@pytest.mark.parametrize(
    ("shape", "short"),
    [((90, 120), 40), ((61, 47), 47), ((30, 44), 64), ((200, 33), 20)],
    ids=["smaller", "no change", "larger", "thin"],
)
def test_resizing_on_the_device_is_that_of_pillow(shape: tuple[int, int], short: int) -> None:
    """At most one byte level apart, and that rarely."""
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (*shape, 3), dtype=np.uint8)
    ramp = np.indices(shape).sum(0)[..., None].repeat(3, 2).astype(np.uint8)
    exact = np.stack([to_input(pixels, short, 4 * short) for pixels in (noise, ramp)])
    images = normalised(torch.from_numpy(np.stack([noise, ramp])), *exact.shape[2:]).numpy()
    assert images.shape == exact.shape
    levels = np.abs(images - exact) * np.array(STD, np.float32)[:, None, None] * 255
    assert levels.max() < 1.01
    assert (levels > 0.01).mean() < 0.01


def test_detection_with_pictures_resized_by_the_engine(
    detector: Detector, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of equal and unequal sizes, with the boxes of the usual way."""
    pictures = [picture, picture[::-1], np.random.default_rng(1).integers(0, 255, (180, 240, 3), dtype=np.uint8)]
    expected = detector.detect(pictures, "dog", threshold=0.0, rivals=())
    monkeypatch.setattr(TorchEngine, "resizes", True)
    assert detector.prepare_image(picture).values is not None
    assert detector.prepare_image(picture).values.dtype == np.uint8
    for batch_size in (1, 2, 3):
        found = detector.detect(pictures, "dog", threshold=0.0, rivals=(), batch_size=batch_size)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one.boxes, other.boxes, atol=1)
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-2)


def test_results_are_read_in_one_copy() -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(3, 4, generator=generator)[:, :2], torch.tensor([[5], [2**24 - 1]]), torch.zeros(0, 3)]
    for given in (tensors, [*tensors, torch.randn(2, generator=generator).double()]):
        for found, expected in zip(to_arrays(given), map(to_array, given), strict=True):
            assert found.shape == expected.shape
            np.testing.assert_array_equal(found, expected)
    assert to_arrays(tensors)[1].dtype == np.int64


class Waits(TorchFunctionMode):
    """Collects calls that would make the CPU wait for a GPU; the device "meta" stands for it."""

    NAMES = ("tensor", "item", "tolist", "nonzero", "masked_select", "__bool__", "__float__", "__int__")

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        name = getattr(function, "__name__", "")
        devices = {value.device.type for value in (*args, result) if isinstance(value, torch.Tensor)}
        keys = args[1] if name == "__getitem__" and isinstance(args[1], tuple) else args[1:2]
        by_mask = name == "__getitem__" and any(getattr(key, "dtype", None) == torch.bool for key in keys)
        if "meta" in devices and (len(devices) > 1 or by_mask or name in self.NAMES):
            self.calls.append(name)
        return result


@pytest.mark.parametrize("config", [tiny_config, tiny_dense_config])
def test_the_network_never_waits_for_its_device(
    config: Callable[..., XPoseConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On tensors without values, where asking for one fails."""
    monkeypatch.setattr(functional, "grid_sample", unsampled)  # which is slow on this device
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: False)  # which this device does not know
    with torch.device("meta"):
        model = XPose(config(encoder_layers=1, object_layers=1, keypoint_layers=2, backbone="swin")).eval()
        width, classes = model.config.dim, (2, 3)
        prompts = ProjectedPrompts(
            objects=torch.empty(*classes, width),
            object_mask=torch.empty(classes, dtype=torch.bool),
            keypoints=torch.empty(2, 1, 5, width),
            keypoint_mask=torch.empty(2, 1, 5, dtype=torch.bool),
            keypoint_set=torch.empty(classes, dtype=torch.long),
            silent=torch.empty(classes, dtype=torch.bool),
            required_logits=torch.empty(classes),
            counts=((3, 5), (2, 4)),
        )
        images, boxes = torch.empty(2, 3, 64, 96), torch.empty(2, 4, 4)
        numbers = torch.empty(2, 4, dtype=torch.long)
    for _ in range(2):  # the first pass makes the constants for these sizes
        with Waits() as waits, torch.inference_mode():
            features = model.encode_image(images)
            predictions = model.decode(features, prompts)
            model.decode_known(features, prompts, boxes, numbers)
    assert predictions.keypoints[1].shape[1:] == (4, 2)
    assert waits.calls == []


def unsampled(planes: torch.Tensor, places: torch.Tensor, **_: object) -> torch.Tensor:
    return planes.new_empty(*planes.shape[:2], *places.shape[1:3])


def test_waiting_is_noticed() -> None:
    values = torch.empty(4, device="meta")
    with Waits() as waits:
        torch.tensor([1.0, 2.0], device="meta")
        torch.zeros(2).to("meta")
        with pytest.raises((RuntimeError, NotImplementedError)):
            values.sum().item()
        with pytest.raises((RuntimeError, NotImplementedError)):
            values[values > 0]
    assert waits.calls == ["tensor", "to"]


@pytest.mark.skipif(not GPU, reason="there is no GPU whose synchronisations could be counted")
def test_detection_waits_once_on_a_gpu() -> None:
    detector = own_detector()
    detector.model.to("cuda")
    picture = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    detector.detect(picture, "dog")

    def waits(action: Callable[[], Any]) -> tuple[int, Any]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                result = action()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(warning.message) for warning in caught), result

    prepared = detector.prepare_image(picture)
    count, encoded = waits(lambda: detector.encode_image(prepared))
    assert count == 0
    count, _ = waits(lambda: detector.detect(encoded, "dog"))
    assert count == 1
