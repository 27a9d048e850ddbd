import json
import re
from importlib.metadata import requires

import pytest
import torch

from xpose import cli
from xpose.cli import check as check_module
from xpose.model import deformable
from xpose.model.deformable import KernelCheck
from xpose.model.device import multiplies_bf16


@pytest.fixture(scope="module")
def report():
    return check_module.examine()


def test_all_is_well_here(report):
    assert report["faults"] == []
    assert {k["kernel"] for k in report["kernels"] if k["device"] == "cpu"} == {"rows", "grid", "gather"}
    assert all(k["ok"] and k["error"] < 1e-4 for k in report["kernels"])
    assert report["devices"][0]["device"] == "cpu"
    assert report["forward"][0]["finite"]
    assert report["forward"][0]["second_ms"] > 0
    native = multiplies_bf16(torch.device("cpu"))
    precision = report["precision"][0]
    assert precision["auto"] == ("bfloat16" if native else "float32"), "the default weights are within bounds"
    assert not native or 0 < precision["keypoints"] < 0.02


def test_every_package_that_pyproject_requires_is_looked_at(report):
    """Except for the two that the command line itself cannot start without, and one that has no numbers in it."""
    required = {re.match(r"[\w.-]+", line)[0] for line in requires("xpose") if "extra ==" not in line}
    looked_at = {name.replace("_", "-") for name in report["packages"]}
    assert {name.replace("_", "-") for name in required} - {"typer", "rich", "regex"} == looked_at


def test_table_for_people(capsys):
    assert cli.main(["check"]) == 0
    out = capsys.readouterr().out
    assert "Attention kernel" in out
    assert "All checks passed." in out


def test_json_for_programs(capsys):
    assert cli.main(["check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["faults"] == []


def test_a_kernel_that_is_off_is_a_failure(capsys, monkeypatch):
    monkeypatch.setattr(deformable, "self_check", lambda device: [KernelCheck("rows", 0.5, False)])
    assert cli.main(["check"]) == 1
    out, err = capsys.readouterr()
    assert "WRONG" in out
    assert "Error: The attention kernel rows on cpu is off by 0.5" in err
    assert "All checks passed." not in out


def test_one_broken_part_does_not_hide_the_others(capsys, monkeypatch):
    def broken(device):
        raise RuntimeError("illegal instruction")

    monkeypatch.setattr(deformable, "self_check", broken)
    assert cli.main(["check", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["faults"] == ["The attention kernels on cpu failed with RuntimeError: illegal instruction"]
    assert report["forward"][0]["finite"]


def test_a_missing_package_is_named(capsys, monkeypatch):
    monkeypatch.setattr(check_module, "CORE_PACKAGES", ("numpy", "no-such-package-at-all"))
    assert cli.main(["check"]) == 1
    assert "The package no-such-package-at-all is not installed" in capsys.readouterr().err


def test_it_leaves_the_random_numbers_of_the_caller_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    check_module.examine()
    assert torch.equal(torch.rand(3), expected)
