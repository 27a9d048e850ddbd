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

from xpose.errors import ConfigError, PromptError
from xpose.inference.candidates import Candidates, DecodingPass, candidates_of, joined, poses_of, sigmas_of
from xpose.inference.competing_classes import beside, passes, with_synonyms
from xpose.inference.encoded import EncodedClass, EncodedImage, assemble
from xpose.inference.engines import Engine, RawInstances
from xpose.inference.options import DetectionOptions, OptionValues, check_count
from xpose.inference.postprocess import required_logits, suppress_boxes, suppress_poses, thresholds_for
from xpose.inference.preprocess import batch, to_input
from xpose.model.checkpoints.calibration import Calibration
from xpose.pictures.reading import read_picture
from xpose.prompts import Prompt, TextPrompt, as_prompts
from xpose.results import Poses

if TYPE_CHECKING:
    from torch import Tensor

    from xpose.inference.encoding import PromptEncoder
    from xpose.model import XPose

    Picture: TypeAlias = str | Path | Image.Image | np.ndarray | Tensor | EncodedImage
# What to look for: words ("person, horse"), a prompt, or a list of these with one entry per class.
Prompts: TypeAlias = "str | Prompt | EncodedClass | Iterable[Prompts]"

_ALL_MATCHES = DetectionOptions(threshold=0.0, rivals=())


@dataclass(frozen=True, eq=False)
class Rules:
    """The options of a call, worked out once."""

    options: DetectionOptions
    use: Calibration  # the stored one with the options over it
    rivals: np.ndarray  # [R, C] object tokens


