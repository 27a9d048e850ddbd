"""Prepare a batch for the network and the losses: prompts from names and cut-outs, targets in their order.

Networks that read words through CLIP get the paper's sentence, "a [style] photo of a [object]'s [part]'s [keypoint]",
with style, object and part dropped at random, so that they also know the bare "a photo of left eye" of inference.
Our own networks read bare names, as at inference. Shape letters as in `xpose.model.types`; n cut-outs.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from xpose.data.loading.batches import Batch, Shot, Target
from xpose.data.loading.samples import Kind
from xpose.errors import TrainingError, XPoseError
from xpose.inference.preprocess import MEAN, STD
from xpose.model import PromptEmbeddings, XPose
from xpose.model.prompting import ClipTextEncoder, ClipVisualPromptEncoder, TextEncoder
from xpose.model.prompting.clip import average_shots
from xpose.model.prompting.picture import MEAN as CLIP_MEAN
from xpose.model.prompting.picture import STD as CLIP_STD
from xpose.model.types import ProjectedPrompts
from xpose.training.objective.targets import TargetBatch
from xpose.training.run.settings import MovingAverage
from xpose.vocabulary import (
    bare_object_text,
    find_category,
    hierarchical_text,
    load_skeleton,
    released_keypoint_text,
    released_object_text,
)

Key = tuple[str, str]  # of a kind: see `Kind.key`
NAMELESS = 0.05  # share of the pictures with one class that are prompted with "object"
SYNONYMS = 0.3  # share of the classes that are named by a synonym
DROPPED = 0.5  # probability of omitting each of style, object and part in CLIP's sentence; never the keypoint


@dataclass(frozen=True)
class PromptBatch:
    """The prompts of one step, and the targets in their order."""

    prompts: PromptEmbeddings  # words, or examples; the words in a combined step
    examples: PromptEmbeddings | None  # in a combined step
    targets: TargetBatch


def normalised(images: Tensor, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> Tensor:
    """Normalise RGB bytes [B, 3, h, w] for the backbone, or for a tower with its own mean and std."""
    centre, spread = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in (mean, std))
    return (images.float() / 255 - centre) / spread


@dataclass(frozen=True)
class Wording:
    """Texts of names for a text encoder. With `rng` None nothing is random, as at inference."""

    clip: bool

    def of_object(self, name: str, style: str | None, rng: random.Random | None) -> str:
        """The text for an object of this name, sometimes with the picture's style."""
        return (released_object_text if self.clip else bare_object_text)(name, _kept(style, rng))

    def of_keypoints(self, kind: Kind, name: str, style: str | None, rng: random.Random | None) -> list[str]:
        """The texts for the keypoints; one random draw for all, so that they differ in the keypoint only."""
        if not self.clip:
            return list(kind.names)
        style, owner = _kept(style, rng), _kept(name, rng)
        with_parts = rng is not None and rng.random() >= DROPPED
        texts = []
        for point, (alias, part) in zip(kind.names, _aliases_and_parts(kind), strict=True):
            shown = part if with_parts and part not in (None, "whole", point) else None
            bare = style is None and owner is None and shown is None
            texts.append(
                released_keypoint_text(alias) if bare else hierarchical_text(point, part=shown, of=owner, style=style)
            )
        return texts


def _kept(word: str | None, rng: random.Random | None) -> str | None:
    return word if word and rng is not None and rng.random() >= DROPPED else None


def _aliases_and_parts(kind: Kind) -> list[tuple[str, str | None]]:
    """For each point its name in the released checkpoint and its part; its own name if it is unknown."""
    try:
        points = {point.name: (point.alias or point.name, point.part) for point in load_skeleton(kind.skeleton).points}
    except XPoseError:  # a user's own skeleton
        points = {}
    return [points.get(name, (name, None)) for name in kind.names]


