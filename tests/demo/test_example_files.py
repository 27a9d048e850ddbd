"""Points of examples in files: the commands read what was saved, and what they write is loaded again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.demo.conftest import place, saved, uploads

from xpose import cli
from xpose.demo import example_files
from xpose.demo.controller import BY_EXAMPLES, Controller, Session
from xpose.demo.examples import ClickedExample, ExampleSet
from xpose.demo.labelling.label_file import LabelFile
from xpose.demo.labelling.objects import Mark
from xpose.errors import PromptError, XPoseError
from xpose.inference import Detector
from xpose.model.checkpoints.pretrained import save_pretrained
from xpose.prompts import VisualPrompt
from xpose.prompts.annotations import read_points

SIZE = (100, 80)
POINTS = {"tip": (10.5, 20.25), "stalk": (60.0, 70.0), "edge": None}


@pytest.fixture
def examples(tmp_path: Path) -> ExampleSet:
    """A leaf with a box in one picture, and another without one in a second picture."""
    first, second = (ClickedExample(saved(tmp_path, name, size=SIZE), *SIZE) for name in ("one.png", "two.png"))
    examples = ExampleSet().with_names(POINTS).add(first).load(POINTS, (5, 10, 70, 75))
    return examples.add(second).load({"tip": (1, 2), "stalk": (30, 40)}, None).go(0)


def write(folder: Path, kind: str, examples: ExampleSet, label: str | None = "leaf") -> Path:
    path = folder / f"{kind}.json"
    path.write_text(json.dumps(example_files.content_of(kind, examples, examples.prompt(label).resolved)))
    return path


def empty(examples: ExampleSet) -> ExampleSet:
    """The same pictures without points and names."""
    return ExampleSet(shots=tuple(ClickedExample(shot.picture, *SIZE) for shot in examples.shots))


def test_a_points_file_is_an_example_of_detect(examples: ExampleSet, tmp_path: Path):
    content = read_points(write(tmp_path, "points", examples))
    prompt = VisualPrompt(examples.shot.picture.path, **content)
    assert {name: (x, y) for name, (x, y, visible) in prompt.points.items() if visible} == {
        name: spot for name, spot in POINTS.items() if spot
    }
    assert not prompt.points["edge"][2]
    assert (prompt.name, tuple(prompt.box or ())) == ("leaf", (5, 10, 70, 75))
    assert "name" not in json.loads(write(tmp_path, "points", examples, None).read_text())


def test_a_coco_file_is_one_of_label(examples: ExampleSet, tmp_path: Path):
    path = write(tmp_path, "coco", examples)
    file = LabelFile.read(path)
    assert (file.category.name, file.category.keypoints) == ("leaf", tuple(POINTS))
    (item,) = file.pictures["one.png"].objects
    assert item.points == {"tip": Mark(10.5, 20.25), "stalk": Mark(60, 70), "edge": None}
    assert item.bounds(*SIZE) == (5, 10, 70, 75)
    assert VisualPrompt.from_coco(path, 2).points["stalk"] == (30, 40, True)


@pytest.mark.parametrize("kind", ["points", "coco"])
def test_what_was_saved_is_loaded(examples: ExampleSet, tmp_path: Path, kind: str):
    loaded, label, count = example_files.loaded(write(tmp_path, kind, examples), empty(examples))
    assert (loaded.shot.points, loaded.shot.box, label, count) == (POINTS, (5, 10, 70, 75), "leaf", 1)
    assert loaded.names == tuple(POINTS)
    assert loaded.shots[1].points == {}


def test_results_of_another_size_are_loaded_for_their_picture(examples: ExampleSet, detector: Detector, tmp_path: Path):
    picture = saved(tmp_path, "large.png", size=(200, 160))
    poses = detector.detect(picture.path, "dog")
    poses.save(tmp_path / "poses.json", "coco")
    loaded, label, count = example_files.loaded(tmp_path / "poses.json", empty(examples))
    assert (label, count) == ("dog", len(poses))
    found = {name: (point.x / 2, point.y / 2) for name, point in poses[0].points.items() if point.v}
    inside = {name: spot for name, spot in found.items() if 0 <= spot[0] <= 100 and 0 <= spot[1] <= 80}
    assert loaded.shot.points == {name: pytest.approx(spot, abs=0.01) for name, spot in inside.items()}


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        [],
        {"tip": [500, 1]},
        {"tip": "left"},
        {"annotations": [], "images": [], "categories": []},
        {"annotations": 3},
        {"poses": []},
    ],
)
def test_what_cannot_be_loaded_is_an_error(examples: ExampleSet, tmp_path: Path, content: Any):
    path = tmp_path / "bad.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(XPoseError, match=r"bad\.json|outside the picture|must be"):
        example_files.loaded(path, examples)


def test_the_page_saves_loads_and_corrects(controller: Controller, session: Session, tmp_path: Path):
    place(controller, session, tmp_path, tip=(20.0, 30.0), stalk=(100.0, 90.0))
    points, coco = (
        Path(controller.save_examples(session, "leaf", kind)["download"]["value"]) for kind in ("points", "coco")
    )
    assert (points.name, coco.name) == ("example.json", "labels.json")
    weights = save_pretrained(controller.detector.model, tmp_path / "weights")
    words = ["detect", tmp_path / "example.png", "--like", tmp_path / "example.png", "--points", points]
    assert cli.main([str(word) for word in (*words, "-p", weights, "--json", "--quiet")]) == 0
    before = dict(session.examples.shot.points)
    controller.edit(session, session.examples.clear())
    updates = controller.load_points(session, str(coco))
    assert session.examples.shot.points == before
    assert updates["words"]["value"] == "leaf"
    assert "The points were loaded." in updates["example_status"]["value"]
    with pytest.raises(XPoseError, match=r'^"bad.json"'):
        controller.load_points(session, str(tmp_path / "bad.json"))

    controller.run(session, lambda *_: None, uploads(tmp_path), "Words", "dog", "Automatic", "")
    pose = session.kept[0][0]
    updates = controller.correct(session)
    assert (updates["way"]["value"], updates["words"]["value"]) == (BY_EXAMPLES, "dog")
    assert session.examples.shot.points == {
        name: (point.x, point.y) if point.v else None for name, point in pose.points.items()
    }
    session.kept[0] = session.kept[0][:0]
    with pytest.raises(PromptError, match="Nothing was found"):
        controller.correct(session)
