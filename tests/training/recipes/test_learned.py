"""What a run learns: the labelled keypoints of its pool, and what its starting weights knew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.data.pools import category, record

from xpose.data.loading.pool import Pool
from xpose.model.checkpoints.categories import LearnedCategory, Quality
from xpose.records import Category, Instance
from xpose.training.recipes.learned import learned_categories


def labelled(of: Category, *names: str, crowd: bool = False) -> Instance:
    points = {name: (10 + 5 * number, 20, 2) for number, name in enumerate(names)}
    return Instance(of, (5, 5, 80, 80), points, iscrowd=crowd)


PERSON = category("person", "person", ("nose", "left eye", "right eye", "left ear"))
ATHLETE = category("person", "lspet_person", ("head top", "neck"))
PAINTED = replace(PERSON, keypoints=("nose", "left wrist"), edges=(("nose", "left wrist"), ("left wrist", "nose")))
BOXED = Category("person", "people", ())
TRUCK = Category("truck", "truck", ())
SHAPE = category("babacevo", "drawn_shape", ("spot 1", "spot 2"))
UNSEEN = category("cat", "animal")


def test_what_a_pool_teaches() -> None:
    shown = [
        labelled(ATHLETE, "head top", "neck"),
        labelled(ATHLETE, "neck"),
        labelled(ATHLETE, "neck"),
        labelled(PERSON, "nose", "left eye"),
        labelled(PAINTED, "nose", "left wrist"),
        labelled(BOXED),
        labelled(TRUCK),
        labelled(SHAPE, "spot 1"),
        labelled(UNSEEN, crowd=True),
    ]
    before = [
        LearnedCategory("person", "lspet_person", ("neck",), objects=99, quality=Quality({"text PCK@0.2": 0.9}, 9)),
        LearnedCategory("dog", "ap10k", ("nose",), objects=7, quality=Quality({"text PCK@0.2": 0.9}, 9)),
        LearnedCategory("person", "mine", ("nose",), objects=1000),
        LearnedCategory("truck", "trucks of theirs", ("left headlight",)),
    ]
    pool = Pool((record(f"{n}.png", (100, 100), [one]), Path(f"{n}.png")) for n, one in enumerate(shown))
    assert learned_categories(pool, before) == (
        LearnedCategory("dog", "ap10k", ("nose",), objects=7),
        # The skeleton of the vocabulary comes first, then those of the pool, then those of the starting weights.
        LearnedCategory("person", "person", ("nose", "left eye", "left wrist"), (("left wrist", "nose"),), 2),
        LearnedCategory("person", "lspet_person", ("head top", "neck"), objects=3),
        LearnedCategory("person", "mine", ("nose",), objects=1000),
        LearnedCategory("truck", "trucks of theirs", ("left headlight",)),
    )
