"""Targets: points by name, what counts as absent, and faults that are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.training.small_targets import HORSE, LabelledObject, chair, horse, target_batch, targets_of

from xpose.errors import TrainingError
from xpose.evaluation.metrics.oks_ap import OksAP
from xpose.records import Category
from xpose.training.objective.targets import TargetBatch
from xpose.vocabulary import list_skeletons, sigma_for


def one_picture(*objects: LabelledObject, **options: object) -> TargetBatch:
    return target_batch([targets_of(*objects, **options)])


def test_points_are_in_the_order_of_the_prompt() -> None:
    turned, straight = (one_picture(horse(10, 12), names=(names, ())) for names in (HORSE[::-1], HORSE))
    for name in ("keypoints", "visibility", "sigmas", "absent"):
        torch.testing.assert_close(getattr(turned, name), getattr(straight, name).flip(2))
    nose = HORSE.index("nose")
    assert straight.keypoints[0, 0, nose].tolist() == pytest.approx([14 / 96, 18 / 64])
    assert straight.visibility[0, 0].tolist() == [2, 1, 0, 2, 0]
    assert straight.sigmas[0, 0].tolist() == pytest.approx([sigma_for(name) for name in HORSE])


@pytest.mark.parametrize("whole", [False, True])
def test_what_a_missing_label_means(whole: bool) -> None:
    """Only in sets that label objects whole, and beside labelled points, it means that the point is not there."""
    found = one_picture(horse(10, 12), chair(60, 30), horse(5, 5, labelled=False), whole=whole)
    assert found.absent[0].tolist() == [[False, False, whole, False, True], [False] * 5, [False] * 5]
    assert found.has_presence.tolist() == [[True, True, False]]


def test_ignored_regions_follow_the_objects() -> None:
    """They end at the picture's edge; those of classes that are not asked for, or without an area, are left out."""
    crowd = LabelledObject((-5.0, 5.0, 30.0, 80.0), 1, ignore=True)
    strange, outside = replace(crowd, label=-1), replace(crowd, box=(-9.0, 5.0, -5.0, 80.0))
    found = one_picture(strange, outside, crowd, horse(10, 12))
    assert found.ignored.tolist() == [[False, True]]
    assert found.classes.tolist() == [[0, 1]]
    assert found.boxes[0, 1].tolist() == pytest.approx([15 / 96, 34.5 / 64, 30 / 96, 59 / 64])
    assert found.real[0, 1].tolist() == [True] * 3 + [False] * 2
    assert not found.visibility[0, 1].any()
    assert not found.absent[0, 1].any()


def test_boxes_and_slots() -> None:
    found = one_picture(horse(10, 12), chair(60, 30))
    assert found.boxes[0, 0].tolist() == pytest.approx([22 / 96, 20 / 64, 24 / 96, 16 / 64])
    assert found.classes.tolist() == [[0, 1]]
    assert found.real[0].tolist() == [[True] * 5, [True] * 3 + [False] * 2]


def test_what_lies_outside_is_absent_and_never_clamped() -> None:
    item = LabelledObject((0, 0, 20, 20), 0, {"nose": (-1, 5, 2), "neck": (5, 64.5, 1), "left eye": (96, 64, 2)})
    found = one_picture(item)
    assert found.visibility[0, 0].tolist() == [0, 2, 0, 0, 0]
    assert found.absent[0, 0].tolist() == [True, False, False, False, True]
    assert not found.keypoints[0, 0, 0].any()


def test_boxes_end_at_the_edge_of_the_picture() -> None:
    found = one_picture(LabelledObject((-20, 32, 48, 80), 0))
    assert found.boxes[0, 0].tolist() == pytest.approx([0.25, 0.75, 0.5, 0.5])
    with pytest.raises(TrainingError, match="lies outside its picture"):
        one_picture(LabelledObject((-20, 32, -5, 80), 0))


def test_a_skeletons_own_sigmas_are_used_as_in_evaluation() -> None:
    """Those of the skeleton's file where it has the point; the rule for free names for all others."""
    skeleton = next(s for s in list_skeletons() if any(p.sigma != sigma_for(p.name) for p in s.points))
    names = (*skeleton.keypoints, "no point of it")
    found = one_picture(LabelledObject((0, 0, 9, 9), 0), names=(names, ()), skeletons=(skeleton.name, "none"))
    wanted = [*skeleton.sigmas, sigma_for("no point of it")]
    assert found.sigmas[0, 0].tolist() == pytest.approx(wanted)
    category = Category("thing", skeleton.name, names, ())
    assert OksAP().sigmas(category) == pytest.approx(wanted)
    assert wanted != [sigma_for(name) for name in names]


def test_a_batch_is_padded_and_says_what_is_to_be_found() -> None:
    crowd = replace(horse(40, 5), ignore=True)
    found = target_batch([targets_of(horse(10, 12, labelled=False), chair(60, 30), crowd), targets_of()])
    assert found.boxes.shape == (2, 3, 4)
    assert [c.tolist() for c in found.columns] == [[0, 1], []]
    assert found.most == 2
    assert found.present.tolist() == [[True] * 3, [False] * 3]
    assert found.ignored.tolist() == [[False, False, True], [False] * 3]
    assert found.has_points.tolist() == [[False, True, False], [False] * 3]
    assert found.boxes.isfinite().all()
    assert found.incomplete is None


def test_classes_that_are_labelled_in_part() -> None:
    full = targets_of(horse(10, 12))
    part = replace(full, asked=tuple(replace(asked, complete=row > 0) for row, asked in enumerate(full.asked)))
    incomplete = target_batch([full, part]).incomplete
    assert incomplete is not None
    assert incomplete.tolist() == [[False, False], [True, False]]


def test_a_batch_without_any_object() -> None:
    found = target_batch([targets_of()] * 2)
    assert found.boxes.shape == (2, 0, 4)
    assert found.most == 0


def test_a_point_that_its_class_does_not_have_is_refused_and_all_faults_are_named() -> None:
    picture = targets_of(chair(60, 30))
    points = torch.ones_like(picture.points)
    with pytest.raises(TrainingError, match=r"1 fault.*its object's class does not have"):
        target_batch([replace(picture, points=points)])
    with pytest.raises(TrainingError, match=r"2 fault.*outside its picture.*does not have"):
        target_batch([replace(picture, points=points, boxes=picture.boxes + 100)])
