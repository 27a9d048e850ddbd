"""The public detector: pictures and prompts in, poses out.

Letters: L classes, G groups of the network, N poses kept, K keypoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from xpose.errors import ConfigError, PromptError
from xpose.inference.candidates import Candidates, Party, candidates_of, joined, poses_of, sigmas_of
from xpose.inference.competing_classes import beside, parties, with_namesakes
from xpose.inference.encoded import EncodedImage
from xpose.inference.encoding import EncodedClass, PromptEncoder, assemble
from xpose.inference.postprocess import (
    bars,
    check_share,
    suppress_boxes,
    suppress_poses,
    thresholds_for,
)
from xpose.inference.preprocess import batch, to_input
from xpose.model import XPose
from xpose.model.checkpoints.calibration import Calibration
from xpose.model.types import ImageFeatures, LevelGeometry, Predictions
from xpose.pictures.reading import read_picture
from xpose.prompts import TextPrompt, as_prompts
from xpose.results import Poses


@dataclass(frozen=True)
class Rules:
    """What is kept of the network's answer."""

    threshold: float | Mapping[str, float] | None
    keypoint_threshold: float | None
    nms: float | Literal["weights"] | None
    nms_oks: float | None
    max_instances: int | None
    rivals: Sequence[str] | Literal["weights"] | None


