"""`xpose detect --boxes-from`: which boxes of a file belong to which picture and class."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.cli.conftest import make_picture, write_json

import xpose
from xpose.cli._boxes import BoxFile
from xpose.cli._inputs import InputPicture

Run = Callable[..., tuple[int, str, str]]
BOXES = [[5.0, 6.0, 30.0, 20.0], [20.0, 10.0, 40.0, 30.0]]  # x, y, width, height
CORNERS = [[5.0, 6.0, 35.0, 26.0], [20.0, 10.0, 60.0, 40.0]]


def annotations(*rows: tuple[str, int, list[float]], names: tuple[str, ...] = ("dog", "face")) -> dict[str, Any]:
    """A COCO file of pictures of 64 x 48 pixels; a row is a file name, the number of a category, and a box."""
    files = {name: number for number, name in enumerate(dict.fromkeys(name for name, *_ in rows), start=7)}
    return {
        "images": [{"id": number, "file_name": name, "width": 64, "height": 48} for name, number in files.items()],
        "annotations": [
            {"id": number, "image_id": files[name], "category_id": category, "bbox": box, "iscrowd": 0}
            for number, (name, category, box) in enumerate(rows)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
    }


def results(*rows: tuple[object, list[float]]) -> list[dict[str, Any]]:
    return [{"image_id": number, "category_id": 1, "score": 0.5, "bbox": box} for number, box in rows]


@pytest.fixture
def known(here: Path, run: Run, weights: str) -> Callable[..., list[list[list[float]]]]:
    """The boxes of the results for the pictures `in`, with this content of the file."""

    def call(content: object, *words: str) -> list[list[list[float]]]:
        write_json(here / "boxes.json", content)
        code, out, err = run(
            "detect", "in", *(words or ("-t", "dog")), "-p", weights, "--boxes-from", "boxes.json", "--json"
        )
        assert code == 0, err
        return [[row["box"] for row in picture["poses"]] for picture in json.loads(out)["pictures"]]

    for name in ("0007.png", "b/12.png"):
        make_picture(here / "in" / name)
    return call


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(annotations(("0007.png", 0, BOXES[0]), ("12.png", 0, BOXES[1])), [[0], [1]], id="file names"),
        pytest.param(
            annotations(("x/y/12.png", 0, BOXES[1]), ("x/y/12.png", 0, BOXES[0])), [[], [1, 0]], id="other folders"
        ),
        pytest.param(
            annotations(("a/12.png", 0, BOXES[0]), ("in\\b\\12.png", 0, BOXES[1])), [[], [1]], id="the nearest folder"
        ),
        pytest.param(
            annotations(("12.png", 1, BOXES[0]), ("12.png", 0, BOXES[1])), [[], [1]], id="only prompted classes"
        ),
        pytest.param(annotations(("12.png", 0, BOXES[0]), names=()), [[], [0]], id="no categories"),
        pytest.param(results((7, BOXES[0]), (12, BOXES[1]), (7, BOXES[1])), [[0, 1], [1]], id="ids"),
        pytest.param(results(("0007", BOXES[0]), ("12.png", BOXES[1])), [[0], [1]], id="ids that are names"),
    ],
)
def test_boxes_belong_to_the_pictures_that_the_file_names(
    known: Callable[..., object], content: object, expected: list[list[int]]
) -> None:
    assert known(content) == [[CORNERS[number] for number in of_picture] for of_picture in expected]


def test_each_frame_of_a_file_has_its_boxes(here: Path) -> None:
    write_json(here / "boxes.json", annotations(("in/clip.gif#1", 0, BOXES[0]), ("in/clip.gif#12", 0, BOXES[1])))
    path = Path("in/clip.gif")
    frames = [InputPicture(path, f"{path}#{number}", Path(f"clip-{number:02}.gif"), number) for number in range(1, 13)]
    file = BoxFile(here / "boxes.json", frames)
    assert [file.of(frame, (64, 48)) for frame in frames] == [
        [("dog", tuple(CORNERS[0]))],
        *[[]] * 10,
        [("dog", tuple(CORNERS[1]))],
    ]


def test_classes_come_from_the_file_and_crowds_are_left_out(known: Callable[..., Any], here: Path) -> None:
    content = annotations(("12.png", 1, BOXES[0]), ("12.png", 0, BOXES[1]), ("0007.png", 0, BOXES[0]))
    assert known(content, "-t", "Dog,face") == [[CORNERS[0]], [CORNERS[0], CORNERS[1]]]
    content["annotations"][0]["iscrowd"] = 1
    assert known(content, "-t", "dog,face") == [[CORNERS[0]], [CORNERS[1]]]


def test_what_xpose_wrote_is_read(here: Path, run: Run, weights: str) -> None:
    """poses.json, the output of --json and Poses.save give the library's results for the same boxes."""
    pictures = [make_picture(here / "in" / f"{number}.png", seed=number) for number in range(2)]
    choice = ["--threshold", "0", "--max-instances", "3", "--nms", "1"]
    code, out, _ = run("detect", "in", "-t", "dog,face", "-p", weights, "--json", "-o", "out", *choice)
    assert code == 0
    (here / "json.json").write_text(out)
    detector = xpose.load(weights)
    first = [xpose.Poses.from_dict(picture) for picture in json.loads(out)["pictures"]]
    first[0].save(here / "one.json")
    again = detector.detect([path.relative_to(here) for path in pictures], "dog, face", boxes=first)
    for file, count in (("out/poses.json", 2), ("json.json", 2), ("one.json", 1)):
        code, text, err = run("detect", "in", "-t", "dog,face", "-p", weights, "--boxes-from", file, "--json")
        assert code == 0, err
        for picture, poses in zip(json.loads(text)["pictures"][:count], again, strict=False):
            assert [row["category"] for row in picture["poses"]] == list(poses.categories)
            assert [row["score"] for row in picture["poses"]] == pytest.approx(poses.scores.tolist(), abs=1e-3)
        assert ("one.json has no boxes for in/1.png" in err) is (count == 1)
    code, _, err = run("detect", "in", "-t", "dog,face", "-p", weights, "--boxes-from", "json.json", "-o", "again")
    assert code == 0
    assert "No detection" not in err
    assert Image.open(here / "again" / "0_xpose.png").width == 64


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        (
            annotations(("c.png", 0, BOXES[0])),
            "dog",
            '"boxes.json" has boxes for none of the pictures. It names "c.png"',
        ),
        (annotations(("a.png", 0, BOXES[0])), "cow", 'The boxes in "boxes.json" belong to "dog"; "cow" is prompted'),
        (results(("a", BOXES[0])), "cow,dog", 'do not name their classes, and several are prompted ("cow", "dog")'),
        (annotations(("x/a.png", 0, BOXES[0]), ("y/a.png", 0, BOXES[0])), "dog", "not clear which boxes"),
        (annotations(("a.png", 0, [5, 5, 0, 9])), "dog", "bbox [5.0, 5.0, 0.0, 9.0] has no area"),
        ([{"image_id": 3}], "dog", "'bbox' is missing"),
        ({"images": [], "annotations": [{}]}, "dog", "'image_id' is missing"),
        ({"format": "xpose poses", "version": 1}, "dog", "'poses' is missing"),
    ],
)
def test_what_is_wrong_with_the_file_is_said(
    here: Path, run: Run, weights: str, content: object, words: str, message: str
) -> None:
    make_picture(here / "a.png")
    write_json(here / "boxes.json", content)
    code, _, err = run("detect", "a.png", "-t", words, "-p", weights, "--boxes-from", "boxes.json", "-o", "out")
    assert code == 1
    assert message in err
    assert not (here / "out").exists()


