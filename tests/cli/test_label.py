"""`xpose label`: what it says before it serves the page, what it writes at the end, and mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import make_picture

from xpose.demo.labelling.controller import LabelController
from xpose.demo.labelling.label_file import LABEL_FILE

Run = Callable[..., tuple[int, str, str]]
Act = Callable[[LabelController], object]


@pytest.fixture
def photos(here: Path) -> Path:
    for name in ("a.png", "b10.png", "b9.png"):
        make_picture(here / "photos" / name)
    (here / "photos" / "broken.jpg").write_bytes(b"no picture")
    return Path("photos")


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Act], None]:
    """Act on the controller in place of serving the page, and then press Ctrl-C."""

    def serve(act: Act) -> None:
        def served(make: Any, warm_up: Any, host: str, port: int | None, ready: Callable[[str], None]) -> None:
            ready(f"http://{host}:1/")
            act(make())
            raise KeyboardInterrupt

        monkeypatch.setattr("xpose.demo.labelling.server.make_label_app", lambda controller: controller)
        monkeypatch.setattr("xpose.demo.server.serve", served)

    return serve


def label_first(controller: LabelController) -> None:
    session = controller.session("page")
    controller.propose(session, False)
    controller.point(session, {"x": 10, "y": 20})


def test_a_session_its_end_and_the_next_one(run: Run, weights: str, photos: Path, serve: Callable[[Act], None]) -> None:
    serve(label_first)
    code, out, err = run("label", photos, "-t", "dog", "--keypoints", "nose,left eye", "-p", weights)
    assert code == 130
    assert "The page is at http://127.0.0.1:1/" in out
    assert "broken.jpg" in err
    assert f"1 of 3 pictures labelled with dog in {photos / LABEL_FILE}" in err
    assert f"Train with them: xpose finetune --data {photos / LABEL_FILE}" in out
    content = json.loads((photos / LABEL_FILE).read_text())
    assert [image["file_name"] for image in content["images"]] == ["a.png"]
    assert content["annotations"][0]["keypoints"] == [10, 20, 2, 0, 0, 0]

    shown = []
    serve(lambda controller: shown.append(controller.session("page").number))
    assert run("label", photos, "-p", weights)[0] == 130
    assert shown == [1]
    for other in (["-t", "cat"], ["-k", "face"], ["--keypoints", "nose"]):
        code, _, err = run("label", photos, "-p", weights, *other)
        assert code == 1
        assert "Omit -t, -k and --keypoints to continue it" in err


def test_proposals_come_from_a_file(run: Run, weights: str, photos: Path, serve: Callable[[Act], None]) -> None:
    assert run("detect", photos / "a.png", "-t", "dog", "-p", weights, "--threshold", 0, "-o", "out")[0] == 0
    detected = json.loads(Path("out/poses.json").read_text())["annotations"]
    assert detected
    found = []
    serve(lambda controller: found.append(controller.labelling.open("a.png").objects))
    run("label", photos, "-t", "dog", "-p", weights, "--from", "out/poses.json")
    places = [[(mark.x, mark.y) for mark in item.marks.values()] for item in found[0]]
    flat = [entry["keypoints"] for entry in detected]
    inside = [
        [(x, y) for x, y, v in zip(row[0::3], row[1::3], row[2::3], strict=True) if v and 0 <= x <= 64 and 0 <= y <= 48]
        for row in flat
    ]
    assert places == inside


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["photos", "-k", "68_face_points"], "Name them, e.g. -t dog"),
        (["photos"], "Name them, e.g. -t dog"),
        (["photos", "-t", "dog", "-k", "humann"], 'Did you mean "human"'),
        (["nowhere", "-t", "dog"], "is not a folder"),
        (["photos/a.png", "-t", "dog"], "is not a folder"),
        (["empty", "-t", "dog"], "contains no pictures"),
        (["photos", "-t", "dog", "--from", "nowhere.json"], "cannot be read"),
    ],
)
def test_mistakes_are_found_before_the_network_is_loaded(
    run: Run, photos: Path, words: list[str], message: str
) -> None:
    Path("empty").mkdir()
    code, _, err = run("label", *words, "-p", "no-weights")
    assert code == 1
    assert message in err
    assert not (photos / LABEL_FILE).exists()


def test_a_file_of_another_program_stays_as_it_is(run: Run, photos: Path) -> None:
    (photos / LABEL_FILE).write_text('{"images": []}')
    code, _, err = run("label", photos, "-t", "dog", "-p", "no-weights")
    assert code == 1
    assert "was not written by xpose label" in err
    assert (photos / LABEL_FILE).read_text() == '{"images": []}'