class Detector:
    """Finds prompted objects and their keypoints. Made by `xpose.load()`; may be used from several threads.

    Attributes:
        model: the network.
        prompts: its prompt encoder.
        name: where the weights came from.
        calibration: how its scores are read.
    """

    def __init__(
        self,
        model: XPose,
        prompts: PromptEncoder,
        name: str,
        calibration: Calibration = Calibration(),  # noqa: B008 - frozen
    ) -> None:
        self.model, self.prompts, self.name, self.calibration = model, prompts, name, calibration

    def calibrated(self, calibration: Calibration) -> Detector:
        """The same network with another calibration; this detector stays as it is."""
        return Detector(self.model, self.prompts, self.name, calibration)

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self.model.heads.norm.weight.device

    def detect(
        self,
        images: Any,
        prompts: Any = None,
        *,
        per_image: Iterable[Any] | None = None,
        threshold: float | Mapping[str, float] | None = None,
        keypoint_threshold: float | None = None,
        nms: float | Literal["weights"] | None = "weights",
        nms_oks: float | None = None,
        max_instances: int | None = None,
        rivals: Sequence[str] | Literal["weights"] | None = "weights",
        batch_size: int = 1,
    ) -> Any:
        """Find every prompted object.

        Args:
            images: one picture (path, PIL, array, tensor, or an `EncodedImage`) gives Poses; a list gives a list; an
                iterator gives an iterator that reads as it goes.
            prompts: what to look for in all of them: words ("person, horse"), a prompt, or a list with one per class.
                Several classes compete: a place goes to the one farthest above the weights' threshold for it. With
                rivals (see there) those that are like none of them, as faces and hands, do not compete with the others.
            per_image: instead of `prompts`, one of those for each picture.
            threshold: keep objects whose score is higher; one number, numbers by class name, or None for the numbers
                that came with the weights (`limits` tells them).
            keypoint_threshold: points whose confidence is lower get visibility 0; None for the weights' number.
            nms: of boxes that overlap by more than this, of whatever class, only the best stays; None keeps all,
                "weights" takes the number that came with the weights.
            nms_oks: of poses more alike than this (object keypoint similarity) only the best stays; None keeps all.
            max_instances: at most this many poses per picture, best first.
            rivals: names of classes that stand silently beside the prompts, so that less is found that is none of what
                was asked for. Those alike to a class that is asked for do not count. Classes that are like none of them
                are asked apart and without any. "weights" takes those that came with the weights.
            batch_size: pictures that go through the network together. Those of other sizes are padded, which moves
                points a little; 1 is the most exact.

        Raises:
            PromptError: a prompt cannot be understood, or the counts of prompts and pictures differ.
            ImageError: a picture cannot be read.
            ConfigError: an option is out of range.
        """
        rules = _checked(Rules(threshold, keypoint_threshold, nms, nms_oks, max_instances, rivals), batch_size)
        if (prompts is None) == (per_image is None):
            raise PromptError(
                'Give either prompts for all pictures or per_image, one for each. E.g. detect(image, "dog").'
            )
        self._rivals(rules)  # faults of theirs show before the first picture is read
        if _is_single(images):
            asked = self.encode_prompts(prompts) if per_image is None else None
            results = self._stream([images], asked, per_image, rules, 1)
            return next(results)
        if prompts is not None:
            prompts = self.encode_prompts(prompts)  # once, and faults show before the first picture is read
        if isinstance(images, Sequence):
            if per_image is not None:
                per_image = list(per_image)
                if len(per_image) != len(images):
                    raise PromptError(
                        f"Got {len(images)} pictures and {len(per_image)} prompts. per_image needs one for each."
                    )
            return list(self._stream(images, prompts, per_image, rules, batch_size))
        return self._stream(images, prompts, per_image, rules, batch_size)

    def encode_prompts(self, prompts: Any) -> list[EncodedClass]:
        """Prompts as tokens; what `detect` takes as well, without any cost there."""
        return [self.prompts.encode(prompt) for prompt in as_prompts(prompts)]

    def encode_image(self, image: Any) -> EncodedImage:
        """Run the prompt-free part of the network once, to prompt the same picture many times."""
        return self._encode_batch([image])[0]

    @torch.inference_mode()
    def _encode_batch(self, images: Sequence[Any]) -> list[EncodedImage]:
        """Each picture by itself where there is one; see `_detect_batch` for several."""
        return [self._encoded(*self._inputs([image])) for image in images]

    def _inputs(self, images: Sequence[Any]) -> tuple[Tensor, Tensor | None, list[tuple[np.ndarray, Path | None]]]:
        pictures = [read_picture(image) for image in images]
        config = self.model.config
        inputs = [to_input(pixels, config.image_short, config.image_long) for pixels, _ in pictures]
        tensor, mask = batch(inputs)
        dtype = self.model.heads.norm.weight.dtype
        moved = None if mask is None else mask.to(self.device)
        return tensor.to(self.device, dtype), moved, pictures

    def _encoded(self, tensor: Tensor, mask: Tensor | None, pictures: list) -> EncodedImage:
        features = self.model.encode_image(tensor, mask)
        pixels, path = pictures[0]
        return EncodedImage(features, pixels.shape[:2], path)

    def _stream(
        self, images: Iterable[Any], asked: Any, per_image: Iterable[Any] | None, rules: Rules, batch_size: int
    ) -> Iterator[Poses]:
        pictures = iter(images)
        own = None if per_image is None else iter(per_image)
        while group := list(islice(pictures, batch_size)):
            if own is None:
                classes = [asked] * len(group)
            else:
                classes = [self.encode_prompts(prompt) for prompt in islice(own, len(group))]
                if len(classes) < len(group):
                    raise PromptError("per_image ended before the pictures did. It needs one prompt for each picture.")
            yield from self._detect_batch(group, classes, rules)

    @torch.inference_mode()
    def _detect_batch(self, images: list[Any], classes: list[list[EncodedClass]], rules: Rules) -> list[Poses]:
        if len(images) == 1:
            single = images[0] if isinstance(images[0], EncodedImage) else self.encode_image(images[0])
            encoded, features = [single], single.features
        elif any(isinstance(image, EncodedImage) for image in images):
            return [self._detect_batch([i], [c], rules)[0] for i, c in zip(images, classes, strict=True)]
        else:
            tensor, mask, pictures = self._inputs(images)
            features = self.model.encode_image(tensor, mask)
            nothing = ImageFeatures(tensor[:0], tensor[:0], LevelGeometry((), None, tensor[:0]))
            encoded = [EncodedImage(nothing, pixels.shape[:2], path) for pixels, path in pictures]
        results = []
        for image, asked, found in zip(encoded, classes, self._found(features, encoded, classes, rules), strict=True):
            results.append(poses_of(found, self._kept(found, asked, rules), image, asked, self._least(rules)))
        return results

    def _found(
        self, features: ImageFeatures, images: list[EncodedImage], classes: list[list[EncodedClass]], rules: Rules
    ) -> list[Candidates]:
        """The candidates of each picture. Every party of its classes goes through the decoders once."""
        rivals = self._rivals(rules)
        known: dict[int, list[Party]] = {}
        for asked in classes:
            if id(asked) not in known:
                known[id(asked)] = [self._party(asked, n, rules) for n in parties(asked, rivals)]
        split = [known[id(asked)] for asked in classes]
        found: list[list[Candidates]] = [[] for _ in classes]
        for turn in range(max(map(len, split))):
            now = [own[min(turn, len(own) - 1)] for own in split]  # who is done is asked again, for nothing
            predictions = self._decode(features, now, rules)
            for b, own in enumerate(split):
                if turn < len(own):
                    found[b].append(candidates_of(predictions, b, images[b], now[b], self.calibration))
        return [joined(some) for some in found]

    def _party(self, asked: list[EncodedClass], numbers: list[int], rules: Rules) -> Party:
        own = [asked[n] for n in numbers]
        usual = bars([one.names.label for one in own], self._thresholds(own, rules), self.calibration.temperature)
        return Party(np.array(numbers), own, beside(own, self._rivals(rules)), usual)

    def _decode(self, features: ImageFeatures, asked: list[Party], rules: Rules) -> Predictions:
        prompts = assemble([one.together for one in asked], [one.bars for one in asked])
        return self.model.decode(features, prompts, instances=self._groups(rules))

    def limits(
        self,
        prompts: Any,
        threshold: float | Mapping[str, float] | None = None,
        rivals: Sequence[str] | Literal["weights"] | None = "weights",
    ) -> dict[str, float]:
        """The score that objects have to pass in `detect` with the same options, by the name of their class.

        Raises:
            PromptError: a prompt cannot be understood.
            ConfigError: an option is out of range.
        """
        rules = _checked(Rules(**{**_NO_LIMITS, "threshold": threshold, "rivals": rivals}), 1)
        classes = self.encode_prompts(prompts)
        return dict(zip((one.names.label for one in classes), self._limits(classes, rules).tolist(), strict=True))

    def _limits(self, classes: list[EncodedClass], rules: Rules) -> np.ndarray:
        """What each class's score has to pass, [L]."""
        return thresholds_for([one.names.label for one in classes], rules.threshold, self._thresholds(classes, rules))

    def _thresholds(self, classes: list[EncodedClass], rules: Rules) -> Mapping[str, float]:
        """Those of the weights, for words that mean the same as well."""
        return with_namesakes(self.calibration.thresholds, classes, self._names(rules), self._rivals(rules))

    def _rivals(self, rules: Rules) -> Tensor:
        return self.prompts.objects(self._names(rules))

    def _names(self, rules: Rules) -> tuple[str, ...]:
        names = self.calibration.rivals if isinstance(rules.rivals, str) else rules.rivals
        return tuple(names or ())

    def _groups(self, rules: Rules) -> int | None:
        usual = self.model.config.instances
        return None if rules.max_instances is None else max(usual, rules.max_instances)

    def _least(self, rules: Rules) -> float:
        asked = rules.keypoint_threshold
        return self.calibration.keypoint_threshold if asked is None else asked

    def _kept(self, candidates: Candidates, classes: list[EncodedClass], rules: Rules) -> np.ndarray:
        """Numbers of the candidates that pass the rules, best first."""
        limits = self._limits(classes, rules)
        order = np.argsort(-candidates.scores, kind="stable")
        order = order[candidates.scores[order] > limits[candidates.chosen[order]]]
        if rules.nms is not None:
            overlap = self.calibration.nms if rules.nms == "weights" else rules.nms
            order = suppress_boxes(candidates.boxes, order, overlap)
        if rules.nms_oks is not None:
            sigmas = sigmas_of(classes, candidates.xy.shape[1])[candidates.chosen]
            order = suppress_poses(candidates.xy, candidates.confidence, candidates.boxes, order, sigmas, rules.nms_oks)
        return order[: rules.max_instances]

    @torch.inference_mode()
    def similarity(self, image: Any, prompt: Any, **options: Any) -> Similarity:
        """How like the prompt's words (or examples) each found object and each of its points is.

        The cosine between the last decoder layer's query and the prompt token that the network compares it with: the
        enhanced object token for objects, the projected keypoint token for points. Options are those of `detect`; the
        default threshold is 0, without rivals, so that weak matches show as well.
        """
        rules = _checked(Rules(**{**_NO_LIMITS, **options}), 1)
        classes = self.encode_prompts(prompt)
        encoded = image if isinstance(image, EncodedImage) else self.encode_image(image)
        party = self._party(classes, [*range(len(classes))], rules)
        found = self._decode(encoded.features, [party], rules)
        candidates = candidates_of(found, 0, encoded, party, self.calibration)
        kept = self._kept(candidates, classes, rules)
        poses = poses_of(candidates, kept, encoded, classes, self._least(rules))
        objects = found.object_cosine[0].float().cpu().numpy()
        points = found.keypoint_cosine[0].float().cpu().numpy()[kept][:, : poses.xy.shape[1]]
        return Similarity(poses, objects[kept, candidates.chosen[kept]], points)

    def face_points(self, image: Any, kind: int = 68, *, category: str = "face") -> np.ndarray:
        """Points of the best face in a picture, [K, 2] in pixels, for animation programs in the style of LivePortrait.

        Args:
            image: as for `detect`.
            kind: 68 (people and drawings) or 9 (animals).
            category: whose face, e.g. "cat face".

        Raises:
            ConfigError: another kind.
            PromptError: there is no face at all (never with threshold 0, unless the picture is empty of tokens).
        """
        skeletons = {9: "animal_face", 68: "face"}
        if kind not in skeletons:
            raise ConfigError(f"kind is {kind!r}. It must be 9 (animal faces) or 68.")
        prompt = TextPrompt(category, skeleton=skeletons[kind])
        found = self.detect(image, prompt, threshold=0.0, max_instances=1, rivals=None)
        if not len(found):
            raise PromptError(f'No "{category}" was found in the picture. Crop it closer, or name another category.')
        return found.xy[0].copy()


