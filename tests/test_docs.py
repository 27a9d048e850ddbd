"""Links in the documents work, shown commands exist, and dependencies are explained."""

import ast
import json
import re
import runpy
import shlex
import textwrap
import tomllib
from importlib import import_module
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml
from PIL import Image
from tests.inference.conftest import own_detector, saved

from xpose import cli
from xpose.cli import _app
from xpose.data.datasets.converters import CONVERTERS, load_converter
from xpose.inference import encoding
from xpose.model.prompting.sides import spell_out
from xpose.prompts import TextPrompt

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "xpose"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def names(requirements):
    return {re.match(r"[\w.-]+", line)[0] for line in requirements} - {"xpose"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    targets = [link.partition("#")[0] for link in LINK.findall(page.read_text("utf-8"))]
    local = [target for target in targets if target and not target.startswith(("http://", "https://"))]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_anchors_of_the_readme_exist():
    text = (ROOT / "README.md").read_text("utf-8")
    headings = {re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-") for line in text.splitlines()}
    assert {link[1:] for link in LINK.findall(text) if link.startswith("#")} <= headings


def test_files_that_the_architecture_names_exist():
    text = LINK.sub("", (ROOT / "ARCHITECTURE.md").read_text("utf-8"))
    named = set(re.findall(r"(?<![\w/.])(?:\w+/)+(?:\w+\.py)?", text))
    assert len(named) > 60
    assert {name for name in named if not ((ROOT / name).exists() or any(SOURCE.rglob(name)))} == set()


@pytest.fixture(scope="module")
def command_line():
    """All commands of `xpose`, as the command line builds them."""
    return _app.build(cli.COMMANDS)


def parse(command, words):
    """Raise a usage error for an option that the command does not have, or a value or argument too few or too many."""
    command.make_parser(typer.Context(command, **_app.CONTEXT)).parse_args(list(words))


def command_lines(page):
    """The lines of code blocks, and commands in the text that have options."""
    text = page.read_text("utf-8")
    blocks = [block for language, block in CODE.findall(text) if language == "bash"]
    inline = re.findall(r"`((?:xpose|torchrun) (?!COMMAND)[^`\n]* -[^`\n]*)`", CODE.sub("", text))
    return [*"\n".join(blocks).replace("\\\n", " ").splitlines(), *inline]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_shown_commands_exist(page, command_line):
    """Every `xpose` command with its options, every make target, every script."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for line in command_lines(page):
        words = shlex.split(line, comments=True)
        program = Path(words[0]).name if words else ""
        if program == "make":
            assert words[1] in targets, line
        elif program == "python" and words[1].endswith(".py"):
            assert (ROOT / words[1]).exists(), line
        places = [place for place, word in enumerate(words[:-1]) if Path(word).name == "xpose"]
        for place in places if program != "docker" else ():
            called = list(takewhile(lambda word: word not in ("|", ">", "&&", "&"), words[place + 1 :]))
            command = command_line
            while called and called[0] in getattr(command, "commands", {}):
                command = command.commands[called.pop(0)]
            assert not hasattr(command, "commands") or called[0].startswith("-"), line
            try:
                parse(command, called)
            except typer.Exit:
                pass
            except Exception as error:
                if not str(error).endswith("requires an argument."):  # as in `xpose detect --bank`
                    pytest.fail(f"{line}: {error}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_compile_and_import_what_exists(page):
    for language, block in CODE.findall(page.read_text("utf-8")):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(textwrap.dedent(block))):
            if isinstance(node, ast.Import):
                for name in node.names:
                    import_module(name.name)
            elif isinstance(node, ast.ImportFrom):
                module = import_module(node.module)
                for name in node.names:
                    assert hasattr(module, name.name) or find_spec(f"{node.module}.{name.name}"), name.name


@pytest.fixture(scope="module")
def bundled(tmp_path_factory):
    """A tiny network that finds something everywhere; it stands in for trained weights of every name."""
    detector = own_detector(name="xpose-swin-t", thresholds={"": 0.0})
    return saved(detector, tmp_path_factory.mktemp("docs") / "unipose_swint.pth")


@pytest.fixture
def desk(tmp_path, monkeypatch, bundled):
    """A folder with everything that the documents speak of."""
    monkeypatch.chdir(tmp_path)
    names = ["photo.jpg", "leaf.jpg", "photos/1.jpg", "photos/2.jpg", "frames/000001.png", "frames/000002.png"]
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (120, 160, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    points = {"tip": [20, 20], "stalk": [40, 30]}
    (tmp_path / "leaf.json").write_text(json.dumps({"name": "leaf", "keypoints": points}))
    (tmp_path / "boxes.json").write_text(json.dumps([{"image_id": "photo", "bbox": [5, 5, 30, 40]}]))
    (tmp_path / "unipose_swint.pth").symlink_to(bundled)
    (tmp_path / "dog.toml").write_text('name = "my dog"\nkeypoints = ["nose", "collar"]\n')
    (tmp_path / "runs/dog").mkdir(parents=True)
    (tmp_path / "runs/dog/best").symlink_to(bundled)
    # Both modules are imported before one of them is changed: otherwise the second would keep the changed function.
    modules = [import_module(f"xpose.{name}") for name in ("model.checkpoints.known", "model.checkpoints.folders")]
    for module in modules:
        monkeypatch.setattr(module, "bundled_weights", lambda: {"xpose-nano": bundled})
    return tmp_path


RUNNING = [
    "README.md",
    *(
        f"docs/{name}.md"
        for name in ("collections", "controlnet", "evaluation-metrics", "liveportrait", "prompts", "vocabulary")
    ),
]


@pytest.mark.parametrize("page", RUNNING)
def test_python_blocks_run(page, desk):
    blocks = [block for language, block in CODE.findall((ROOT / page).read_text("utf-8")) if language == "python"]
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), {})


TEMPLATES = [
    (TextPrompt("Grey_wolf"), "a photo of grey wolf", "grey wolf"),
    (TextPrompt("Grey_wolf", style="cartoon"), "a cartoon photo of grey wolf", "cartoon grey wolf"),
    (TextPrompt("person", part="hand"), "a photo of person's hand", "person's hand"),
    (TextPrompt(keypoints=["left eye"]), "a photo of object", "object"),
]


@pytest.mark.parametrize(("prompt", "clip", "own"), TEMPLATES)
def test_the_prompts_page_says_what_the_encoders_read(prompt, clip, own):
    page = (ROOT / "docs" / "prompts.md").read_text("utf-8")
    assert encoding.object_text(prompt, clip=True) == clip
    assert spell_out(encoding.object_text(prompt, clip=False)) == own
    assert any(f"`{clip}`" in line and f"`{own}`" in line for line in page.splitlines())


@pytest.mark.parametrize("page", ["README.md", "docs/prompts.md", "docs/command-line.md"])
def test_shown_commands_find_things(page, desk, capsys):
    """Every `xpose detect`, `count`, `prompt` and `models` of the page runs, in the order of the page."""
    lines = [line for language, block in CODE.findall((ROOT / page).read_text("utf-8")) for line in block.splitlines()]
    ran = 0
    for line in lines:
        words = shlex.split(line, comments=True) if "xpose " in line else []
        if len(words) > 1 and Path(words[0]).name == "xpose" and words[1] in ("detect", "count", "prompt", "models"):
            words = words[1 : words.index(">")] if ">" in words else words[1:]
            assert cli.main(words) == 0, (line, capsys.readouterr().err)
            assert capsys.readouterr().out
            ran += 1
    assert ran or page == "docs/prompts.md"


def test_the_readme_shows_what_make_test_runs():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    recipes = dict(re.findall(r"^([\w-]+):.*\n((?:\t.*\n)+)", makefile, re.MULTILINE))
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "\ntest: lint types\n" in makefile
    for line in (recipes["lint"] + recipes["types"] + recipes["test"]).splitlines():
        plain = line.strip().replace("$(BIN)", ".venv/bin").replace("$(JOBS)", "2")
        assert re.search(rf"^{re.escape(plain)}( |$)", readme, re.MULTILINE), plain


def test_hooks_run_only_local_tools_that_the_extra_dev_installs():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    assert re.findall(r"- repo: (\S+)", hooks) == ["local"]
    tools = set(re.findall(r"entry: \.venv/bin/(\w+)", hooks))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert tools
    assert tools <= names(project["optional-dependencies"]["dev"])


def test_every_dependency_has_its_reason_and_licence():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = names(project["dependencies"])
    for requirements in project["optional-dependencies"].values():
        wanted |= names(requirements)
    record = (ROOT / "docs" / "decisions" / "0002-dependencies.md").read_text("utf-8")
    assert set(re.findall(r"^\| ([\w.-]+) \|", record, re.MULTILINE)) - {"package"} == wanted


def test_every_extra_is_on_the_install_page():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    page = (ROOT / "docs" / "install.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE))
    assert rows.keys() >= project["optional-dependencies"].keys()
    for extra, requirements in project["optional-dependencies"].items():
        assert all(name in rows[extra] for name in names(requirements)), extra


def test_the_table_of_datasets_is_true():
    page = (ROOT / "docs" / "datasets.md").read_text("utf-8")
    rows = re.findall(r"^\| `.*", page, re.MULTILINE)
    for name, row in zip(CONVERTERS, rows, strict=True):
        converter = load_converter(name)
        used = converter.expected.get("unikpt_images")
        cells = [f"[{converter.title}]({converter.homepage})", converter.licence, converter.terms]
        cells += [f"{used:,}" if used else "–", "yes" if converter.status == "seen" else "no"]
        assert row == f"| `{name}` | {' | '.join(cells)} |"


@pytest.mark.parametrize("card", sorted(SOURCE.glob("model/bundled/*/README.md")), ids=lambda card: card.parent.name)
def test_cards_begin_with_valid_yaml(card):
    assert yaml.safe_load(card.read_text("utf-8").split("---\n")[1])["library_name"] == "xpose"


def test_a_program_draws_every_figure_of_the_guide(tmp_path, monkeypatch):
    program = runpy.run_path(str(ROOT / "docs" / "figures.py"))
    monkeypatch.setitem(program["model"].__globals__, "FOLDER", tmp_path)
    program["model"]()
    assert Image.open(tmp_path / "model.png").width > 1000
    source = (ROOT / "docs" / "figures.py").read_text("utf-8")
    figures = list((ROOT / "docs" / "images" / "guide").iterdir())
    assert len(figures) > 5
    assert [path.name for path in figures if f'"{path.stem}' not in source] == []


def test_shown_error_messages_are_in_the_source():
    literals = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                literals.append(node.value)
    source = "\0".join(literals)
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    messages = re.findall(r"^\| `([A-Z.][^|]* [^|]*)` \|", page, re.MULTILINE)
    assert len(messages) > 20
    for message in messages:
        parts = [part.strip() for part in re.split(r'"[^"]*"|xpose-[\w-]+|\([^)]*\)|\d+|\.\.\.|[.,:;?]', message)]
        assert [part for part in parts if len(part) > 12 and part not in source] == [], message


def test_every_page_is_in_the_navigation():
    navigation = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2])
    assert {str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md")} <= set(navigation)
    assert len(navigation) == len(set(navigation))


def test_decisions_are_numbered_without_gaps():
    records = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(name[:4]) for name in records] == list(range(1, len(records) + 1))
