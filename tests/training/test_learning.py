"""The parts together: a tiny network learns one synthetic batch by heart, term by term."""

from __future__ import annotations

import dataclasses

import torch
from tests.model.conftest import random_images, random_prompts, tiny_config, tiny_nano_config
from tests.training.small_targets import AWAY, HORSE, LabelledObject, target_batch, targets_of

from xpose.model import PromptEmbeddings, XPose, XPoseConfig
from xpose.training.objective.denoising import DenoisingSettings, noised_objects
from xpose.training.objective.losses import Criterion, LossWeights
from xpose.training.run.settings import MovingAverage, Schedule

STEPS = 24
SHALLOW = {"encoder_layers": 1, "keypoint_layers": 2}
# So few steps are short: what counts little in a real run counts more here, so that it shows.
WEIGHTS = LossWeights(keypoint_alignment=10.0, visibility=5.0)


def animal(label: int, box: tuple[float, float, float, float], *, turned: bool = False) -> LabelledObject:
    """Four points at the corners of the middle, one of them hidden, and a neck that is not in the picture."""
    left, top, right, bottom = box
    x = [left + (right - left) * s for s in ((0.75, 0.25) if turned else (0.25, 0.75))]
    y = [top + (bottom - top) * s for s in (0.25, 0.75)]
    points = {"nose": (x[0], y[0], 2), "left eye": (x[1], y[0], 1), "right eye": (x[0], y[1], 2)}
    points["tail base"] = (x[1], y[1], 2)
    return LabelledObject(box, label, {**points, "neck": AWAY})


def learn(
    config: XPoseConfig, denoising: DenoisingSettings | None = None, seed: int = 0
) -> tuple[dict[str, float], dict[str, float]]:
    """The terms before and after learning one batch, with the same noise in every step."""
    torch.manual_seed(seed)
    model = XPose(config)
    objects, points = (t.float() for t in random_prompts(2, len(HORSE)))
    prompts = PromptEmbeddings.from_lists([objects, objects], [points, points])
    pairs = [[animal(0, (8, 8, 48, 40)), animal(1, (50, 20, 90, 60))], [animal(0, (30, 12, 80, 56), turned=True)]]
    targets = target_batch([targets_of(*objects, names=(HORSE, HORSE)) for objects in pairs])
    # Coarse sigmas: OKS has to tell a bad pose from a worse one.
    targets = dataclasses.replace(targets, sigmas=torch.full_like(targets.sigmas, 0.3))
    images = random_images(2, 64, 96).float()
    schedule = Schedule(rate=4e-3, backbone=1.0, reference_batch=0, warm_up=5)
    optimiser = torch.optim.AdamW(schedule.groups(model))
    average, criterion = MovingAverage(model), Criterion(WEIGHTS)
    noised = None
    if denoising is not None:
        noised = noised_objects(targets, prompts, denoising, torch.Generator().manual_seed(0))
    history = []
    for step in range(STEPS):
        schedule.set_rates(optimiser, step, STEPS)
        given = None if noised is None else noised.queries
        losses = criterion(model(images, prompts, with_reports=True, given=given), targets, noised)
        optimiser.zero_grad()
        losses["total"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimiser.step()
        average.update_parameters(model)
        history.append({name: value.item() for name, value in losses.items()})
    with torch.no_grad():
        averaged = criterion(average.module(images, prompts, with_reports=True), targets)
    assert averaged["total"] < 0.5 * history[0]["total"]
    return history[0], history[-1]


def test_a_few_steps_on_one_batch_lower_every_term() -> None:
    before, after = learn(tiny_config(**SHALLOW))
    assert {name: (before[name], after[name]) for name in before if not after[name] < before[name]} == {}
    assert after["total"] < 0.5 * before["total"]


def test_a_few_steps_with_denoising_lower_every_term_of_our_own_network() -> None:
    before, after = learn(tiny_nano_config(**SHALLOW), DenoisingSettings(queries=8, keypoint_runs=1))
    assert len([name for name in before if "@noised" in name]) == 2 * 3 + 2 * 7
    assert {name: (before[name], after[name]) for name in before if not after[name] < before[name]} == {}
    assert after["total"] < 0.5 * before["total"]