class Detector:
    """Finds prompted objects and their keypoints. Made by `xpose.load()`; may be used from several threads.

    Attributes:
        engine: runs the network.
        prompts: encodes prompts for it.
        name: where the weights came from.
        calibration: how scores are read where `DetectionOptions` leave it open.
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
        """The same network with another calibration; this detector stays as it is."""
        return Detector(self.engine, self.prompts, self.name, calibration)

    @property
    def model(self) -> XPose:
        """The network, where PyTorch runs it."""
        from xpose.inference.engines.torch import TorchEngine

        assert isinstance(self.engine, TorchEngine), type(self.engine)
        return self.engine.model

    @property
    def device(self) -> object:
        """Where the network runs."""
        return self.engine.device

    @overload
    def detect(  # type: ignore[overload-overlap]  # a path is a sequence of texts, and one picture
        self,
        images: Picture,
        prompts: Prompts | None = None,
        *,
        per_image: Iterable[Prompts] | None = None,
        options: DetectionOptions = ...,
        batch_size: int = 1,
        **changes: Unpack[OptionValues],
    ) -> Poses: ...

    @overload
    def detect(  # type: ignore[overload-overlap]
        self,
        images: Sequence[Picture],
        prompts: Prompts | None = None,
        *,
        per_image: Iterable[Prompts] | None = None,
        options: DetectionOptions = ...,
        batch_size: int = 1,
        **changes: Unpack[OptionValues],
    ) -> list[Poses]: ...

    @overload
    def detect(
        self,
        images: Iterable[Picture],
        prompts: Prompts | None = None,
        *,
        per_image: Iterable[Prompts] | None = None,
        options: DetectionOptions = ...,
        batch_size: int = 1,
        **changes: Unpack[OptionValues],
    ) -> Iterator[Poses]: ...

    def detect(
        self,
        images: Picture | Iterable[Picture],
        prompts: Prompts | None = None,
        *,
        per_image: Iterable[Prompts] | None = None,
        options: DetectionOptions = DetectionOptions(),  # noqa: B008 - frozen
        batch_size: int = 1,
        **changes: Unpack[OptionValues],
    ) -> Poses | list[Poses] | Iterator[Poses]:
        """Find every prompted object.

        Args:
            images: one picture (path, PIL, array, tensor, or an `EncodedImage`) gives Poses; a list gives a list; an
                iterator gives an iterator that reads as it goes.
            prompts: what to look for in all of them: words ("person, horse"), a prompt, or a list with one per class.
                Several classes compete: a place goes to the one farthest above its stored threshold. With rivals (see
                there), classes that are like none of them, as faces and hands, do not compete with the others.
            per_image: instead of `prompts`, one of those for each picture.
            options: see `DetectionOptions`; what they leave at None has the value stored with the weights.
            batch_size: pictures that go through the network together. Those of other sizes are padded, which moves
                points a little; 1 is the most exact.
            **changes: single options, as in `detect(image, "dog", threshold=0.3)`: threshold, keypoint_threshold, nms,
                nms_oks, max_instances, rivals, side.

        Raises:
            PromptError: a prompt cannot be understood, or the counts of prompts and pictures differ.
            ImageError: a picture cannot be read.
            ConfigError: an option is out of range.
        """
        options = options.changed(**changes)
        check_count("batch_size", batch_size)
        if (prompts is None) == (per_image is None):
            raise PromptError(
                'Give either prompts for all pictures or per_image, one for each. E.g. detect(image, "dog").'
            )
        rules = self._rules(options)  # errors in rivals show before the first picture is read
        single = _is_single(images)
        pictures: Iterable[Picture] = [images] if single else images  # type: ignore[list-item, assignment]
        if isinstance(images, Sequence) and per_image is not None and not single:
            per_image = list(per_image)
            if len(per_image) != len(images):
                raise PromptError(
                    f"Got {len(images)} pictures and {len(per_image)} prompts. per_image needs one for each."
                )
        # Prompts for all pictures are encoded once, and errors show before the first picture is read.
        classes = None if prompts is None else self.encode_prompts(prompts)
        results = self._stream(pictures, classes, per_image, rules, batch_size)
        if single:
            return next(results)
        return list(results) if isinstance(images, Sequence) else results

    def encode_prompts(self, prompts: Prompts) -> list[EncodedClass]:
        """Prompts as tokens; `detect` takes them as well, and need not encode them again."""
        return [self.prompts.encode(prompt) for prompt in as_prompts(prompts)]

    def encode_image(self, image: Picture, *, side: int | None = None) -> EncodedImage:
        """Run the prompt-free part of the network once, to prompt the same picture many times.

        Args:
            image: as for `detect`.
            side: see `DetectionOptions`.
        """
        if isinstance(image, EncodedImage):
            return image
        pixels, path = read_picture(image)
        features = self.engine.encode(*batch([self._input(pixels, side)]))
        return EncodedImage(features, (pixels.shape[0], pixels.shape[1]), path)

    def _input(self, pixels: np.ndarray, side: int | None) -> np.ndarray:
        config = self.engine.config
        return to_input(pixels, side or config.image_short, side or config.image_long)

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
        if len(images) > 1 and any(isinstance(image, EncodedImage) for image in images):
            return [self._detect_batch([i], [c], rules)[0] for i, c in zip(images, classes, strict=True)]
        side = rules.options.side
        if len(images) == 1:
            encoded = [self.encode_image(images[0], side=side)]
            features = encoded[0].features
        else:
            read = [read_picture(image) for image in images]
            features = self.engine.encode(*batch([self._input(pixels, side) for pixels, _ in read]))
            encoded = [EncodedImage(None, (pixels.shape[0], pixels.shape[1]), path) for pixels, path in read]
        found = self._candidates(features, encoded, classes, rules)
        return [
            poses_of(candidates, _kept(candidates, asked, rules), image, asked, rules.use.keypoint_threshold)
            for candidates, image, asked in zip(found, encoded, classes, strict=True)
        ]

    def _candidates(
        self,
        features: object,
        images: list[EncodedImage],
        classes: list[list[EncodedClass]],
        rules: Rules,
    ) -> list[Candidates]:
        """The candidates of each picture. Its classes go through the decoders in one pass or two."""
        known = {
            id(asked): [_pass(asked, numbers, rules) for numbers in passes(asked, rules.rivals)]
            for asked in {id(asked): asked for asked in classes}.values()
        }
        split = [known[id(asked)] for asked in classes]
        parts: list[list[Candidates]] = [[] for _ in classes]
        for turn in range(max(map(len, split))):
            now = [own[min(turn, len(own) - 1)] for own in split]  # a picture that is done goes along for nothing
            answers = self._decode(features, now, rules)
            for b, own in enumerate(split):
                if turn < len(own):
                    parts[b].append(candidates_of(answers[b], images[b], now[b], rules.use))
        return [joined(own) for own in parts]

    def _decode(
        self, features: object, asked: list[DecodingPass], rules: Rules, *, with_cosines: bool = False
    ) -> list[RawInstances]:
        prompts = assemble([entry.with_rivals for entry in asked], [entry.required_logits for entry in asked])
        most = rules.options.max_instances
        groups = None if most is None else max(self.engine.config.instances, most)
        return self.engine.decode(features, prompts, groups, with_cosines=with_cosines)

    def limits(
        self,
        prompts: Prompts,
        *,
        options: DetectionOptions = DetectionOptions(),  # noqa: B008 - frozen
        **changes: Unpack[OptionValues],
    ) -> dict[str, float]:
        """The score that objects must exceed in `detect` with the same options, by the name of their class.

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
        """How like the prompt's words (or examples) each found object and each of its points is.

        The cosine between the last decoder layer's query and the prompt token that the network compares it with: the
        enhanced object token for objects, the projected keypoint token for points. Options are those of `detect`; by
        default the threshold is 0 and there are no rivals, so that weak matches show as well.
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

    def face_points(self, image: Picture, kind: int = 68, *, category: str = "face") -> np.ndarray:
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
        faces = self.detect(image, prompt, threshold=0.0, max_instances=1, rivals=())
        if not len(faces):
            raise PromptError(f'No "{category}" was found in the picture. Crop it closer, or name another category.')
        return faces.xy[0].copy()


@dataclass(frozen=True)
class Similarity:
    """Found objects and how like the prompt they are, in −1..1."""

    poses: Poses
    objects: np.ndarray  # [N]
    keypoints: np.ndarray  # [N, K], NaN beyond a class's own points


def _pass(asked: list[EncodedClass], numbers: list[int], rules: Rules) -> DecodingPass:
    classes = [asked[n] for n in numbers]
    labels = [entry.names.label for entry in classes]
    required = required_logits(labels, _thresholds(classes, rules), rules.use.temperature)
    return DecodingPass(np.array(numbers), classes, beside(classes, rules.rivals), required)


def _thresholds(classes: list[EncodedClass], rules: Rules) -> Mapping[str, float]:
    """The stored ones, for words that mean the same as well."""
    return with_synonyms(rules.use.thresholds, classes, rules.use.rivals, rules.rivals)


def _limits(classes: list[EncodedClass], rules: Rules) -> np.ndarray:
    """The score that objects of each class must exceed, [L]."""
    labels = [entry.names.label for entry in classes]
    return thresholds_for(labels, rules.options.threshold, _thresholds(classes, rules))


def _kept(candidates: Candidates, classes: list[EncodedClass], rules: Rules) -> np.ndarray:
    """Numbers of the candidates that the rules keep, best first."""
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
    if isinstance(images, (str, Path, Image.Image, EncodedImage, np.ndarray)):
        return True
    if type(images).__module__.split(".")[0] == "torch":
        shape = images.shape  # type: ignore[attr-defined]
        return len(shape) < 4 or shape[0] == 1
    return not isinstance(images, Iterable)
