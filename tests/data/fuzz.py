"""Damage an original in every way that real downloads are damaged, and see that nothing gets lost in silence.

In a test module::

    test_fuzz = fuzz_test("coco", write_tree)

Every damage must end in one of two ways. Either `DataError` names the file, or the set is made, is valid, and each
picture of the undamaged original is there with all its objects and points or is accounted for in the report.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.data.trees import Tree, records_of, snapshot

from xpose.data.collection.manifest import REPORT
from xpose.data.datasets.pipeline import prepare
from xpose.data.datasets.report import read_report
from xpose.errors import DataError

DEEP: list = []
for _ in range(50):
    DEEP = [DEEP]
VALUES = (None, "x", "", -1, 1e9, 10**400, float("nan"), float("inf"), True, 7.5, {"a": 1}, DEEP, "../../up.jpg", "\0")
TOKENS = ("nan", "inf", "1e999", "x", "-1e9", "", "9" * 400, "0x10", "ⅷ", "1 2")
NAMES = (
    "../../../etc/passwd",
    "/etc/passwd",
    "C:\\Windows\\win.ini",
    "a/../../b.jpg",
    "..\\..\\up.jpg",
    "ünïcödé-図.jpg",
    "e\u0301.jpg",
    "bell\u0007.jpg",
    "x" * 3000 + ".jpg",
    "",
    "with\u2028separator.jpg",
    "\udcff.jpg".encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
)
JSON_TRIES = 40  # of all files together, but at least `LEAST_TRIES` of each
TEXT_TRIES = 20
LEAST_TRIES = 8


Damage = Callable[[Tree], Iterator[str]]


def fuzz_test(
    converter: str, write_tree: Callable[[Path], Tree], damages: tuple[Damage, ...] | None = None
) -> Callable[..., None]:
    """A parametrised test of one converter; `damages` for originals that are no text, else all of them."""

    @pytest.mark.parametrize("damage", damages or DAMAGES, ids=lambda damage: damage.__name__)
    def test_fuzz(damage: Callable[[Tree], Iterator[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.fsync", lambda _: None)  # waiting for the disk takes a third of the time
        tree = write_tree(tmp_path / "original")
        tried = 0
        for what in damage(tree):
            tried += 1
            _check(converter, tree, tmp_path / f"out{tried}", what, must_finish=damage in RECORD_DAMAGES)
        if not tried:
            pytest.skip(f"{damage.__name__} has nothing to damage in this format")

    return test_fuzz


def _check(converter: str, tree: Tree, out: Path, what: str, *, must_finish: bool) -> None:
    before = snapshot(tree.root)
    refusal = ""
    try:
        done = prepare(converter, tree.root, out)
    except DataError as error:
        refusal = str(error)
    assert snapshot(tree.root) == before, f"{what}: the source folder was changed"
    if refusal:
        assert not must_finish, f"{what}: one bad picture stopped the whole set: {refusal}"
        assert ". " in refusal, f"{what}: no way out in: {refusal}"
        assert not (out / converter / "manifest.json").exists()
        return
    json.loads((done.folder / REPORT).read_text(), parse_constant=lambda word: pytest.fail(f"{what}: {word}"))
    _check_nothing_lost(tree, done.folder, what)


def _check_nothing_lost(tree: Tree, folder: Path, what: str) -> None:
    records, report = records_of(folder), read_report(folder / REPORT)
    lost = []
    for name, truth in tree.truth.items():
        record = records.get(name)
        whole = record is not None and [len(instance.keypoints) for instance in record.instances] == [
            len(points) for points in truth.objects
        ]
        if not whole and not any(entry["file"] == name or name in entry["reason"] for entry in report):
            lost.append(name)
    others = [entry for entry in report if entry["file"] not in tree.truth]
    strange = [name for name in records if name not in tree.truth]
    assert len(others) + len(strange) >= len(lost), f"{what}: {lost} lost in silence; the report: {report}"


# Each damage changes the tree, yields what it did, and puts everything back.


def _put_back(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def cut_short(tree: Tree) -> Iterator[str]:
    for name in tree.annotations:
        path = tree.root / name
        content = path.read_bytes()
        for share in (0.0, 0.3, 0.7, 0.97):
            path.write_bytes(content[: int(share * len(content))])
            yield f"{name} cut to {share:.0%}"
        _put_back(path, content)


def not_text(tree: Tree) -> Iterator[str]:
    for name in tree.annotations:
        path = tree.root / name
        content = path.read_bytes()
        for damage in (b"\xff\xfe\x00\x01" * 9, b"\x80" + content, b"null", b"[" * 100_000, b"\x00" * 100):
            path.write_bytes(damage)
            yield f"{name} is {damage[:12]!r}"
        _put_back(path, content)


def wrong_json_values(tree: Tree) -> Iterator[str]:
    names = [name for name in tree.annotations if name.endswith(".json")]
    for name in names:
        path = tree.root / name
        content = path.read_bytes()
        value = json.loads(content)
        places = list(_places(value))
        chosen = random.Random(0)
        for _ in range(max(LEAST_TRIES, JSON_TRIES // len(names))):
            place, new = chosen.choice(places), chosen.choice(VALUES)
            damaged = copy.deepcopy(value)
            holder = damaged
            for key in place[:-1]:
                holder = holder[key]
            holder[place[-1]] = new
            path.write_text(json.dumps(damaged), encoding="utf-8")
            yield f"{name}: {'.'.join(map(str, place))} = {str(new)[:30]}"
        _put_back(path, content)


def _places(value: object, here: tuple = ()) -> Iterator[tuple]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*here, key)
        yield from _places(inner, (*here, key))


def wrong_text_values(tree: Tree) -> Iterator[str]:
    names = [name for name in tree.annotations if not name.endswith(".json")]
    for name in names:
        path = tree.root / name
        content = path.read_bytes()
        text = content.decode()
        numbers = list(re.finditer(r"-?\d+(\.\d+)?", text))
        chosen = random.Random(0)
        for _ in range(max(LEAST_TRIES, TEXT_TRIES // len(names))):
            found, new = chosen.choice(numbers), chosen.choice(TOKENS)
            path.write_bytes((text[: found.start()] + new + text[found.end() :]).encode())
            yield f"{name}: {found[0]} at {found.start()} = {new[:20]!r}"
        _put_back(path, content)


def wrong_names(tree: Tree) -> Iterator[str]:
    for name in tree.annotations:
        path = tree.root / name
        content = path.read_bytes()
        text = content.decode()
        for picture in tree.pictures:
            written = next((form for form in _spellings(picture) if form in text), None)
            if written is None:
                continue
            for new in NAMES:
                shown = json.dumps(new)[1:-1] if name.endswith(".json") else new
                path.write_bytes(text.replace(written, shown).encode())
                yield f"{name}: {written} = {new[:40]!r}"
            break
        _put_back(path, content)


def _spellings(picture: str) -> Iterator[str]:
    parts = picture.split("/")
    for start in range(len(parts)):
        yield "/".join(parts[start:])
        yield "\\\\".join(parts[start:])


def missing_picture(tree: Tree) -> Iterator[str]:
    for name in tree.pictures:
        path = tree.root / name
        content = path.read_bytes()
        path.unlink()
        yield f"{name} missing"
        _put_back(path, content)


def damaged_picture(tree: Tree) -> Iterator[str]:
    for name in tree.pictures[:2]:
        path = tree.root / name
        content = path.read_bytes()
        for damage in (b"", b"no picture", content[: len(content) // 2], content[:30]):
            path.write_bytes(damage)
            yield f"{name} has {len(damage)} bytes"
        _put_back(path, content)


def points_outside(tree: Tree) -> Iterator[str]:
    """Coordinates far outside: the numbers after the first few of a line or list, whatever they mean there."""
    for name in tree.annotations:
        path = tree.root / name
        content = path.read_bytes()
        text = content.decode()
        numbers = list(re.finditer(r"(?<=[ ,\[])\d+(\.\d+)?(?=[ ,\]\r\n])", text))
        chosen = random.Random(1)
        for found in chosen.sample(numbers, min(10, len(numbers))):
            path.write_bytes((text[: found.start()] + "5000" + text[found.end() :]).encode())
            yield f"{name}: {found[0]} at {found.start()} = 5000"
        _put_back(path, content)


def empty_boxes(tree: Tree) -> Iterator[str]:
    for name in (name for name in tree.annotations if name.endswith(".json")):
        path = tree.root / name
        content = path.read_bytes()
        for box in ("[5, 5, 0, 0]", "[5, 5, -3, 4]", "[5000, 5000, 10, 10]", "[0, 0, 1e7, 1e7]"):
            damaged, count = re.subn(r'("bbox"|"bounding_box"): \[[^\]]*\]', rf"\1: {box}", content.decode())
            if count:
                path.write_bytes(damaged.encode())
                yield f"{name}: all boxes {box}"
        _put_back(path, content)


RECORD_DAMAGES = (missing_picture, damaged_picture, empty_boxes)
DAMAGES = (
    cut_short,
    not_text,
    wrong_json_values,
    wrong_text_values,
    wrong_names,
    missing_picture,
    damaged_picture,
    points_outside,
    empty_boxes,
)