@dataclass(frozen=True)
class Similarity:
    """Found objects and how like the prompt they are, in −1..1."""

    poses: Poses
    objects: np.ndarray  # [N]
    keypoints: np.ndarray  # [N, K], NaN beyond a class's own points


_NO_LIMITS: dict[str, Any] = {
    "threshold": 0.0,
    "keypoint_threshold": None,
    "nms": "weights",
    "nms_oks": None,
    "max_instances": None,
    "rivals": None,
}


def _is_single(images: Any) -> bool:
    """Whether this is one picture rather than several."""
    if isinstance(images, (str, Path, Image.Image, EncodedImage)):
        return True
    if isinstance(images, np.ndarray):
        return True
    if isinstance(images, Tensor):
        return images.ndim < 4 or images.shape[0] == 1
    return not isinstance(images, Iterable)


def _checked(rules: Rules, batch_size: int) -> Rules:
    """The rules, or an error that names the one that is out of range."""
    for what, value in (
        ("keypoint_threshold", rules.keypoint_threshold),
        ("nms", None if rules.nms == "weights" else rules.nms),
        ("nms_oks", rules.nms_oks),
    ):
        if value is not None:
            check_share(what, value)
    if rules.threshold is not None and not isinstance(rules.threshold, Mapping):
        check_share("threshold", rules.threshold)
    own = rules.rivals is None or (isinstance(rules.rivals, str) and rules.rivals == "weights")
    if not own and not _are_names(rules.rivals):
        raise ConfigError(f'rivals is {rules.rivals!r}. It must be a list of names, "weights" or None.')
    for what, count in (("max_instances", rules.max_instances), ("batch_size", batch_size)):
        if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
            raise ConfigError(f"{what} is {count!r}. It must be a whole number of at least 1.")
    return rules


def _are_names(value: object) -> bool:
    plain = isinstance(value, Sequence) and not isinstance(value, str)
    return plain and all(isinstance(one, str) and one.strip() for one in value)  # type: ignore[attr-defined]
