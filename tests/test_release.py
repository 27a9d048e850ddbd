"""The wheel and the source distribution of a release, built and installed as users get them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.cli.test_detect_offline import PROGRAM, attempts

import xpose

ROOT = Path(__file__).parents[1]
CITATION = ROOT / "CITATION.cff"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution, and the wheel that was built from it."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (source,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return source, wheel


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel and the packages that it requires, and nothing else."""
    folder = tmp_path_factory.mktemp("empty") / "environment"
    venv.create(folder, symlinks=True)
    python, (packages,) = folder / "bin" / "python", folder.glob("lib/python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(built[1])], check=True, capture_output=True)
    with zipfile.ZipFile(built[1]) as wheel:
        metadata = next(name for name in wheel.namelist() if name.endswith("METADATA"))
        lines = wheel.read(metadata).decode("utf-8").split("\n\n")[0].splitlines()
    for name in required([line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist")]):
        package = distribution(name)
        for entry in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
            if not (packages / entry).exists():
                (packages / entry).symlink_to(package.locate_file(entry))
    return folder / "bin"


def required(requirements: list[str]) -> set[str]:
    """The packages that are installed with these requirements, without extras."""
    waiting, names = list(requirements), set()
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(requirement.name)
        if name not in names:
            names.add(name)
            waiting += distribution(name).requires or []
    return names


@pytest.mark.slow
def test_distributions_hold_what_belongs_there(built):
    with tarfile.open(built[0]) as source:
        top = {name.split("/")[1] for name in source.getnames()}
    assert top == {
        *("src", "pyproject.toml", "README.md", "LICENSE", "NOTICE", "CHANGELOG.md", "CITATION.cff"),
        *("PKG-INFO", ".gitignore"),
    }
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "src"]
    tracked = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
    assert {f"src/{name}" for name in names if name.startswith("xpose/")} == set(tracked.splitlines())
    assert {name.rpartition("/")[2] for name in names} >= {"LICENSE", "NOTICE", "entry_points.txt"}
    assert all(path.stat().st_size < 60_000_000 for path in built), "PyPI accepts at most 100 MB per file"


@pytest.mark.slow
def test_detection_offline_from_the_installed_wheel(installed, tmp_path):
    from skimage import data  # heavy
    from skimage.io import imsave

    imsave(tmp_path / "photo.png", data.astronaut())
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    version = subprocess.run([installed / "xpose", "--version"], **options).stdout
    assert version == f"xpose {xpose.__version__}\n"
    assert subprocess.run([installed / "python", "-c", "import torch"], **options).returncode != 0
    commands = [f"detect photo.png -t {words}" for words in ("face", "face -p xpose-nano-open", "zyzzogeton -k human")]
    run = subprocess.run([installed / "python", "-c", PROGRAM], input="\n".join(commands), **options)
    assert run.returncode == 0, run.stderr
    assert [f"ENDED 0 {command}" in run.stdout for command in commands] == [True] * len(commands), run.stdout
    assert "68 of 68" in run.stdout
    assert attempts(run.stdout) == 0, run.stdout


def test_the_citation_and_the_changelog_have_the_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert f"\nversion: {version}\n" in CITATION.read_text("utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert changelog.index("## [Unreleased]") < changelog.index(f"## [{version}]")


def test_the_workflow_calls_make():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    steps = [step for job in yaml.safe_load(text)["jobs"].values() for step in job["steps"]]
    run = [step["run"] for step in steps if "run" in step and not step["run"].startswith("git config")]
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert "bash .ci/run" in run
    assert {command.removeprefix("make ") for command in run} - {"bash .ci/run"} <= set(targets)


@pytest.mark.parametrize("form", ["bug", "feature", "weights"])
def test_issue_forms_ask_something(form):
    content = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / f"{form}.yml").read_text("utf-8"))
    assert content.keys() == {"name", "description", "labels", "body"}
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) > 1
    assert any(field.get("validations", {}).get("required") for field in fields)
