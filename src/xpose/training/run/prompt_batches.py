"""A batch as the network and the losses take it: prompts out of names and cut-outs, targets in their order.

Shape letters as in `xpose.model.types`; n cut-outs.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from xpose.data.loading.batches import Batch, Shot, Target
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

Key = tuple[str, str]  # of a kind: see `Kind.key`
_NAMELESS = 0.05  # share of one-class pictures asked for "object"


@dataclass(frozen=True)
class PromptBatch:
    """What the network is asked in one step, and the targets in the order of the prompts."""

    prompts: PromptEmbeddings  # words, or examples; of a combined step the words
    examples: PromptEmbeddings | None  # of a combined step
    targets: TargetBatch


def normalised(images: Tensor, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> Tensor:
    """RGB bytes [B, 3, h, w] as the backbone takes them, or a tower with another normalisation."""
    centre, spread = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in (mean, std))
    return (images.float() / 255 - centre) / spread


class PromptMaker:
    """Turns the names and cut-outs of every batch into prompts."""

    def __init__(
        self,
        model: XPose,
        text: TextEncoder,
        visual: ClipVisualPromptEncoder | None = None,
        synonyms: float = 0.3,
    ) -> None:
        """Take the encoders; `visual` is CLIP's, for networks that have no encoder of examples of their own.

        `synonyms` is the share of classes that are called by another of their names.
        """
        self.model, self.text, self.visual, self.synonyms = model, text, visual, synonyms
        self.wording = wording_for(model.config)

    def __call__(self, batch: Batch, *, seed: int = 0, vary: bool = True) -> PromptBatch:
        """The prompts of a batch; what is drawn depends on `seed`, the batch's step and the picture alone."""
        words = self._words(batch, seed, vary)
        targets = TargetBatch.of(batch.targets, batch.sizes, self._device)
        if batch.mode == "text" or not len(batch.crops):
            return PromptBatch(words, None, targets)
        examples = self._examples(batch, words)
        if batch.mode == "visual":
            return PromptBatch(examples, None, targets)
        return PromptBatch(words, examples, targets)

    def project(self, asked: PromptBatch) -> ProjectedPrompts:
        """The prompts in the network's width; of words and examples together the mean, as at inference."""
        projected = self.model.project(asked.prompts)
        if asked.examples is None:
            return projected
        other = self.model.project(asked.examples)
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
        shots = [(key, shot) for key, shown in batch.shots.items() for shot in shown]
        counts = [len(shot.points) for _, shot in shots]
        points = pad_sequence([shot.points for _, shot in shots], batch_first=True).to(self._device)
        places, visible = points[..., :2] / batch.crops.shape[-1], points[..., 2] > 0
        pictures = batch.crops[[shot.row for _, shot in shots]].to(self._device)
        if self.model.visual_prompts is not None:
            real = torch.arange(points.shape[1]) < torch.tensor(counts)[:, None]
            maps = self.model.backbone(normalised(pictures))
            objects, keypoints = self.model.visual_prompts(maps, places, visible, real.to(self._device))
        else:
            objects, keypoints = self._through_clip(pictures, places, visible, counts)
        by_key = _averaged(shots, objects.float(), keypoints.float(), visible)
        return _with_examples(words, batch.targets, by_key)

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
        embeddings: dict[int, tuple[Tensor, Tensor]] = {}
        for count in sorted(set(counts)):
            rows = [row for row, points_of_row in enumerate(counts) if points_of_row == count]
            objects, keypoints = self.visual(pictures[rows], points[rows, :count], visible[rows, :count])
            keypoints = torch.nn.functional.pad(keypoints, (0, 0, 0, points.shape[1] - count))
            embeddings |= zip(rows, zip(objects, keypoints, strict=True), strict=True)
        in_order = [embeddings[row] for row in range(len(counts))]
        return torch.stack([row for row, _ in in_order]), torch.stack([rows for _, rows in in_order])


def _averaged(
    shots: Sequence[tuple[Key, Shot]], objects: Tensor, keypoints: Tensor, visible: Tensor
) -> dict[Key, tuple[Tensor, dict[str, Tensor]]]:
    """For each kind its object embedding, and that of every keypoint that some example shows, by name."""
    result = {}
    for key in dict.fromkeys(key for key, _ in shots):
        rows = [row for row, (other, _) in enumerate(shots) if other == key]
        names = list(dict.fromkeys(name for row in rows for name in shots[row][1].kind.names))
        # Sets may label other points of a kind: each example's points are brought to the columns of all names.
        column = torch.zeros(len(rows), len(names), dtype=torch.long, device=objects.device)
        seen = torch.zeros(len(rows), len(names), dtype=torch.bool, device=objects.device)
        for number, row in enumerate(rows):
            own = shots[row][1].kind.names
            columns = [names.index(name) for name in own]
            column[number, columns] = torch.arange(len(own), device=objects.device)
            seen[number, columns] = visible[row, : len(own)]
        picked = keypoints[rows].gather(1, column[..., None].expand(-1, -1, keypoints.shape[-1]))
        embedding, points = average_shots(objects[rows], picked, seen)
        shown = seen.any(0).tolist()
        result[key] = (embedding, {name: points[i] for i, name in enumerate(names) if shown[i]})
    return result


def _with_examples(
    words: PromptEmbeddings, targets: Sequence[Target], by_key: Mapping[Key, tuple[Tensor, dict[str, Tensor]]]
) -> PromptEmbeddings:
    """Embeddings of words with examples in their place; what no example shows stays a word."""
    objects, keypoints = words.objects.clone(), words.keypoints.clone()
    for picture, target in enumerate(targets):
        for number, asked in enumerate(target.asked):
            if asked.kind.key not in by_key:
                continue
            objects[picture, number], by_name = by_key[asked.kind.key]
            places = [place for place, name in enumerate(asked.kind.names) if name in by_name]
            if places:
                embeddings = torch.stack([by_name[asked.kind.names[place]] for place in places])
                keypoints[picture, int(words.keypoint_set[picture, number]), places] = embeddings
    return replace(words, objects=objects, keypoints=keypoints)
