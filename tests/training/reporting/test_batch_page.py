"""`--look` shows what the loop sees: in every picture and example the drawn points lie on the dots they belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.pools import bare_pool, category, colours, dot_pool

from xpose.data.loading.examples import ExampleSettings
from xpose.data.loading.loader import Loader, Prompting
from xpose.data.loading.samples import Sample
from xpose.data.loading.transforms import NO_COLOURS, Augmentation
from xpose.training.objective.closed_set import ClosedLoader
from xpose.training.reporting.batch_page import Seen, look, seen
from xpose.vocabulary import flip_name

PERSON = category("person", "person")


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Loader:
    """Pictures with a dot of its own colour at every point, with all that moves them and nothing that recolours."""
    pool = dot_pool(tmp_path_factory.mktemp("dots"), [(240, 180), (180, 240), (200, 200), (300, 150)], radius=6)
    return Loader(
        pool,
        batch=2,
        augmentation=Augmentation(size=224, scale=(0.8, 1.4), rotation=25.0, colours=NO_COLOURS),
        prompting=Prompting(0.5, 0.0, examples=ExampleSettings(side=224, colours=NO_COLOURS)),
    )


def misplaced(one: Seen, mirrored: bool) -> list[str]:
    """The points under which the picture does not have their colour; what was a left eye is a right one in a mirror."""
    shades = colours(PERSON.keypoints)
    wrong = []
    for figure in one.figures:
        for name, (x, y) in zip(figure.names, figure.xy, strict=True):
            height, width = one.pixels.shape[:2]
            found = one.pixels[min(int(y), height - 1), min(int(x), width - 1)].astype(float)
            nearest = min(shades, key=lambda other: np.abs(shades[other] - found).sum())
            if nearest != (flip_name(name) if mirrored else name):
                wrong.append(f"{name}: {found} is {nearest}")
    return wrong


def test_points_lie_on_their_dots_after_flips_crops_and_turns(loader: Loader) -> None:
    mirrored = checked = cut = 0
    for number in range(12):
        batch = loader.batch(number)
        pictures, shots = seen(batch)
        for one, target in zip(pictures, batch.targets, strict=True):
            assert one.present == ("person",)
            in_mirror = float(np.linalg.det(target.matrix[:, :2].numpy())) < 0
            assert misplaced(one, in_mirror) == []
            checked += sum(len(figure.names) for figure in one.figures)
            cut += sum(len(figure.names) < len(PERSON.keypoints) for figure in one.figures)
            mirrored += in_mirror
        for one in shots:  # an example does not say whether it is mirrored, but is so as a whole
            assert [] in (misplaced(one, False), misplaced(one, True))
            checked += len(one.figures[0].names)
    assert checked > 200
    assert mirrored >= 3, "some were mirrored"
    assert cut >= 3, "some points were cropped away"
    assert {loader.mode(number) for number in range(12)} == {"text", "visual"}


def test_a_wrong_flip_would_be_seen(loader: Loader) -> None:
    """The check above can fail: with left and right exchanged the dots do not fit."""
    batch = next(batch for batch in map(loader.batch, range(9)) if len(batch.targets[0].labels))
    in_mirror = float(np.linalg.det(batch.targets[0].matrix[:, :2].numpy())) < 0
    assert misplaced(seen(batch)[0][0], not in_mirror)


def test_the_pages(loader: Loader, tmp_path: Path) -> None:
    page = look(loader, tmp_path, pictures=6)
    text = page.read_text("utf-8")
    batches = [seen(loader.batch(number)) for number in range(3)]
    shots = sum(len(examples) for _, examples in batches)
    assert shots
    assert text.count("<img ") == 6 + shots
    assert "asked: <b>person</b>" in text
    assert "left wrist" in text
    assert "example 1" in text
    with Image.open(tmp_path / "look.png") as sheet:
        assert sheet.size == (4 * 428, 2 * 428)


def test_classes_of_other_sets_are_neither_present_nor_known_to_be_absent() -> None:
    cow, person = category("cow", "ap10k"), PERSON
    pool = bare_pool({"a": [[cow], [cow]], "b": [[person], [person]]})
    loader = ClosedLoader(pool, batch=2)
    for number in range(len(pool)):
        pixels = np.zeros((64, 64, 3), np.uint8)
        sample = Sample(pixels, pool.labels(number), pool.set_name(number), "x", None, np.eye(2, 3), False, (number,))
        asked = loader._asked(loader.plan.step(0), sample, 0, [])
        assert [entry.kind.category for entry in asked] == ["cow", "person"]
        mine = pool.set_name(number) == "a"
        assert [(entry.present, entry.complete) for entry in asked] == [(mine, mine), (not mine, not mine)]
