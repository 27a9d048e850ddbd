"""`xpose eval` from end to end: files, going on, refusals, other systems' results, the report."""

import functools
import json
import re
import shutil
from html.parser import HTMLParser

import pytest
import torch
from PIL import Image
from tests.evaluation.drawn_sets import BIRD, TUBE, thing, write_set
from tests.inference.conftest import own_detector

from xpose import cli
from xpose.evaluation.protocols import PROTOCOLS
from xpose.evaluation.run_file import read_run
from xpose.inference.loading import load
from xpose.model.checkpoints.pretrained import save_pretrained

LOAD = functools.cache(load)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return str(save_pretrained(own_detector().model, tmp_path_factory.mktemp("weights") / "tiny"))


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch):
    """The tests call the command forty times with the same weights."""
    monkeypatch.setattr("xpose.inference.load", LOAD)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    pictures = [
        [thing((0, 0, 40, 20), (5, 10), (35, 10 + n, 1)), thing((10, 30, 60, 25), (15, 40), (65, 40))] for n in range(3)
    ]
    write_set(root / "tubes", [("glue tube", TUBE)], {"train": pictures[:1], "val": pictures})
    bird = [thing((20, 10, 40, 40), (25, 15), (55, 45), (25, 45), (50, 20))]
    write_set(root / "coco_person", [("bird", BIRD)], {"train": [bird], "val": [bird]})
    return root


