"""Fingerprints of pictures, and what they find."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from xpose.data.collection.leaks import NEAR, Prints, PrintStore, Side, find_leaks, print_picture, shared_groups
from xpose.data.synthetic.scenes import generate


@pytest.fixture(scope="module")
def drawn() -> list[Image.Image]:
    return [Image.fromarray(pixels) for pixels, _ in generate(11, 12, (240, 180))]


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def bits(first: bytes, second: bytes) -> int:
    return (int.from_bytes(first, "big") ^ int.from_bytes(second, "big")).bit_count()


def smaller(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2))


def compressed(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=60)
    return Image.open(stream)


@pytest.mark.parametrize("change", [smaller, compressed, lambda image: image.convert("L")])
def test_changed_copies_look_the_same_and_others_do_not(tmp_path: Path, drawn: list[Image.Image], change) -> None:
    own = [print_picture(saved(tmp_path / f"{k}.png", image)) for k, image in enumerate(drawn)]
    copies = [print_picture(saved(tmp_path / f"c{k}.png", change(image))) for k, image in enumerate(drawn)]
    for k, first in enumerate(own):
        for j, second in enumerate(copies):
            assert first is not None
            assert second is not None
            assert (bits(first.look, second.look) <= NEAR) == (k == j)
            assert first.file != second.file


def test_a_mirrored_copy_is_found(tmp_path: Path, drawn: list[Image.Image]) -> None:
    first = print_picture(saved(tmp_path / "a.png", drawn[0]))
    second = print_picture(saved(tmp_path / "b.png", drawn[0].transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    assert first is not None
    assert second is not None
    assert bits(first.look, second.look) > 3 * NEAR
    assert bits(first.mirrored, second.look) <= NEAR


def test_flat_and_broken_pictures(tmp_path: Path) -> None:
    flat = print_picture(saved(tmp_path / "flat.png", Image.new("RGB", (64, 64), (90, 90, 90))))
    assert flat is not None
    assert flat.look == b"", "a plain colour looks like every other plain colour"
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    assert print_picture(tmp_path / "broken.jpg") is None
    assert print_picture(tmp_path / "missing.jpg") is None


def side(looks: dict[str, bytes]) -> Side:
    made = Side()
    for name, look in looks.items():
        made.add(name, Prints(name.encode().ljust(16), look, bytes(255 - byte for byte in look)))
    return made


@given(st.binary(min_size=32, max_size=32), st.sets(st.integers(0, 255), max_size=40))
def test_every_pair_within_the_limit_is_found_and_no_other(look: bytes, flipped: set[int]) -> None:
    other = int.from_bytes(look, "big")
    for bit in flipped:
        other ^= 1 << bit
    found = find_leaks(side({"t": look}), side({"e": other.to_bytes(32, "big")}))
    assert [(leak.how, leak.bits) for leak in found] == ([("same look", len(flipped))] if len(flipped) <= NEAR else [])


def test_leaks_agree_with_a_plain_comparison() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (40, 32), dtype=np.uint8)
    noisy = base ^ ((rng.uniform(size=base.shape) < 0.35) * (1 << rng.integers(0, 8, base.shape))).astype(np.uint8)
    train = {f"t{k:02}": row.tobytes() for k, row in enumerate(base)}
    evaluation = {f"e{k:02}": row.tobytes() for k, row in enumerate(noisy)}
    plain = {(t, e) for t, a in train.items() for e, b in evaluation.items() if bits(a, b) <= NEAR}
    assert 5 < len(plain) < 40
    found = find_leaks(side(train), side(evaluation))
    assert {(leak.train, leak.evaluation) for leak in found} == plain
    assert [leak.train for leak in found] == sorted(leak.train for leak in found)


def test_the_same_file_counts_before_the_same_look() -> None:
    both = Prints(b"x" * 16, bytes(range(32)), bytes(32))
    train, evaluation = Side(), Side()
    train.add("a", both)
    evaluation.add("b", both)
    (leak,) = find_leaks(train, evaluation)
    assert leak.how == "same file"


def test_nothing_and_unread_pictures() -> None:
    empty = Side()
    empty.add("gone.jpg", None)
    assert find_leaks(empty, Side()) == []
    assert empty.unread == ["gone.jpg"]
    assert find_leaks(side({"t": bytes(32)}), empty) == []


def test_groups_on_both_sides() -> None:
    train, evaluation = Side(), Side()
    for group in ("walk", "walk", "run"):
        train.add("a", None, group)
    for group in ("walk", "sit", None):
        evaluation.add("b", None, group)
    assert shared_groups(train, evaluation) == {"walk": (2, 1)}


def test_the_store_reads_a_picture_once_until_it_changes(tmp_path: Path, drawn: list[Image.Image], monkeypatch) -> None:
    read: list[Path] = []

    def counted(path: Path) -> Prints | None:
        read.append(path)
        return print_picture(path)

    monkeypatch.setattr("xpose.data.collection.leaks.print_picture", counted)
    paths = [saved(tmp_path / f"{k}.png", image) for k, image in enumerate(drawn[:3])]
    asked = [*paths, tmp_path / "missing.png"]
    store = PrintStore(tmp_path / "work/prints.sqlite")
    first = list(store.prints(asked))
    store.close()
    assert [found is None for found in first] == [False, False, False, True]
    store = PrintStore(tmp_path / "work/prints.sqlite")
    assert list(store.prints(asked)) == first
    assert read == paths, "the second time nothing was read"
    saved(paths[1], smaller(drawn[5]))
    again = list(store.prints(asked))
    store.close()
    assert again[1] != first[1]
    assert read == [*paths, paths[1]]


def test_a_damaged_store_is_made_anew(tmp_path: Path, drawn: list[Image.Image]) -> None:
    (tmp_path / "prints.sqlite").write_bytes(b"this is no database" * 100)
    store = PrintStore(tmp_path / "prints.sqlite")
    path = saved(tmp_path / "a.png", drawn[0])
    assert list(store.prints([path])) == [print_picture(path)]
    store.close()


def test_several_processes_find_the_same(tmp_path: Path, drawn: list[Image.Image]) -> None:
    paths = [saved(tmp_path / f"{k}.png", image) for k, image in enumerate(drawn)]
    store = PrintStore(tmp_path / "prints.sqlite", workers=2)
    assert list(store.prints(paths)) == [print_picture(path) for path in paths]
    store.close()
