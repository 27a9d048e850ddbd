"""`xpose skeletons` from the outside."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from xpose.cli import main
from xpose.prompts import TextPrompt
from xpose.vocabulary import list_skeletons, load_skeleton


def test_the_list_names_every_skeleton(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["skeletons"]) == 0
    shown = capsys.readouterr().out
    for name in ("person_wholebody", "cub_bird", "steel_h_beam", "swivelchair"):
        assert name in shown


def test_one_skeleton_shows_partners_and_quoted_aliases(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["skeletons", "animal_in_AnimalKindom"]) == 0
    shown = capsys.readouterr().out
    assert '"ankle left "' in shown
    assert "mirror partner" in shown
    assert "Ng et al." in shown


def test_json_holds_the_whole_skeleton(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["skeletons", "person", "--json"]) == 0
    person = json.loads(capsys.readouterr().out)
    assert person["keypoints"][1]["flip"] == "right eye"
    assert ["left eye", "right eye"] in person["edges"]
    assert person["default_for"] == ["person"]


def test_a_skeleton_shows_the_points_that_its_word_detects(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["skeletons", "car", "--json"]) == 0
    car = json.loads(capsys.readouterr().out)
    names = TextPrompt("car").resolved.names
    assert [point["name"] for point in car["keypoints"]] == list(names)
    assert car["points"] == len(names) == 12
    assert len(load_skeleton("car")) == 14, "the released list"


def test_json_of_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["skeletons", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(list_skeletons())


def test_drawing_one_and_all(tmp_path: Path) -> None:
    assert main(["skeletons", "hand", "--draw", str(tmp_path / "new" / "hand.png"), "--quiet"]) == 0
    assert main(["skeletons", "--draw", str(tmp_path / "all.png"), "--quiet"]) == 0
    for file in (tmp_path / "new" / "hand.png", tmp_path / "all.png"):
        with Image.open(file) as picture:
            assert min(picture.size) > 300


def test_a_file_of_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "forklift.toml"
    file.write_text('keypoints = ["left fork tip", "right fork tip", "mast top"]')
    assert main(["skeletons", str(file), "--draw", str(tmp_path / "forklift.png")]) == 0
    assert "right fork tip" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["persn"], 'Did you mean "person"'),
        (["absent.toml"], "Cannot read the skeleton file"),
        (["person", "--draw", "out.svg"], "A picture ends in"),
    ],
)
def test_mistakes_end_with_a_message_and_code_1(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["skeletons", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_the_vocabulary_needs_no_heavy_package() -> None:
    heavy = ["torch", "numpy", "PIL", "rich", "typer"]
    code = f"import sys, xpose.vocabulary; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