def _synonym(category: str, rng: random.Random) -> str:
    entry = find_category(category)
    return rng.choice(entry.also) if entry is not None and entry.also and rng.random() < SYNONYMS else category


class PromptMaker:
    """Turns the names and cut-outs of every batch into prompts."""

    def __init__(self, model: XPose, text: TextEncoder, visual: ClipVisualPromptEncoder | None = None) -> None:
        """Take the encoders; `visual` is CLIP's, for networks without their own example encoder."""
        self.model, self.text, self.visual = model, text, visual
        self.wording = Wording(clip=model.config.prompt_encoder == "clip")

    def __call__(self, batch: Batch, *, seed: int = 0) -> PromptBatch:
        """The prompts of a batch; random choices depend only on `seed`, the batch's step and the picture."""
        words = self._words(batch, seed)
        targets = TargetBatch.of(batch.targets, batch.sizes, self._device)
        if batch.mode == "text" or not len(batch.crops):
            return PromptBatch(words, None, targets)
        examples = self._examples(batch, words)
        return PromptBatch(examples, None, targets) if batch.mode == "visual" else PromptBatch(words, examples, targets)

    def project(self, asked: PromptBatch) -> ProjectedPrompts:
        """The prompts in the network's width; words and examples are averaged, as at inference."""
        words = self.model.project(asked.prompts)
        if asked.examples is None:
            return words
        examples = self.model.project(asked.examples)
        objects, keypoints = words.objects + examples.objects, words.keypoints + examples.keypoints
        return replace(words, objects=objects / 2, keypoints=keypoints / 2)

    def _words(self, batch: Batch, seed: int) -> PromptEmbeddings:
        texts = []  # for every picture and every kind in its prompt: the texts of the kind and its points
        for target in batch.targets:
            rng = random.Random(f"{seed}/{batch.step}/{target.source}/{target.file}")
            names = [_synonym(entry.kind.category, rng) for entry in target.asked]
            if len(names) == 1 and target.asked[0].present and rng.random() < NAMELESS:
                names = ["object"]
            wording, style = self.wording, target.style
            texts.append(
                [
                    (wording.of_object(name, style, rng), wording.of_keypoints(entry.kind, name, style, rng))
                    for name, entry in zip(names, target.asked, strict=True)
                ]
            )
        # Each text once: a trained tower processes all of them together.
        distinct = list(dict.fromkeys(text for row in texts for name, points in row for text in (name, *points)))
        text = self.text
        embeddings = text(distinct) if isinstance(text, ClipTextEncoder) else torch.from_numpy(text.encode(distinct))
        number = {text: row for row, text in enumerate(distinct)}
        objects = [embeddings[[number[name] for name, _ in row]] for row in texts]
        keypoints = [[embeddings[[number[text] for text in points]] for _, points in row] for row in texts]
        return PromptEmbeddings.from_lists(objects, keypoints).to(self._device)

    @property
    def _device(self) -> torch.device:
        return self.model.heads.norm.weight.device

    def _examples(self, batch: Batch, words: PromptEmbeddings) -> PromptEmbeddings:
        """The words' embeddings, replaced by those of examples for kinds that have examples."""
        shots = [(key, shot) for key, examples in batch.shots.items() for shot in examples]
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
        """CLIP's embeddings of examples, grouped by number of points, since points attend to each other."""
        if self.visual is None:
            raise TrainingError(
                f"{self.model.config.name} reads example pictures through CLIP's image tower, which the run lacks. "
                "Train with words alone (prompting.visual=0, prompting.combined=0), or pass visual=."
            )
        if pictures.shape[-1] != self.visual.size:
            raise TrainingError(
                f"The examples have sides of {pictures.shape[-1]} pixels, this CLIP takes {self.visual.size}. Set "
                f"prompting.examples.side={self.visual.size}."
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
    """For each kind its object embedding, and by name those of all keypoints shown in an example."""
    result = {}
    for key in dict.fromkeys(key for key, _ in shots):
        rows = [row for row, (other, _) in enumerate(shots) if other == key]
        names = list(dict.fromkeys(name for row in rows for name in shots[row][1].kind.names))
        # Sets can label different points of a kind, so each example's points are mapped to columns of all names.
        column = torch.zeros(len(rows), len(names), dtype=torch.long, device=objects.device)
        seen = torch.zeros(len(rows), len(names), dtype=torch.bool, device=objects.device)
        for number, row in enumerate(rows):
            columns = [names.index(name) for name in shots[row][1].kind.names]
            column[number, columns] = torch.arange(len(columns), device=objects.device)
            seen[number, columns] = visible[row, : len(columns)]
        picked = keypoints[rows].gather(1, column[..., None].expand(-1, -1, keypoints.shape[-1]))
        embedding, points = average_shots(objects[rows], picked, seen)
        shown = seen.any(0).tolist()
        result[key] = (embedding, {name: points[i] for i, name in enumerate(names) if shown[i]})
    return result


def _with_examples(
    words: PromptEmbeddings, targets: Sequence[Target], by_key: Mapping[Key, tuple[Tensor, dict[str, Tensor]]]
) -> PromptEmbeddings:
    """Replace embeddings of words by those of examples; those that no example shows are kept."""
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


class Towers:
    """CLIP's encoders in training, next to a network that uses them for prompts.

    The example encoder adds two small parts (for the positions of points, and for hidden points), which are always
    trained; the towers are frozen unless `schedule.towers` gives them a rate. A copy is trained. The given encoders
    become its moving average and belong to the averaged network, which is tested and saved.
    """

    def __init__(self, text: TextEncoder, visual: ClipVisualPromptEncoder | None, *, whole: bool) -> None:
        """Copy the trained parts; `whole`: train the towers too, not only the added parts."""
        self.given_text = text
        self.whole = whole and isinstance(text, ClipTextEncoder)
        self.text: TextEncoder = copy.deepcopy(text) if self.whole else text
        self.visual = None if visual is None else _copied(visual, whole)
        self.learning = _parts(self.text, self.visual, whole).requires_grad_(True)
        self.given = _parts(text, visual, whole).requires_grad_(False)

    def average(self, decay: float) -> MovingAverage:
        """The moving average of the trained parts, kept in the given encoders."""
        average = MovingAverage(self.learning, decay)
        average.module = self.given.eval()
        return average

    def changed(self) -> None:
        """Clear the cache of the given text encoder after its weights have changed."""
        if self.whole and isinstance(self.given_text, ClipTextEncoder):
            self.given_text.cache.clear()


def tensors_to_keep(text: TextEncoder, visual: ClipVisualPromptEncoder | None, *, whole: bool) -> dict[str, Tensor]:
    """Tensors to save with the network, under the official names: all that training can change."""
    tensors = {} if visual is None else visual.state_dict_official()
    if not whole:
        return {name: value for name, value in tensors.items() if not name.startswith("clip_model.")}
    return tensors | (text.state_dict_official() if isinstance(text, ClipTextEncoder) else {})


def _copied(visual: ClipVisualPromptEncoder, whole: bool) -> ClipVisualPromptEncoder:
    if whole:
        return copy.deepcopy(visual)
    small = ClipVisualPromptEncoder(visual.tower)  # the tower itself is shared
    small.pos_proj, small.padding = copy.deepcopy(visual.pos_proj), copy.deepcopy(visual.padding)
    return small


def _parts(text: TextEncoder, visual: ClipVisualPromptEncoder | None, whole: bool) -> nn.ModuleDict:
    parts: dict[str, nn.Module] = {}
    if visual is not None:
        parts |= {"pos_proj": visual.pos_proj, "padding": visual.padding}
        parts |= {"visual": visual.tower} if whole else {}
    if whole and isinstance(text, ClipTextEncoder):
        parts["text"] = text.tower
    return nn.ModuleDict(parts)
