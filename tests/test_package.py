"""The package as a whole: public names, version, and metadata in pyproject.toml."""

import os
import subprocess
import sys
import tomllib
from importlib.metadata import metadata
from pathlib import Path

import pytest

import xpose

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", sorted(xpose.__all__))
def test_every_public_name_can_be_had(name):
    value = getattr(xpose, name)
    assert name in dir(xpose)
    assert getattr(value, "__name__", name) == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'humann'"):
        xpose.humann  # noqa: B018 - looking it up is the test


def test_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert xpose.__version__ == project["version"]


def test_types_and_licence_travel_with_the_package():
    assert (Path(xpose.__file__).parent / "py.typed").exists()
    assert metadata("xpose")["License-Expression"] == "Apache-2.0"


def test_extra_all_holds_every_extra_but_dev():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    named = set(everything.removeprefix("xpose[").removesuffix("]").split(","))
    assert named | {"data"} == extras.keys() - {"all", "dev", "docs"}  # `data` comes with `train`
    assert "xpose[data]" in extras["train"]


def test_detection_leaves_nothing_in_the_home_folder(tmp_path):
    """ONNX Runtime writes there what it reports to its makers, unless it is told not to."""
    code = "import numpy as np, xpose; xpose.load(engine='onnx').detect(np.zeros((64, 64, 3), np.uint8), 'face')"
    home = {
        name: value for name, value in os.environ.items() if name not in ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY")
    }
    subprocess.run([sys.executable, "-c", code], check=True, env={**home, "HOME": str(tmp_path)})
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.parametrize("package", ["ultralytics", "boxmot", "torchvision", "timm"])
def test_packages_that_we_promised_to_do_without_are_not_required(package):
    required = metadata("xpose").get_all("Requires-Dist")
    assert any(line.startswith("torch") for line in required)
    assert not any(line.lower().startswith(package) for line in required)
