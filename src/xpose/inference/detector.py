"""The public detector: pictures and prompts in, poses out.

Letters: L classes, G groups of the network, N poses kept, K keypoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Unpack, overload

import numpy as np
from PIL import Image

from xpose.errors import PromptError
from xpose.inference.competing_classes import beside, passes, with_synonyms
from xpose.inference.encoded import EncodedClass, EncodedImage, assemble
from xpose.inference.engines import Engine, RawInstances
from xpose.inference.options import DetectionOptions, OptionValues, check_count
from xpose.inference.postprocess import (
    Candidates,
    DecodingPass,
    candidates_of,
    joined,
    poses_of,
    required_logits,
    sigmas_of,
    suppress_boxes,
    suppress_poses,
    thresholds_for,
)
from xpose.inference.preprocess import batch, to_input
from xpose.model.checkpoints.calibration import Calibration
from xpose.pictures.reading import read_picture
from xpose.prompts import Prompt, as_prompts
from xpose.results import Poses

if TYPE_CHECKING:
    from xpose.inference.encoding import PromptEncoder
    from xpose.model import XPose
    from xpose.pictures.reading import PictureSource

    Picture: TypeAlias = PictureSource | EncodedImage
# What to look for: words ("person, horse"), a prompt, or a list of these with one entry per class.
Prompts: TypeAlias = "str | Prompt | EncodedClass | Iterable[Prompts]"

_DEFAULTS = DetectionOptions()
_ALL_MATCHES = DetectionOptions(threshold=0.0, rivals=())


class DetectArguments(OptionValues, total=False):
    """The keywords of `Detector.detect` besides pictures and prompts."""

    per_image: Iterable[Prompts] | None
    options: DetectionOptions
    batch_size: int


@dataclass(frozen=True, eq=False)
class Rules:
    """The options of a call and their values for these weights."""

    options: DetectionOptions
    use: Calibration  # the stored one, overridden by the options
    rivals: np.ndarray  # [R, C] object tokens


class Detector:
    """Finds prompted objects and their keypoints. Create it with `xpose.load()`; it is thread-safe.

    Attributes:
        engine: runs the network.
        prompts: encodes prompts for the engine.
        name: the source of the weights.
        calibration: used for `DetectionOptions` that are None.
    """

    def __init__(
        self,
        engine: Engine,
        prompts: PromptEncoder,
        name: str,
        calibration: Calibration = Calibration(),  # noqa: B008 - frozen
    ) -> None:
        self.engine, self.prompts, self.name, self.calibration = engine, prompts, name, calibration

    def calibrated(self, calibration: Calibration) -> Detector:
        """The same network with another calibration; this detector is unchanged."""
        return Detector(self.engine, self.prompts, self.name, calibration)

    @property
    def model(self) -> XPose:
        """The network, if PyTorch runs it."""
        from xpose.inference.engines.torch import TorchEngine

        assert isinstance(self.engine, TorchEngine), type(self.engine)
        return self.engine.model

    @overload
    def detect(  # type: ignore[overload-overlap]  # paths and bytes are sequences, and one picture
        self, images: Picture, prompts: Prompts | None = None, **arguments: Unpack[DetectArguments]
    ) -> Poses: ...

    @overload
    def detect(  # type: ignore[overload-overlap]
        self, images: Sequence[Picture], prompts: Prompts | None = None, **arguments: Unpack[DetectArguments]
    ) -> list[Poses]: ...

    @overload
    def detect(
        self, images: Iterable[Picture], prompts: Prompts | None = None, **arguments: Unpack[DetectArguments]
    ) -> Iterator[Poses]: ...

    def detect(
        self,
        images: Picture | Iterable[Picture],
        prompts: Prompts | None = None,
        *,
        per_image: Iterable[Prompts] | None = None,
        options: DetectionOptions = _DEFAULTS,
        batch_size: int = 1,
        **changes: Unpack[OptionValues],
    ) -> Poses | list[Poses] | Iterator[Poses]:
        """Find every prompted object.

        Args:
            images: one picture (path, bytes of a file, PIL, array, tensor, or an `EncodedImage`) gives Poses; a list
                gives a list; an iterator gives an iterator, which reads pictures when they are needed.
            prompts: what to look for in all pictures: words ("person, horse"), a prompt, or a list with one per class.
                Several classes compete: an object belongs to the one farthest above its stored threshold. With rivals,
                classes that are unlike all rivals, such as faces and hands, do not compete with the others.
            per_image: the prompts of each picture, instead of `prompts`.
            options: see `DetectionOptions`.
            batch_size: number of pictures per forward pass. Pictures of different sizes are padded, which moves points
                slightly; 1 is the most exact.
            **changes: single options, as in `detect(image, "dog", threshold=0.3)`.

        Raises:
            PromptError: a prompt cannot be understood, or the counts of prompts and pictures differ.
            ImageError: a picture cannot be read.
            ConfigError: an option is out of range.
        """
        options = options.changed(**changes)
        check_count("batch_size", batch_size)
        if (prompts is None) == (per_image is None):
            raise PromptError('Give either prompts for all pictures, as in detect(image, "dog"), or per_image.')
        rules = self._rules(options)
        single = _is_single(images)
        pictures: Iterable[Picture] = [images] if single else images  # type: ignore[list-item, assignment]
        if isinstance(images, Sequence) and per_image is not None and not single:
            per_image = list(per_image)
            if len(per_image) != len(images):
                raise PromptError(
                    f"Got {len(images)} pictures and {len(per_image)} prompts. per_image needs one for each."
                )
        # Errors in options and prompts are raised before the first picture is read.
        classes = None if prompts is None else self.encode_prompts(prompts)
        results = self._stream(pictures, classes, per_image, rules, batch_size)
        if single:
            return next(results)
        return list(results) if isinstance(images, Sequence) else results

    def encode_prompts(self, prompts: Prompts) -> list[EncodedClass]:
        """Encode prompts as tokens, which `detect` also accepts."""
        return [self.prompts.encode(prompt) for prompt in as_prompts(prompts)]

    def encode_image(self, image: Picture, *, side: int | None = None) -> EncodedImage:
        """Run the prompt-free part of the network once, to prompt the same picture many times."""
        if isinstance(image, EncodedImage):
            return image
        return self._encode([image], side)[0]

    def _encode(self, images: Sequence[PictureSource], side: int | None) -> list[EncodedImage]:
        """Encode pictures in one batch; every result holds the features of the whole batch."""
        config = self.engine.config
        read = [read_picture(image) for image in images]
        inputs = [to_input(pixels, side or config.image_short, side or config.image_long) for pixels, _ in read]
        features = self.engine.encode(*batch(inputs))
        return [EncodedImage(features, (pixels.shape[0], pixels.shape[1]), path) for pixels, path in read]

    def _stream(
        self,
        images: Iterable[Picture],
        classes: list[EncodedClass] | None,
        per_image: Iterable[Prompts] | None,
        rules: Rules,
        batch_size: int,
    ) -> Iterator[Poses]:
        pictures, prompts = iter(images), iter(per_image or ())
        while group := list(islice(pictures, batch_size)):
            if classes is not None:
                asked = [classes] * len(group)
            else:
                asked = [self.encode_prompts(prompt) for prompt in islice(prompts, len(group))]
                if len(asked) < len(group):
                    raise PromptError("per_image ended before the pictures did. It needs one prompt for each picture.")
            yield from self._detect_batch(group, asked, rules)

    def _detect_batch(self, images: list[Picture], classes: list[list[EncodedClass]], rules: Rules) -> list[Poses]:
        side = rules.options.side
        if len(images) == 1:
            encoded = [self.encode_image(images[0], side=side)]
        elif any(isinstance(image, EncodedImage) for image in images):
            return [self._detect_batch([i], [c], rules)[0] for i, c in zip(images, classes, strict=True)]
        else:
            encoded = self._encode(images, side)  # type: ignore[arg-type]  # none is encoded
        candidates = self._candidates(encoded, classes, rules)
        return [
            poses_of(of_image, _kept(of_image, asked, rules), image, asked, rules.use.keypoint_threshold)
            for of_image, image, asked in zip(candidates, encoded, classes, strict=True)
        ]

    def _candidates(
        self, images: list[EncodedImage], classes: list[list[EncodedClass]], rules: Rules
    ) -> list[Candidates]:
        """The candidates of each picture, whose classes are decoded in one or two passes."""
        passes_of = {
            id(asked): [_pass(asked, numbers, rules) for numbers in passes(asked, rules.rivals)]
            for asked in {id(asked): asked for asked in classes}.values()
        }
        image_passes = [passes_of[id(asked)] for asked in classes]
        parts: list[list[Candidates]] = [[] for _ in classes]
        for turn in range(max(map(len, image_passes))):
            # The last pass of a picture is repeated, and its result ignored, while others have further passes.
            current = [steps[min(turn, len(steps) - 1)] for steps in image_passes]
            answers = self._decode(images[0].features, current, rules)
            for b, steps in enumerate(image_passes):
                if turn < len(steps):
                    parts[b].append(candidates_of(answers[b], images[b], current[b], rules.use))
        return [joined(of_image) for of_image in parts]

    def _decode(
        self, features: object, asked: list[DecodingPass], rules: Rules, *, with_cosines: bool = False
    ) -> list[RawInstances]:
        prompts = assemble([entry.with_rivals for entry in asked], [entry.required_logits for entry in asked])
        most = rules.options.max_instances
        groups = None if most is None else max(self.engine.config.instances, most)
        return self.engine.decode(features, prompts, groups, with_cosines=with_cosines)

    def limits(
        self, prompts: Prompts, *, options: DetectionOptions = _DEFAULTS, **changes: Unpack[OptionValues]
    ) -> dict[str, float]:
        """The score that objects must exceed in `detect` with the same options, by class name.

        Raises:
            PromptError: a prompt cannot be understood.
            ConfigError: an option is out of range.
        """
        classes = self.encode_prompts(prompts)
        limits = _limits(classes, self._rules(options.changed(**changes))).tolist()
        return dict(zip((entry.names.label for entry in classes), limits, strict=True))

    def _rules(self, options: DetectionOptions) -> Rules:
        use = options.over(self.calibration)
        return Rules(options, use, self.prompts.objects(use.rivals))

    def similarity(
        self,
        image: Picture,
        prompt: Prompts,
        *,
        options: DetectionOptions = _ALL_MATCHES,
        **changes: Unpack[OptionValues],
    ) -> Similarity:
        """The similarity of each detected object and of its points to the prompt.

        This is the cosine between the last decoder layer's query and the prompt token that it is compared with: the
        enhanced object token for objects, the projected keypoint token for points. By default the threshold is 0 and
        there are no rivals, so that weak matches are included.
        """
        rules = self._rules(options.changed(**changes))
        classes = self.encode_prompts(prompt)
        encoded = self.encode_image(image, side=rules.options.side)
        asked = _pass(classes, [*range(len(classes))], rules)
        raw = self._decode(encoded.features, [asked], rules, with_cosines=True)[0]
        candidates = candidates_of(raw, encoded, asked, rules.use)
        kept = _kept(candidates, classes, rules)
        poses = poses_of(candidates, kept, encoded, classes, rules.use.keypoint_threshold)
        assert raw.object_cosine is not None
        assert raw.keypoint_cosine is not None
        points = raw.keypoint_cosine[kept][:, : poses.xy.shape[1]]
        return Similarity(poses, raw.object_cosine[kept, candidates.classes[kept]], points)


@dataclass(frozen=True)
class Similarity:
    """Detected objects and their similarity to the prompt, in −1..1."""

    poses: Poses
    objects: np.ndarray  # [N]
    keypoints: np.ndarray  # [N, K], NaN beyond a class's own points


def _pass(asked: list[EncodedClass], numbers: list[int], rules: Rules) -> DecodingPass:
    classes = [asked[n] for n in numbers]
    labels = [entry.names.label for entry in classes]
    required = required_logits(labels, _thresholds(classes, rules), rules.use.temperature)
    return DecodingPass(np.array(numbers), classes, beside(classes, rules.rivals), required)


def _thresholds(classes: list[EncodedClass], rules: Rules) -> Mapping[str, float]:
    """The stored thresholds, extended to synonyms of their classes."""
    return with_synonyms(rules.use.thresholds, classes, rules.use.rivals, rules.rivals)


def _limits(classes: list[EncodedClass], rules: Rules) -> np.ndarray:
    """The score that objects of each class must exceed, [L]."""
    labels = [entry.names.label for entry in classes]
    return thresholds_for(labels, rules.options.threshold, _thresholds(classes, rules))


def _kept(candidates: Candidates, classes: list[EncodedClass], rules: Rules) -> np.ndarray:
    """Indices of the candidates to keep, best first."""
    limits = _limits(classes, rules)
    order = np.argsort(-candidates.scores, kind="stable")
    order = order[candidates.scores[order] > limits[candidates.classes[order]]]
    order = suppress_boxes(candidates.boxes, order, rules.use.nms)
    if rules.use.nms_oks < 1:
        sigmas = sigmas_of(classes, candidates.xy.shape[1])[candidates.classes]
        order = suppress_poses(candidates.xy, candidates.confidence, candidates.boxes, order, sigmas, rules.use.nms_oks)
    return order[: rules.options.max_instances]


def _is_single(images: object) -> bool:
    """Whether this is one picture rather than several."""
    if isinstance(images, (str, bytes, Path, Image.Image, EncodedImage, np.ndarray)):
        return True
    if type(images).__module__.split(".")[0] == "torch":
        shape = images.shape  # type: ignore[attr-defined]
        return len(shape) < 4 or shape[0] == 1
    return not isinstance(images, Iterable)
