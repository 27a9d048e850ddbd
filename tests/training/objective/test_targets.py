"""Targets: points by name, what counts as absent, and faults that are refused."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from tests.training.conftest import HORSE, NAMES, SIZE, SLOTS, chair, horse, targets_of

from xpose.data.loading.batches import Asked, Target
from xpose.data.loading.samples import Kind
from xpose.errors import TrainingError
from xpose.training import LabelledObject, TargetBatch, Targets
from xpose.vocabulary import sigma_for


def test_points_are_brought_into_the_order_of_the_prompt() -> None:
    turned = Targets.from_objects([horse(10, 12)], [HORSE[::-1]], SLOTS, SIZE)
    straight = Targets.from_objects([horse(10, 12)], [HORSE], SLOTS, SIZE)
    for name in ("keypoints", "visibility", "sigmas", "absent"):
        torch.testing.assert_close(getattr(turned, name), getattr(straight, name).flip(1))
    nose = HORSE.index("nose")
    assert straight.keypoints[0, nose].tolist() == pytest.approx([14 / 96, 18 / 64])
    assert straight.visibility[0].tolist() == [2, 1, 0, 2, 0]
    assert straight.sigmas[0].tolist() == pytest.approx([sigma_for(name) for name in HORSE])


def labels_of(*objects: LabelledObject, whole: bool) -> Target:
    """The same objects as a batch of the loader holds them."""
    kinds = [Kind.of(name, name, points) for name, points in zip(("horse", "chair"), NAMES, strict=True)]
    real = [item for item in objects if not item.ignore]
    regions = [item for item in objects if item.ignore]
    points = torch.zeros(len(real), SLOTS, 3)
    for row, item in enumerate(real):
        for place, name in enumerate(NAMES[item.label]):
            points[row, place] = torch.tensor(item.points.get(name, (0.0, 0.0, 0)))
    return Target(
        asked=tuple(Asked(kind, True, True) for kind in kinds),
        labels=torch.tensor([item.label for item in real], dtype=torch.int64),
        boxes=torch.tensor([item.box for item in real]).reshape(-1, 4),
        points=points,
        ignored=torch.tensor([item.box for item in regions]).reshape(-1, 4),
        ignored_labels=torch.tensor([item.label for item in regions], dtype=torch.int64),
        source="set",
        file="a.jpg",
        style=None,
        pictures=(0,),
        matrix=torch.eye(2, 3),
        whole=whole,
    )


@pytest.mark.parametrize("whole", [False, True])
def test_labels_of_a_batch_give_what_their_objects_give(whole: bool) -> None:
    outside = LabelledObject((80.0, 40.0, 110.0, 70.0), 0, {"nose": (90.0, 50.0, 2), "neck": (100.0, 60.0, 2)})
    plain = [replace(horse(10, 12), absent=frozenset()), chair(60, 30), outside]
    crowd = LabelledObject((-5.0, 5.0, 30.0, 80.0), 1, ignore=True)
    named = plain
    if whole:
        named = [replace(o, absent=frozenset(NAMES[o.label]) - set(o.points)) for o in plain]
    clipped = replace(crowd, box=(0.0, 5.0, 30.0, 64.0))
    wanted = targets_of(*named, clipped)
    found = Targets.from_labels(labels_of(*plain, crowd, whole=whole), SLOTS, SIZE)
    for field in fields(Targets):
        if field.name != "size":
            torch.testing.assert_close(getattr(found, field.name), getattr(wanted, field.name), msg=field.name)


def test_boxes_and_slots() -> None:
    found = targets_of(horse(10, 12), chair(60, 30))
    assert found.boxes[0].tolist() == pytest.approx([22 / 96, 20 / 64, 24 / 96, 16 / 64])
    assert found.classes.tolist() == [0, 1]
    assert found.real.tolist() == [[True] * 5, [True] * 3 + [False] * 2]


def test_what_lies_outside_is_absent_and_never_clamped() -> None:
    item = LabelledObject((0, 0, 20, 20), 0, {"nose": (-1, 5, 2), "neck": (5, 64.5, 1), "left eye": (96, 64, 2)})
    found = targets_of(item)
    assert found.visibility[0].tolist() == [0, 2, 0, 0, 0]
    assert found.absent[0].tolist() == [True, False, False, False, True]


def test_boxes_end_at_the_edge_of_the_picture() -> None:
    found = targets_of(LabelledObject((-20, 32, 48, 80), 0))
    assert found.boxes[0].tolist() == pytest.approx([0.25, 0.75, 0.5, 0.5])
    with pytest.raises(TrainingError, match="no area"):
        targets_of(LabelledObject((-20, 32, -5, 80), 0))


def test_a_skeletons_own_sigmas_are_used() -> None:
    sigmas = {name: 0.01 * (k + 1) for k, name in enumerate(HORSE)}
    found = targets_of(replace(horse(0, 0), sigmas=sigmas))
    assert found.sigmas[0].tolist() == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05])


def test_a_batch_is_padded_and_says_what_is_to_be_found() -> None:
    crowd = replace(horse(40, 5), ignore=True)
    found = TargetBatch.of(
        [targets_of(crowd, horse(10, 12, labelled=False), chair(60, 30)), Targets.empty(SLOTS, SIZE)]
    )
    assert found.boxes.shape == (2, 3, 4)
    assert [c.tolist() for c in found.columns] == [[1, 2], []]
    assert found.most == 2
    assert found.present.tolist() == [[True] * 3, [False] * 3]
    assert found.ignored.tolist() == [[True, False, False], [False] * 3]
    assert found.has_points.tolist() == [[True, False, True], [False] * 3]
    assert found.boxes.isfinite().all()


def test_a_batch_without_any_object() -> None:
    found = TargetBatch.of([Targets.empty(SLOTS, SIZE)] * 2)
    assert found.boxes.shape == (2, 0, 4)
    assert found.most == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": torch.zeros(1, 3)}, "boxes has shape (1, 3), not (1, 4)"),
        ({"classes": torch.zeros(2, dtype=torch.int64)}, "classes has shape (2,)"),
        ({"boxes": torch.tensor([[0.5, 0.5, 0.0, 0.2]])}, "no area"),
        ({"boxes": torch.tensor([[0.5, 1.5, 0.1, 0.2]])}, "outside the picture"),
        ({"boxes": torch.full((1, 4), float("nan"))}, "a box is not finite"),
        ({"keypoints": torch.full((1, 5, 2), float("nan"))}, "a labelled keypoint is not finite"),
        ({"visibility": torch.full((1, 5), 3)}, "not 0, 1 or 2"),
        ({"sigmas": torch.zeros(1, 5)}, "sigma"),
        ({"real": torch.zeros(1, 5, dtype=torch.bool)}, "slot that its class does not have"),
        ({"absent": torch.ones(1, 5, dtype=torch.bool)}, "both labelled and absent"),
        ({"classes": torch.tensor([-1])}, "negative"),
    ],
)
def test_faulty_targets_are_refused(change: dict, message: str) -> None:
    with pytest.raises(TrainingError) as error:
        replace(targets_of(horse(10, 12)), **change).check()
    assert message in str(error.value)
    assert "Targets.from_objects" in str(error.value)


def test_all_faults_are_named_at_once() -> None:
    bad = replace(targets_of(horse(10, 12)), boxes=torch.zeros(1, 4), sigmas=torch.zeros(1, 5))
    with pytest.raises(TrainingError, match=r"2 fault.*no area.*sigma"):
        bad.check()


def test_a_class_outside_the_prompt_or_too_many_points_are_refused() -> None:
    with pytest.raises(TrainingError, match="class 1 of a prompt with 1 classes"):
        Targets.from_objects([chair(0, 0)], [HORSE], SLOTS, SIZE)
    with pytest.raises(TrainingError, match="has 5 keypoints, the batch has 4 slots"):
        Targets.from_objects([horse(0, 0)], NAMES, 4, SIZE)
    with pytest.raises(TrainingError, match=r"\[5, 6\] keypoint slots"):
        TargetBatch.of([Targets.empty(5, SIZE), Targets.empty(6, SIZE)])
