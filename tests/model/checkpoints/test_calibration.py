"""Calibrations on disk: in a file of their own, or in the `config.json` of folders of before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from xpose.errors import CheckpointError, ConfigError
from xpose.model.checkpoints.calibration import Calibration, read_calibration, write_calibration
from xpose.model.checkpoints.known import bundled_weights
from xpose.model.config import XPoseConfig

FULL = Calibration({"": 0.3, "dog": 0.5}, 0.25, 1.5, 0.75, 0.6, 0.8, ("person", "dog"))


def test_json_round_trip() -> None:
    assert Calibration.from_json(FULL.to_json()) == FULL
    assert Calibration.from_json(Calibration().to_json()) == Calibration()


@pytest.mark.parametrize("name", sorted(bundled_weights()))
def test_a_folder_that_holds_it_in_its_config_is_read_and_gets_the_new_form(name: str, tmp_path: Path) -> None:
    config = (bundled_weights()[name] / "config.json").read_text()
    old = {"thresholds": {"": 0.24, "cow": 0.2}, "keypoint_threshold": 0.02, "temperature": 0.6, "nms": 0.7}
    old |= {"keypoint_temperature": 0.8, "rivals": ["person", "dog"]}
    (tmp_path / "config.json").write_text(json.dumps(json.loads(config) | old))
    wanted = Calibration({"": 0.24, "cow": 0.2}, 0.02, 0.6, 0.8, 0.7, rivals=("person", "dog"))
    assert read_calibration(tmp_path) == wanted
    settings = XPoseConfig.from_json((tmp_path / "config.json").read_text())
    assert settings == XPoseConfig.from_json(config)
    assert not json.loads(settings.to_json()).keys() & old.keys()
    write_calibration(tmp_path, FULL)
    assert read_calibration(tmp_path) == FULL, "the file of its own comes first"


def test_a_folder_without_any_has_the_default(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(XPoseConfig().to_json())
    assert read_calibration(tmp_path) == Calibration()
    with pytest.raises(CheckpointError, match="xpose convert"):
        write_calibration(tmp_path / "nothing", FULL)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        (XPoseConfig().to_json(), "xpose-calibration-1"),
        ('{"format": "xpose-calibration-1", "temprature": 2}', 'Did you mean "temperature"'),
        ('{"format": "xpose-calibration-1", "nms": 2, "temperature": 0}', r"temperature is 0(.|\n)*nms is 2"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    shutil.copy(next(iter(bundled_weights().values())) / "config.json", tmp_path)
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_calibration(tmp_path)
