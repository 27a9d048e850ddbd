"""Names of imported keypoints: readable, paired, matched; skeletons written and read again; sets named; the CLI."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.datasets.importers.test_coco import FILE, write_tree

from xpose.cli import main
from xpose.data.datasets.importers import IMPORTERS, load_importer, name_of, skeleton_toml
from xpose.data.datasets.importers.names import ObjectKind, partner, readable, settle_names
from xpose.errors import DataError
from xpose.vocabulary import list_skeletons, load_skeleton


@pytest.mark.parametrize(
    ("written", "read"),
    [("left_eye", "left eye"), ("leftear", "leftear"), (" Tail__base ", "Tail base"), ("nez\u0301", "nez\u0301")],
)
def test_readable(written: str, read: str) -> None:
    assert readable(written, "here") == read


@pytest.mark.parametrize("name", ["", "_", "a\0b", "x" * 201, "\u202e"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(DataError, match="is not a name"):
        readable(name, "here")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("left eye", "right eye"),
        ("Left Eye", "Right Eye"),
        ("leftear", "rightear"),
        ("LeftEar", "RightEar"),
        ("earleft", "earright"),
        ("L eye", "R eye"),
        ("eye l", "eye r"),
        ("eyeL", "eyeR"),
        ("forelegR2", "forelegL2"),
        ("LEFT", "RIGHT"),
    ],
)
def test_pairs_are_found_both_ways_but_only_if_both_are_there(one: str, other: str) -> None:
    assert partner(one, [one, other, "nose"]) == other
    assert partner(other, [one, other, "nose"]) == one
    assert partner(one, [one, "nose"]) == one


@pytest.mark.parametrize("names", [("collar", "corral"), ("leg", "reg"), ("ALL", "ARR")])
def test_letters_inside_words_are_no_sides(names: tuple[str, ...]) -> None:
    assert [partner(name, names) for name in names] == [*names]


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=8))
def test_partners_go_both_ways_whatever_the_names(names: list[str]) -> None:
    for name in names:
        assert partner(partner(name, names), names) == name


@pytest.mark.parametrize("skeleton", list_skeletons(), ids=lambda each: each.name)
def test_every_skeleton_survives_its_file(skeleton, tmp_path: Path) -> None:
    import dataclasses

    (tmp_path / "a.toml").write_text(skeleton_toml(skeleton), "utf-8")
    found = load_skeleton(tmp_path / "a.toml")
    plain = dataclasses.replace(skeleton, also=(), released=None)
    assert found == plain
    assert skeleton_toml(found) == skeleton_toml(plain)


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), min_size=1, max_size=8))
def test_any_accepted_names_make_a_skeleton_that_can_be_read_again(names: list[str]) -> None:
    import tomllib

    from xpose.vocabulary.reading import build_skeleton

    kind = ObjectKind("thing", tuple(dict.fromkeys(names)))
    try:
        named = settle_names(kind, "thing", None, None, "mine")
    except DataError:
        return
    found, faults = build_skeleton(tomllib.loads(skeleton_toml(named.skeleton)), "x")
    assert faults == []
    assert found == named.skeleton
    assert found.keypoints == named.table.unified


@pytest.mark.parametrize("skeleton", list_skeletons(), ids=lambda each: each.name)
def test_every_source_name_of_a_skeleton_finds_its_point(skeleton) -> None:
    kind = ObjectKind("thing", tuple(name.replace(" ", "_") for name in skeleton.keypoints))
    named = settle_names(kind, "thing", skeleton.name, None, "mine")
    assert named.table.unified == skeleton.keypoints
    assert named.shipped
    assert named.free == ()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("fish/data.yaml", "fish"),
        ("Night Flies.v3.pkg.slp", "night-flies-v3"),
        ("herons/annotations/train.json", "herons"),
        ("herons/valid/_annotations.coco.json", "herons"),
        ("herons/annotations/person_keypoints_val2017.json", "person-keypoints-val2017"),
        ("grey herons.coco.json", "grey-herons"),
        ("herons/annotations/instances_default.json", "herons"),
        ("maze/labeled-data/m4s1/CollectedData_Ann.csv", "m4s1"),
        ("herons/coco.json", "herons"),
        ("ap10k.json", "ap10k-import"),
    ],
)
def test_sets_get_a_name_of_their_own(path: str, name: str, tmp_path: Path) -> None:
    assert name_of(tmp_path / path) == name


# The command line.


def test_formats_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "formats"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in IMPORTERS)
    assert "format unverified" in shown
    assert main(["data", "formats", "--json"]) == 0
    assert {entry["format"] for entry in json.loads(capsys.readouterr().out)} == set(IMPORTERS)


@pytest.mark.parametrize("name", sorted(IMPORTERS))
def test_every_format_says_what_it_is(name: str) -> None:
    importer = load_importer(name)
    assert importer.format == name
    assert all(getattr(importer, key) for key in ("what", "title", "origin", "visibility", "boxes", "__doc__"))


def test_import_and_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = write_tree(tmp_path / "herons")
    assert main(["data", "import", "coco", str(tree.root / FILE), "--out", str(tmp_path / "sets")]) == 0
    shown = capsys.readouterr()
    assert "train" in shown.out
    assert "Left Eye, Right Eye, beak tip, tail" in shown.err
    assert "skeleton.toml" in shown.err
    assert (tmp_path / "sets/herons/skeleton.toml").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cocoo", "PATH"], 'Did you mean "coco"'),
        (["coco", "nowhere.json"], "does not exist"),
        (["coco", "PATH", "--skeleton", "herron"], "Unknown skeleton"),
        (["coco", "PATH", "--names", "none.toml"], "cannot be read"),
        (["yolo-pose", "PATH"], ""),
        (["deeplabcut", "PATH"], "Label files are called"),
        (["cvat", "PATH"], ""),
        (["label-studio", "PATH"], "Export the project again"),
        (["sleap", "PATH"], "SLEAP"),
        (["part-masks", "PATH", "--category", "a"], ""),
    ],
)
def test_mistakes_get_a_message_and_an_exit_code(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = write_tree(tmp_path / "herons")
    call = [str(tree.root / FILE) if argument == "PATH" else argument for argument in arguments]
    assert main(["data", "import", *call, "--out", str(tmp_path / "sets")]) == 1
    shown = capsys.readouterr().err
    assert said in shown
    assert "Traceback" not in shown


def test_an_empty_result_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = write_tree(tmp_path / "herons")
    for path in tree.root.rglob("*.png"):
        path.unlink()
    assert main(["data", "import", "coco", str(tree.root / FILE), "--out", str(tmp_path / "sets")]) == 1
    assert "The set is empty" in capsys.readouterr().err
