"""A batch as the network and the losses take it: prompts out of names and cut-outs, targets in their order.

Shape letters as in `xpose.model.types`; n cut-outs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from xpose.data.loading.batches import Batch, Target
from xpose.data.loading.samples import Kind
from xpose.errors import TrainingError
from xpose.inference.preprocess import MEAN, STD
from xpose.model import PromptEmbeddings, XPose
from xpose.model.prompting import ClipVisualPromptEncoder, TextEncoder, average_shots
from xpose.model.prompting.picture import MEAN as CLIP_MEAN
from xpose.model.prompting.picture import STD as CLIP_STD
from xpose.model.types import ProjectedPrompts
from xpose.training.objective.targets import TargetBatch
from xpose.training.run.wording import wording_for
from xpose.vocabulary import find_category

_NAMELESS = 0.05  # share of one-class pictures asked for "object"


@dataclass(frozen=True)
class Question:
    """What the network is asked in one step."""

    prompts: PromptEmbeddings  # words, or examples; of a combined step the words
    examples: PromptEmbeddings | None  # of a combined step
    targets: TargetBatch


def normalised(images: Tensor, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> Tensor:
    """RGB bytes [B, 3, h, w] as the backbone takes them, or a tower with another normalisation."""
    centre, spread = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in (mean, std))
    return (images.float() / 255 - centre) / spread


class Asker:
    """Makes the question of every batch."""

    def __init__(
        self,
        model: XPose,
        text: TextEncoder,
        visual: ClipVisualPromptEncoder | None = None,
        synonyms: float = 0.3,
    ) -> None:
        """Set up.

        Args:
            model: the network; an example encoder of its own is trained with it.
            text: the encoder of words.
            visual: CLIP's encoder of examples, for networks without one of their own.
            synonyms: share of classes that are called by another of their names.
        """
        self.model, self.text, self.visual, self.synonyms = model, text, visual, synonyms
        self.wording = wording_for(model.config)

    def __call__(self, batch: Batch, *, seed: int = 0, vary: bool = True) -> Question:
        """The question of a batch; what is drawn depends on `seed`, the batch's step and the picture alone."""
        words = self._words(batch, seed, vary)
        targets = TargetBatch.of(batch.targets, batch.sizes, self._device)
        if batch.mode == "text" or not len(batch.crops):
            return Question(words, None, targets)
        examples = self._examples(batch, words)
        if batch.mode == "visual":
            return Question(examples, None, targets)
        return Question(words, examples, targets)

    def project(self, question: Question) -> ProjectedPrompts:
        """The prompts in the network's width; of words and examples together the mean, as at inference."""
        projected = self.model.project(question.prompts)
        if question.examples is None:
            return projected
        other = self.model.project(question.examples)
        return replace(
            projected,
            objects=(projected.objects + other.objects) / 2,
            keypoints=(projected.keypoints + other.keypoints) / 2,
        )

    def _words(self, batch: Batch, seed: int, vary: bool) -> PromptEmbeddings:
        texts = []  # for every picture and every kind that it is asked for: its own text and those of its points
        for target in batch.targets:
            rng = random.Random(f"{seed}/{batch.step}/{target.source}/{target.file}") if vary else None
            names = [entry.kind.category for entry in target.asked]
            if rng is not None:
                names = [self._called(name, rng) for name in names]
            if rng is not None and len(names) == 1 and target.asked[0].present and rng.random() < _NAMELESS:
                names = ["object"]
            texts.append(
                [
                    (
                        self.wording.of_object(name, target.style, rng),
                        self.wording.of_keypoints(entry.kind, name, target.style, rng),
                    )
                    for name, entry in zip(names, target.asked, strict=True)
                ]
            )
        # Each text once: a tower that is trained runs over all of them together.
        every = list(dict.fromkeys(text for row in texts for own, points in row for text in (own, *points)))
        known = dict(zip(every, self.text.encode(every), strict=True))
        none = self.text.encode([])
        objects = [torch.stack([known[own] for own, _ in row]) for row in texts]
        keypoints = [
            [torch.stack([known[text] for text in points]) if points else none for _, points in row] for row in texts
        ]
        return PromptEmbeddings.from_lists(objects, keypoints).to(self._device)

    def _called(self, category: str, rng: random.Random) -> str:
        found = find_category(category)
        if found is None or not found.also or rng.random() >= self.synonyms:
            return category
        return rng.choice(found.also)

    @property
    def _device(self) -> torch.device:
        return self.model.heads.norm.weight.device

    def _examples(self, batch: Batch, words: PromptEmbeddings) -> PromptEmbeddings:
        """The words' embeddings with those of examples in their place, wherever a kind has examples."""
        shots = [(key, shot) for key, found in batch.shots.items() for shot in found]
        widest = max(len(shot.points) for _, shot in shots)
        points, visible = np.zeros((len(shots), widest, 2), np.float32), np.zeros((len(shots), widest), bool)
        side = batch.crops.shape[-1]
        rows = [shot.row for _, shot in shots]
        for number, (_, shot) in enumerate(shots):
            values = shot.points.cpu().numpy()
            points[number, : len(values)] = values[:, :2] / side
            visible[number, : len(values)] = values[:, 2] > 0
        real = np.arange(widest) < np.array([len(shot.points) for _, shot in shots])[:, None]
        device = self._device
        placed, seen, kept = (torch.from_numpy(values).to(device) for values in (points, visible, real))
        pictures = batch.crops[rows].to(device)
        if self.model.visual_prompts is not None:
            maps = self.model.backbone(normalised(pictures))
            objects, keypoints = self.model.visual_prompts(maps, placed, seen, kept)
        else:
            objects, keypoints = self._through_clip(pictures, placed, seen, [len(shot.points) for _, shot in shots])
        by_key = self._averaged(shots, objects.float(), keypoints.float(), seen)
        return _replaced(words, batch.targets, by_key)

    def _through_clip(
        self, pictures: Tensor, points: Tensor, visible: Tensor, counts: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """CLIP's embeddings of examples; those with as many points together, since every point sees the others."""
        if self.visual is None:
            raise TrainingError(
                f"{self.model.config.name} takes example pictures through CLIP's image tower, and the run was given "
                "none. Train with words alone (prompting.visual=0, prompting.combined=0), or pass visual=."
            )
        if pictures.shape[-1] != self.visual.size:
            raise TrainingError(
                f"The examples are cut out with sides of {pictures.shape[-1]} pixels; this CLIP sees "
                f"{self.visual.size}. Set prompting.examples.side={self.visual.size}."
            )
        pictures = normalised(pictures, CLIP_MEAN, CLIP_STD)
        found: dict[int, tuple[Tensor, Tensor]] = {}
        for count in sorted(set(counts)):
            rows = [row for row, own in enumerate(counts) if own == count]
            objects, keypoints = self.visual(pictures[rows], points[rows, :count], visible[rows, :count])
            keypoints = torch.nn.functional.pad(keypoints, (0, 0, 0, points.shape[1] - count))
            found |= zip(rows, zip(objects, keypoints, strict=True), strict=True)
        ordered = [found[row] for row in range(len(counts))]
        return torch.stack([one for one, _ in ordered]), torch.stack([many for _, many in ordered])

    def _averaged(
        self, shots: Sequence, objects: Tensor, keypoints: Tensor, visible: Tensor
    ) -> dict[tuple[str, str], tuple[Tensor, dict[str, Tensor]]]:
        """For each kind its object embedding, and that of every keypoint that some example shows, by name."""
        result = {}
        for key in dict.fromkeys(key for key, _ in shots):
            mine = [number for number, (other, _) in enumerate(shots) if other == key]
            names = list(dict.fromkeys(name for number in mine for name in shots[number][1].kind.names))
            column = torch.zeros(len(mine), len(names), dtype=torch.long, device=objects.device)
            seen = torch.zeros(len(mine), len(names), dtype=torch.bool, device=objects.device)
            for row, number in enumerate(mine):
                for place, name in enumerate(shots[number][1].kind.names):
                    column[row, names.index(name)] = place
                    seen[row, names.index(name)] = visible[number, place]
            picked = keypoints[mine].gather(1, column[..., None].expand(-1, -1, keypoints.shape[-1]))
            one, many = average_shots(objects[mine], picked, seen)
            shown = seen.any(0).tolist()
            result[key] = (one, {name: many[i] for i, name in enumerate(names) if shown[i]})
        return result


def _replaced(
    words: PromptEmbeddings,
    targets: Sequence[Target],
    by_key: dict[tuple[str, str], tuple[Tensor, dict[str, Tensor]]],
) -> PromptEmbeddings:
    """Embeddings of words with examples in their place; what no example shows stays a word."""
    objects = [list(row) for row in words.objects]
    keypoints = [[list(one) for one in row] for row in words.keypoints]
    for b, target in enumerate(targets):
        for number, entry in enumerate(target.asked):
            found = by_key.get(entry.kind.key)
            if found is None:
                continue
            objects[b][number] = found[0]
            kind: Kind = entry.kind
            which = int(words.keypoint_set[b, number])
            for place, name in enumerate(kind.names):
                if name in found[1]:
                    keypoints[b][which][place] = found[1][name]
    width = words.objects.shape[-1]
    points = [
        torch.stack([torch.stack(one) if one else words.objects.new_zeros(0, width) for one in row])
        for row in keypoints
    ]
    return replace(words, objects=torch.stack([torch.stack(row) for row in objects]), keypoints=torch.stack(points))
