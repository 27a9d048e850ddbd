"""What the tests of all importers share: the checks of `trees` and the damage of `fuzz`, for `import_set`.

A test module has one `write_tree(root) -> Tree` that writes the tool's layout and says in a constant where PATH is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.data.fuzz import DAMAGES, RECORD_DAMAGES, _check_nothing_lost
from tests.data.trees import Tree, _check_record, check_pycocotools, records_of, snapshot

from xpose.data.collection.manifest import REPORT, verify
from xpose.data.datasets.importers import Imported, import_set
from xpose.errors import DataError


def check_imported(format_name: str, tree: Tree, path: str, out: Path, **choices: object) -> Imported:
    """Import the tree and check everything that holds for every format."""
    before = snapshot(tree.root)
    done = import_set(format_name, tree.root / path, out / "a", name="mine", **choices)  # type: ignore[arg-type]
    assert snapshot(tree.root) == before, "the source folder was changed"
    folder = done.prepared.folder
    assert done.prepared.skipped == {}, (folder / REPORT).read_text()
    records = records_of(folder)
    assert set(records) == set(tree.truth)
    for name, truth in tree.truth.items():
        _check_record(records[name], truth, tree.root if records[name].picture.stored == "source" else folder)
    check_pycocotools(folder)
    again = import_set(format_name, tree.root / path, out / "b", name="mine", **choices)  # type: ignore[arg-type]
    for file in sorted(file.name for file in folder.iterdir() if file.suffix in (".json", ".toml")):
        assert (folder / file).read_bytes() == (again.prepared.folder / file).read_bytes(), f"{file}: other bytes"
    return done


def fuzz_import(format_name: str, write_tree: Callable[[Path], Tree], path: str) -> Callable[..., None]:
    """A parametrised test of one importer: every damage is refused by name, or accounted for in the report."""

    @pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
    def test_fuzz(damage: Callable[[Tree], Iterator[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.fsync", lambda _: None)  # waiting for the disk takes a third of the time
        tree = write_tree(tmp_path / "original")
        tried = 0
        for what in damage(tree):
            tried += 1
            must_finish = damage in RECORD_DAMAGES
            _check(format_name, tree, path, tmp_path / f"out{tried}", what, must_finish=must_finish)
        if not tried:
            pytest.skip(f"{damage.__name__} has nothing to damage in this format")

    return test_fuzz


def _check(format_name: str, tree: Tree, path: str, out: Path, what: str, *, must_finish: bool) -> None:
    before = snapshot(tree.root)
    refusal, done = "", None
    try:
        done = import_set(format_name, tree.root / path, out, name="mine")
    except DataError as error:
        refusal = str(error)
    assert snapshot(tree.root) == before, f"{what}: the source folder was changed"
    if done is None:
        assert not must_finish, f"{what}: one bad picture stopped the whole set: {refusal}"
        assert ". " in refusal, f"{what}: no way out in: {refusal}"
        assert not (out / "mine" / "manifest.json").exists()
        return
    folder = done.prepared.folder
    verify(folder)
    json.loads((folder / REPORT).read_text(), parse_constant=lambda word: pytest.fail(f"{what}: {word}"))
    _check_nothing_lost(tree, folder, what)
