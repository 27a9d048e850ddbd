"""Drawn shapes: many kinds, each with points of its own, the same for the same seed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from xpose.cli import main
from xpose.data.collection.store import CocoSet
from xpose.data.loading.pool import open_pool
from xpose.data.synthetic.shapes import MOST_POINTS, draw, invent, name_of, write_shapes
from xpose.errors import DataError


def records(folder):
    return list(CocoSet(folder / "train.json"))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs") / "deep"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, ending in enumerate(("png", "jpg", "webp")):
        Image.fromarray(rng.integers(0, 255, (90, 120, 3), np.uint8)).save(folder / f"{number}.{ending}")
    return folder.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photographs):
    folder = tmp_path_factory.mktemp("sets") / "shapes"
    counts = write_shapes(folder, 8, 3, seed=3, behind=[photographs], side=96)
    assert counts["train"].images == 24
    return folder


def test_the_same_seed_draws_the_same_and_kinds_do_not_depend_on_each_other(tmp_path, folder, photographs):
    write_shapes(tmp_path / "again", 8, 3, seed=3, behind=[photographs], side=96)
    assert (tmp_path / "again" / "train.json").read_bytes() == (folder / "train.json").read_bytes()
    write_shapes(tmp_path / "other", 8, 3, seed=4, behind=[photographs], side=96)
    assert (tmp_path / "other" / "train.json").read_bytes() != (folder / "train.json").read_bytes()
    write_shapes(tmp_path / "more", 12, 3, seed=3, behind=[photographs], side=96)
    few, many = (
        {one.category.name: one.category.keypoints for record in records(place) for one in record.instances}
        for place in (folder, tmp_path / "more")
    )
    assert len(many) == 12
    assert many.items() >= few.items()


def test_every_number_has_a_word_of_its_own():
    names = {name_of(number) for number in range(65536)}
    assert len(names) == 65536
    assert all(name.isalpha() for name in names)


def test_objects_of_a_kind_have_the_same_points_and_those_are_on_them(folder):
    points, seen = {}, 0
    for record in records(folder):
        for one in record.instances:
            names = points.setdefault(one.category.name, one.category.keypoints)
            assert names == one.category.keypoints == tuple(f"spot {i + 1}" for i in range(len(names)))
            assert 1 <= len(names) <= MOST_POINTS
            assert not (one.iscrowd and one.keypoints)
            x, y, width, height = one.box
            assert 0 <= x < x + width <= 96
            assert 0 <= y < y + height <= 96
            for px, py, v in one.keypoints.values():
                if v == 2:
                    seen += 1
                    assert x - 2 <= px <= x + width + 1, one
                    assert y - 2 <= py <= y + height + 1, one
    assert len(points) == 8
    assert seen > 60


def test_a_point_lies_where_its_part_is_painted():
    """An alone and upright object: what is drawn at a visible point is not the background."""
    found = checked = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        shape = invent(rng, "ba")
        pixels, (one,) = draw(rng, [shape], [], 128)
        x, y, width, height = one.box
        inside = pixels[int(y) : int(y + height) + 1, int(x) : int(x + width) + 1].reshape(-1, 3).astype(float)
        paints = np.array([part.paint for part in shape.parts], float)
        for px, py, v in one.keypoints.values():
            near = pixels[max(0, round(py) - 2) : round(py) + 3, max(0, round(px) - 2) : round(px) + 3].reshape(-1, 3)
            if v == 2 and len(near) and len(inside):
                checked += 1
                # Up to the light, which is the same for all channels, and the grain.
                found += any(
                    np.abs(colour / max(1.0, colour.max()) - paint / max(1.0, paint.max())).max() < 0.15
                    for colour in near.astype(float)
                    for paint in paints
                )
    assert checked > 80
    assert found > 0.95 * checked


def test_the_loader_reads_them(folder):
    pool = open_pool([folder], "train")
    assert len(pool) == 24
    assert len(pool.kinds) == 8


def test_what_cannot_be_drawn_is_refused(tmp_path, folder, photographs):
    with pytest.raises(DataError, match="not empty"):
        write_shapes(folder, 2, 1)
    with pytest.raises(DataError, match="at least one picture"):
        write_shapes(tmp_path / "a", 2, 0)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="no pictures"):
        write_shapes(tmp_path / "a", 2, 1, behind=[empty])
    (empty / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"cannot be read, .*broken\.jpg"):
        write_shapes(tmp_path / "a", 12, 2, behind=[empty])


def test_validation_pictures_and_damaged_ones_are_not_drawn_on(tmp_path, photographs):
    images = tmp_path / "mine" / "images"
    images.mkdir(parents=True)
    Image.new("RGB", (64, 64), (255, 0, 0)).save(images / "red.png")
    Image.new("RGB", (64, 64), (0, 255, 0)).save(images / "green.png")
    (images / "broken.png").write_bytes(b"no picture")
    (tmp_path / "mine" / "val.json").write_text('{"images": [{"file_name": "images/red.png"}]}')
    write_shapes(tmp_path / "out", 6, 2, behind=[tmp_path / "mine"], side=64)
    corners = [np.asarray(Image.open(p))[2, 2] for p in sorted((tmp_path / "out" / "pictures").iterdir())]
    assert sum(bool(g > 200 and r < 60) for r, g, _ in corners) >= 6
    assert not any(r > 200 and g < 60 for r, g, _ in corners)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert "photographs" in manifest["licence"], "what is drawn on photographs is not ours to give away"
    (tmp_path / "mine" / "val.json").write_text("{")
    with pytest.raises(DataError, match="which pictures must not"):
        write_shapes(tmp_path / "again", 2, 1, behind=[tmp_path / "mine"])


def test_the_command(tmp_path, capsys):
    assert main(["data", "shapes", "--out", str(tmp_path / "s"), "--kinds", "2", "--each", "1", "--side", "64"]) == 0
    assert "2 pictures" in capsys.readouterr().out
    assert main(["data", "shapes", "--out", str(tmp_path / "s")]) == 1
    assert "not empty" in capsys.readouterr().err


def test_webp_photographs_are_drawn_on(tmp_path):
    (tmp_path / "mine").mkdir()
    Image.new("RGB", (64, 64), (0, 255, 0)).save(tmp_path / "mine" / "green.webp")
    write_shapes(tmp_path / "out", 4, 2, behind=[tmp_path / "mine"], side=64)
    corners = [np.asarray(Image.open(p))[2, 2] for p in sorted((tmp_path / "out" / "pictures").iterdir())]
    assert sum(bool(g > 200 and r < 60) for r, g, _ in corners) >= 4