@pytest.fixture
def run(capsys):
    def call(*words):
        capsys.readouterr()
        code = cli.main(["eval", *map(str, words)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert "Internal error" not in err, err
        return code, out, err

    return call


def test_a_run_writes_its_files_and_a_second_call_goes_on(run, tree, weights, tmp_path):
    out = tmp_path / "run"
    first = run("nano-real", "--data", tree, "--weights", weights, "-o", out, "--limit", 2)
    assert first[0] == 0, first[2]
    assert {path.name for path in out.iterdir()} == {"answers", "coco", "report.html", "run.json", "tables.md"}
    lines = (out / "answers/000.jsonl").read_bytes()
    code, printed, told = run("nano-real", "--data", tree, "--weights", weights, "-o", out)
    assert code == 0
    assert "3 pictures are answered already" in told
    again = (out / "answers/000.jsonl").read_bytes()
    assert again.startswith(lines)
    assert len(again.splitlines()) == 5, "one line for the run, one per picture"
    saved = read_run(out / "run.json")
    assert saved.protocol == "nano-real"
    assert saved.settings["split"] == "val"
    assert {picture.set for picture in saved.pictures} == {"tubes", "coco_person"}
    text = (out / "tables.md").read_text()
    for word in ("boxes:", "prompts:", "flip test: no", "seed: 0", "split: val", "| tubes |"):
        assert word in text
    assert "tubes" in printed


def test_answers_of_other_weights_or_prompts_are_not_mixed_in(run, tree, weights, tmp_path):
    common = ("nano-real", "--data", tree, "--weights", weights, "-o", tmp_path, "--limit", 1)
    assert run(*common)[0] == 0
    code, _, told = run(*common, "--prompts", "visual")
    assert code == 1
    assert 'prompts is "text" there and "visual" now' in told
    assert "--fresh" in told
    assert run(*common, "--prompts", "visual", "--fresh")[0] == 0


@pytest.mark.slow
def test_as_used_asks_one_picture_at_a_time_in_several_processes_too(run, tree, weights, tmp_path):
    common = ("as-used", "--data", tree, "--weights", weights, "--threshold", 0.1)
    code, _, told = run(*common, "--batch", 8)
    assert code == 1
    assert "one picture at a time" in told
    numbers = []
    for processes in (1, 2):
        out = tmp_path / str(processes)
        code, printed, told = run(*common, "-o", out, "--processes", processes, "--json")
        assert code == 0, told
        numbers.append(json.loads(printed)["numbers"])
    assert numbers[0] == numbers[1]
    assert "wrong answers per picture" in numbers[0]


def other_pixels(root):
    path = root / "tubes/images/val-1.png"
    with Image.open(path) as picture:
        Image.eval(picture.convert("RGB"), lambda value: 255 - value).save(path)


def other_box(root):
    change(root / "tubes/val.json", lambda content: content["annotations"][0]["bbox"].__setitem__(2, 39))


def other_category(root):
    change(root / "tubes/val.json", lambda content: content["categories"][0].update(name="tube"))


def other_example(root):
    change(root / "tubes/train.json", lambda content: content["annotations"][0]["keypoints"].__setitem__(0, 6))


def change(path, how):
    content = json.loads(path.read_text())
    how(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("how", "prompts", "told"),
    [
        (other_pixels, "text", 'other picture files: "tubes/images/val-1.png")'),
        (other_box, "text", 'other labels: "tubes/images/val-0.png")'),
        (other_category, "text", "other labels: "),
        (other_example, "visual", "other examples or questions: "),
    ],
)
def test_answers_about_other_data_are_refused_and_what_differs_is_named(
    run, tree, weights, tmp_path, how, prompts, told
):
    sets, out = tmp_path / "sets", tmp_path / "run"
    shutil.copytree(tree, sets)
    common = ("nano-real", "--data", sets, "--weights", weights, "-o", out, "--only", "tubes", "--prompts", prompts)
    assert run(*common)[0] == 0
    shutil.move(sets, tmp_path / "elsewhere")  # the place is not what counts
    assert run(*common[:2], tmp_path / "elsewhere", *common[3:])[0] == 0
    shutil.move(tmp_path / "elsewhere", sets)
    how(sets)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    code, _, message = run(*common)
    assert code == 1
    assert told in message
    assert "--fresh" in message
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert run(*common, "--fresh")[0] == 0


def test_the_report_of_a_larger_run_is_not_replaced_by_one_of_fewer_pictures(run, tree, weights, tmp_path):
    out = tmp_path / "run"
    common = ("nano-real", "--data", tree, "--weights", weights, "-o", out)
    assert run(*common, "--limit", 1)[0] == 0
    assert run(*common)[0] == 0, "a larger run goes on from a smaller one"
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for fewer in (("--limit", 1), ("--only", "tubes")):
        code, _, told = run(*common, *fewer)
        assert code == 1
        assert "a run of 4 pictures" in told
        assert "--fresh" in told
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert run(*common, "--limit", 1, "--fresh")[0] == 0
    assert {picture.key for picture in read_run(out / "run.json").pictures} != set()
    (out / "run.json").unlink()  # an interrupted run has no report that could be lost
    assert run(*common, "--only", "coco_person")[0] == 0


def test_who_stops_a_run_is_told_how_to_go_on(run, tree, weights, tmp_path, monkeypatch):
    def stopped(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("xpose.evaluation.runner.evaluate", stopped)
    code, _, told = run("nano-real", "--data", tree, "--weights", weights, "-o", tmp_path)
    assert code == 130
    assert "go on with the same command" in told


def test_the_results_of_a_run_are_measured_alike_as_the_results_of_another_system(run, tree, weights, tmp_path):
    """Our own COCO files, read back as somebody else's: the same matched points, to the file's rounding."""
    out = tmp_path / "run"
    assert run("nano-real", "--data", tree, "--weights", weights, "-o", out, "--only", "tubes")[0] == 0
    own = json.loads(run("nano-real", "--data", tree, "--weights", weights, "--only", "tubes", "--json")[1])
    theirs = out / "coco/tubes.val.keypoints.json"
    entries = json.loads(theirs.read_text())
    boxes = json.loads((out / "coco/tubes.val.boxes.json").read_text())
    for entry, box in zip(entries, boxes, strict=True):
        entry["bbox"] = box["bbox"]
    both = tmp_path / "both.json"
    both.write_text(json.dumps(entries))
    code, printed, _ = run("nano-real", "--data", tree, "--results", both, "--only", "tubes", "--json")
    assert code == 0
    read = json.loads(printed)
    assert read["weights"] == str(both)
    assert set(read["numbers"]) == set(own["numbers"])
    for name, value in own["numbers"].items():
        assert read["numbers"][name] == pytest.approx(value, abs=1e-3), name


def test_perfect_results_of_another_system_score_all(run, tree, tmp_path):
    labels = json.loads((tree / "tubes/val.json").read_text())
    perfect = [
        {name: one[name] for name in ("image_id", "category_id", "bbox", "keypoints")} | {"score": 0.5}
        for one in labels["annotations"]
    ]
    (tmp_path / "tubes.json").write_text(json.dumps(perfect))
    printed = run("nano-real", "--data", tree, "--results", tmp_path, "--only", "tubes", "--json")[1]
    assert json.loads(printed)["headline"] == 1.0


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.sources, self.open = {}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open[-1] in ("rect", "path", "polyline") and self.open[-1] != tag:
            self.open.pop()
        assert self.open.pop() == tag


def test_the_report_is_one_whole_page_without_anything_from_elsewhere(run, tree, weights, tmp_path):
    assert run("nano-real", "--data", tree, "--weights", weights, "-o", tmp_path)[0] == 0
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert "script" not in page.tags
    assert page.sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    for heading in ("Real sets", "Precision against recall", "Where the errors are", "Best pictures", "hidden points"):
        assert heading in text
    assert page.tags["svg"] >= 3
    assert text.count('class="bars"') == 3
    for row in ("boxes", "prompts", "flip test", "seed"):
        assert f"<dt>{row}</dt>" in text


def test_damaged_pictures_are_named_and_the_rest_is_measured(run, tree, weights, tmp_path):
    shutil.copytree(tree, tmp_path / "sets")
    broken = tmp_path / "sets/tubes/images/val-1.png"
    broken.write_bytes(broken.read_bytes()[:60])
    code, printed, told = run(
        "nano-real", "--data", tmp_path / "sets", "--weights", weights, "--only", "tubes", "-o", tmp_path / "run"
    )
    assert code == 1
    assert "tubes/images/val-1.png" in told
    assert "tubes" in printed
    assert "val-1.png" in (tmp_path / "run/report.html").read_text()
    assert "val-1.png" in (tmp_path / "run/tables.md").read_text()


def test_the_list_names_every_protocol(run):
    code, printed, _ = run("--list")
    assert code == 0
    assert all(name in printed for name in PROTOCOLS)
    told = {one["name"]: one for one in json.loads(run("--list", "--json")[1])}
    assert list(told) == list(PROTOCOLS)
    assert all(one["boxes"] and one["prompts"] and one["pck"] for one in told.values())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nano-reel"], 'Did you mean "nano-real"'),
        (["nano-real", "--prompts", "txt"], 'Did you mean "text"'),
        (["nano-real", "--split", "vall"], 'Did you mean "val"'),
        (["nano-real", "--only", "tube"], 'Did you mean "tubes"'),
        (["nano-real", "--processes", "2"], "--out"),
        (["nano-real", "--peer", "clipp=x"], 'Did you mean "clip"'),
        (["nano-real", "--results", "nothing.json"], "no file"),
        (["nano-real", "--results", "a.json", "--peer", "clip=x"], "one source"),
    ],
)
def test_mistakes_get_a_message(run, tree, weights, words, message):
    others = {"--peer", "--results"} & set(words)
    code, _, told = run(*words, "--data", tree, *(() if others else ("--weights", weights)))
    assert code == 1
    assert message in told


def test_data_is_needed(run):
    code, _, told = run("nano-real")
    assert code == 2
    assert "--data" in told


def test_actors_of_ray_find_the_same_numbers(run, tree, weights, tmp_path):
    pytest.importorskip("ray", reason="SKIPPED: xpose eval --engine ray is not tested without the extra ray")
    common, threads = ("nano-real", "--data", tree, "--weights", weights, "--batch", 1, "-o"), torch.get_num_threads()
    torch.set_num_threads(1)  # as in an actor, because the last bits depend on it
    try:
        assert run(*common, tmp_path / "local")[0] == 0
    finally:
        torch.set_num_threads(threads)
    code, _, told = run(*common, tmp_path / "ray", "--engine", "ray", "--processes", 2)
    assert code == 0, told
    here, there = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("local", "ray"))
    assert {**there, "made": None} == {**here, "made": None}
    assert len(there["pictures"]) == 4
    answers = [(tmp_path / name / "answers/000.jsonl").read_text() for name in ("local", "ray")]
    assert answers[0] == answers[1]