def test_a_picture_that_the_boxes_do_not_fit_is_skipped(here: Path, run: Run, weights: str) -> None:
    """The others are done all the same."""
    make_picture(here / "a.png")
    make_picture(here / "large.png", size=(128, 96))
    make_picture(here / "far.png")
    write_json(
        here / "boxes.json",
        annotations(*((f"{n}.png", 0, BOXES[0]) for n in ("a", "large")), ("far.png", 0, [99, 9, 9, 9])),
    )
    words = ["a.png", "large.png", "far.png", "-t", "dog", "-p", weights, "--boxes-from", "boxes.json", "--json"]
    code, out, err = run("detect", *words)
    assert code == 1
    assert "for a picture of 64 x 48 pixels; upright, it has 128 x 96" in err
    assert "Box 0 (99, 9, 108, 18) is outside" in err
    assert [picture["image"]["path"] for picture in json.loads(out)["pictures"]] == ["a.png"]


def test_two_pictures_cannot_share_an_entry(here: Path, run: Run, weights: str) -> None:
    for folder in ("x", "y"):
        make_picture(here / "in" / folder / "a.png")
    write_json(here / "boxes.json", annotations(("a.png", 0, BOXES[0])))
    code, _, err = run("detect", "in", "-t", "dog", "-p", weights, "--boxes-from", "boxes.json", "--json")
    assert code == 1
    assert "not clear which boxes" in err
