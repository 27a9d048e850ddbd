"""The public detector: pictures and prompts in, poses out.

Letters: L classes, G groups of the network, N poses kept, K keypoints.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack, overload

import numpy as np
from PIL import Image

from xpose.errors import ConfigError, PromptError, XPoseWarning
from xpose.inference.competing_classes import beside, passes, with_synonyms
from xpose.inference.encoded import EncodedClass, EncodedImage, PreparedImage, assemble
from xpose.inference.engines import Engine, RawInstances
from xpose.inference.grouping import in_groups
from xpose.inference.known_boxes import Boxes, KnownBoxes, box_arrays, known_boxes
from xpose.inference.options import DetectionOptions, OptionValues, check_count
from xpose.inference.postprocess import (
    Candidates,
    DecodingPass,
    candidates_of,
    in_pixels,
    joined,
    poses_of,
    required_logits,
    sigmas_of,
    suppress_boxes,
    suppress_poses,
    thresholds_for,
)
from xpose.inference.preprocess import prepare
from xpose.model.checkpoints.calibration import Calibration
from xpose.pictures.reading import read_picture
from xpose.prompts import Prompt, as_prompts
from xpose.results import Poses
from xpose.results.whole_body import CLASSES, join_whole_body

if TYPE_CHECKING:
    from xpose.inference.encoding import PromptEncoder
    from xpose.inference.learned import Learned
    from xpose.model import XPose
    from xpose.pictures.reading import PictureSource
    from xpose.video.sources import SkippedFrames, VideoInput
    from xpose.video.timeline import TrackedFrame

    Picture: TypeAlias = PictureSource | PreparedImage | EncodedImage
# What to look for: words ("person, horse"), a prompt, or a list of these with one entry per class.
Prompts: TypeAlias = "str | Prompt | EncodedClass | Iterable[Prompts]"

_DEFAULTS = DetectionOptions()
_ALL_MATCHES = DetectionOptions(threshold=0.0, rivals=())


class DetectArguments(OptionValues, total=False):
    """The keywords of `Detector.detect` besides pictures and prompts."""

    per_image: Iterable[Prompts] | None
    boxes: Boxes | Iterable[Boxes] | None
    options: DetectionOptions
    batch_size: int


@dataclass(frozen=True, eq=False)
class Rules:
    """The options of a call and their values for these weights."""

    options: DetectionOptions
    use: Calibration  # the stored one, overridden by the options
    rivals: np.ndarray  # [R, C] object tokens


@dataclass(frozen=True, eq=False)
class PromptedImage:
    """A picture and what to look for in it."""

    image: PreparedImage | EncodedImage
    classes: list[EncodedClass]
    known: KnownBoxes | None

    def input_size(self) -> tuple[int, ...]:
        """The size of the network input, which is the same for pictures of a batch; encoded pictures stay alone."""
        return self.image.input_size if isinstance(self.image, PreparedImage) else (id(self),)


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

    def side_by_side(self) -> tuple[Detector, int]:
        """The same detector for several calls at once from different threads, and how many of them are worth it."""
        engine, calls = self.engine.side_by_side()
        return Detector(engine, self.prompts, self.name, self.calibration), calls

    @property
    def learned(self) -> Learned:
        """The categories that the weights have learned."""
        return self.prompts.learned

    @property
    def model(self) -> XPose:
        """The network, if PyTorch runs it.

        Raises:
            ConfigError: another engine runs it.
        """
        model: XPose | None = getattr(self.engine, "model", None)
        if model is None:
            raise ConfigError(
                f"{self.engine.runtime} runs these weights, so that there is no PyTorch network. Load them with "
                'xpose.load(engine="torch").'
            )
        return model

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
        boxes: Boxes | Iterable[Boxes] | None = None,
        options: DetectionOptions = _DEFAULTS,
        batch_size: int = 1,
        **changes: Unpack[OptionValues],
    ) -> Poses | list[Poses] | Iterator[Poses]:
        """Find every prompted object.

        Args:
            images: one picture (path, bytes of a file, PIL, array, tensor, or the result of `prepare_image` or
                `encode_image`) gives Poses; a list gives a list; an iterator gives an iterator, which reads pictures
                when they are needed.
            prompts: what to look for in all pictures: words ("person, horse"), a prompt, or a list with one per class.
                Several classes compete: an object belongs to the one farthest above its stored threshold. With rivals,
                classes that are unlike all rivals, such as faces and hands, do not compete with the others.
            per_image: the prompts of each picture, instead of `prompts`.
            boxes: find only the keypoints of the objects in these boxes. Each gives one pose, in the order of the
                boxes, with the box as given and the score of its class. For one picture this is a list of boxes (x1,
                y1, x2, y2 in pixels), of pairs such as ("dog", box) if several classes are prompted, or the `Poses`
                of an earlier result; for several pictures one such list for each.
            options: see `DetectionOptions`.
            batch_size: largest number of pictures per forward pass. Only pictures whose network input has the same
                size are combined, so that the results do not depend on it; up to four batches are read ahead to find
                them.
            **changes: single options, as in `detect(image, "dog", threshold=0.3)`.

        Raises:
            PromptError: a prompt or a box cannot be understood, or their counts and that of the pictures differ.
            ImageError: a picture cannot be read, or does not contain the region or a box.
            ConfigError: an option is out of range, or has no effect on known boxes.
        """
        options = options.changed(**changes)
        check_count("batch_size", batch_size)
        if (prompts is None) == (per_image is None):
            raise PromptError('Give either prompts for all pictures, as in detect(image, "dog"), or per_image.')
        rules = self._rules(options)
        single = _is_single(images)
        pictures: Iterable[Picture] = [images] if single else images  # type: ignore[list-item, assignment]
        if boxes is not None:
            _check_without_selection(options)
        places: Iterable[Any] | None = [boxes] if single and boxes is not None else boxes
        if isinstance(images, Sequence) and not single:
            per_image = _one_each("per_image", "prompts", per_image, len(images))
            places = _one_each("boxes", "lists of boxes", places, len(images))
        # Errors in options, prompts and boxes are raised before the first picture is read.
        classes = None if prompts is None else self.encode_prompts(prompts)
        if isinstance(places, list) and classes is not None:
            places = [known_boxes(of_image, classes) for of_image in places]
        results = self._stream(pictures, classes, per_image, places, rules, batch_size)
        if single:
            return next(results)
        return list(results) if isinstance(images, Sequence) else results

    def whole_body(self, image: Picture, **arguments: Unpack[DetectArguments]) -> Poses:
        """Find people with 133 keypoints: people, faces and hands of the picture, joined for each person.

        The keypoints are those of the skeleton "person_wholebody"; feet are absent. Faces that belong to nobody become
        people of which only the face is there, and hands that belong to nobody are omitted.

        Args:
            image: as for `detect`.
            **arguments: as for `detect`, except for prompts.
        """
        return join_whole_body(self.detect(image, list(CLASSES), **arguments), Poses)

    def track(
        self,
        source: VideoInput,
        prompts: Prompts,
        *,
        every: int = 1,
        fill_gaps: int = 0,
        smooth: bool = False,
        start: float | None = None,
        end: float | None = None,
        fps: float = 25.0,
        options: DetectionOptions = _DEFAULTS,
        **changes: Unpack[OptionValues],
    ) -> Iterator[TrackedFrame]:
        """Follow every prompted object through a video, in constant memory.

        Args:
            source: a video file, the number of a camera, a folder or pattern of pictures, or any pictures.
            prompts: as for `detect`.
            every: detect in every n-th frame, and interpolate between them.
            fill_gaps: interpolate where an object was not detected in up to so many frames.
            smooth: also return smoothed coordinates.
            start: skip what is before this time, in seconds.
            end: stop at this time.
            fps: the frames per second of pictures; videos know their times.
            options: see `DetectionOptions`.
            **changes: single options, as for `detect`.

        Raises:
            ImageError: the video cannot be read. Damaged frames are skipped with a warning.
            PromptError: a prompt cannot be understood.
            ConfigError: an option is out of range.
        """
        from xpose.video.pipeline import TrackOptions, track_frames
        from xpose.video.sources import open_source

        options = options.changed(**changes)
        classes, following = self.encode_prompts(prompts), TrackOptions(every, fill_gaps, smooth)
        frames = open_source(source, start=start, end=end, fps=fps)
        prepare, detect, at_once = self.for_frames(classes, options)
        items = track_frames(frames, prepare, detect, following, at_once=at_once)
        return _without_skipped(items)

    def for_frames(
        self, classes: list[EncodedClass], options: DetectionOptions
    ) -> tuple[Callable[[np.ndarray], PreparedImage], Callable[[PreparedImage], Poses], int]:
        """What a stream of frames needs: functions that prepare pixels and detect in them, and calls worth at once."""
        detector, calls = self.side_by_side()
        prepare = partial(self.prepare_image, side=options.side, region=options.region)
        detect = partial(detector.detect, prompts=classes, options=replace(options, side=None, region=None))
        return prepare, detect, calls

    def encode_prompts(self, prompts: Prompts) -> list[EncodedClass]:
        """Encode prompts as tokens, which `detect` also accepts."""
        return [self.prompts.encode(prompt) for prompt in as_prompts(prompts)]

    def prepare_image(
        self, image: PictureSource, *, side: int | None = None, region: Sequence[float] | None = None
    ) -> PreparedImage:
        """Read and resize a picture, for example in another thread while the network runs.

        `side` and `region` are those of `DetectionOptions`.
        """
        pixels, path = read_picture(image)
        config = self.engine.config
        limits = (side or config.image_short, side or config.image_long)
        return prepare(pixels, *limits, region, resize=not self.engine.resizes, path=path)

    def encode_image(
        self, image: Picture, *, side: int | None = None, region: Sequence[float] | None = None
    ) -> EncodedImage:
        """Run the prompt-free part of the network once, to prompt the same picture many times.

        `side` and `region` are those of `DetectionOptions`.
        """
        ready = self._ready(image, side, region)
        return ready if isinstance(ready, EncodedImage) else self._encode([ready])[0]

    def _ready(self, image: Picture, side: int | None, region: Sequence[float] | None) -> PreparedImage | EncodedImage:
        if not isinstance(image, PreparedImage | EncodedImage):
            return self.prepare_image(image, side=side, region=region)
        if region is not None:
            done = "encode" if isinstance(image, EncodedImage) else "prepare"
            raise ConfigError(
                f"region is {region!r}, but the picture is already {done}d. {done.capitalize()} the region: "
                f"detector.{done}_image(picture, region=...)."
            )
        return image

    def _encode(self, images: Sequence[PreparedImage]) -> list[EncodedImage]:
        """Encode pictures of one input size in one batch; every result holds the features of the whole batch."""
        values = [image.values for image in images]
        if values[0].dtype == np.uint8:
            features = self.engine.encode_pictures(values, *images[0].input_size)
        else:
            features = self.engine.encode(np.stack(values))
        return [EncodedImage(features, image.size, image.frame, image.path) for image in images]

    def _stream(
        self,
        images: Iterable[Picture],
        classes: list[EncodedClass] | None,
        per_image: Iterable[Prompts] | None,
        boxes: Iterable[Boxes | KnownBoxes] | None,
        rules: Rules,
        batch_size: int,
    ) -> Iterator[Poses]:
        prompted = self._prompted(images, classes, per_image, boxes, rules)
        return in_groups(prompted, PromptedImage.input_size, lambda group: self._detect_batch(group, rules), batch_size)

    def _prompted(
        self,
        images: Iterable[Picture],
        classes: list[EncodedClass] | None,
        per_image: Iterable[Prompts] | None,
        boxes: Iterable[Boxes | KnownBoxes] | None,
        rules: Rules,
    ) -> Iterator[PromptedImage]:
        prompts, places = iter(per_image or ()), None if boxes is None else iter(boxes)
        for image in images:
            try:
                asked = self.encode_prompts(next(prompts)) if classes is None else classes
            except StopIteration:
                message = "per_image ended before the pictures did. It needs one prompt for each picture."
                raise PromptError(message) from None
            try:
                known = None if places is None else known_boxes(next(places), asked)
            except StopIteration:
                message = "boxes ended before the pictures did. It needs one list for each picture."
                raise PromptError(message) from None
            yield PromptedImage(self._ready(image, rules.options.side, rules.options.region), asked, known)

    def _detect_batch(self, group: list[PromptedImage], rules: Rules) -> list[Poses]:
        images, classes = [entry.image for entry in group], [entry.classes for entry in group]
        prepared = [image for image in images if isinstance(image, PreparedImage)]
        encoded = self._encode(prepared) if prepared else [self.encode_image(image) for image in images]
        known = [entry.known for entry in group if entry.known is not None]
        if known:
            return self._in_boxes(encoded, classes, known, rules)
        candidates = self._candidates(encoded, classes, rules)
        results = [
            poses_of(of_image, _kept(of_image, asked, rules), image, asked, rules.use.keypoint_threshold)
            for of_image, image, asked in zip(candidates, encoded, classes, strict=True)
        ]
        return self._with_best(results, candidates, encoded, classes, rules) if rules.options.best else results

    def _with_best(
        self,
        results: list[Poses],
        candidates: list[Candidates],
        images: list[EncodedImage],
        classes: list[list[EncodedClass]],
        rules: Rules,
    ) -> list[Poses]:
        """The results, together with the best candidate of every class without poses.

        A class that no candidate belongs to has its best score in a candidate of another class, which serves as a known
        box.
        """
        parts, known, scores = [[poses] for poses in results], [], []
        for b, (poses, of_image, asked) in enumerate(zip(results, candidates, classes, strict=True)):
            missing = [n for n, entry in enumerate(asked) if entry.names.label not in poses.categories]
            own = [n for n in missing if (of_image.classes == n).any()]
            rows = np.array([np.where(of_image.classes == n, of_image.scores, -1).argmax() for n in own], np.int64)
            parts[b].append(poses_of(of_image, rows, images[b], asked, rules.use.keypoint_threshold))
            others = np.array([n for n in missing if n not in own], np.int64)
            rows = np.nanargmax(of_image.every_score[:, others], axis=0)
            known.append(KnownBoxes(of_image.boxes[rows], others))
            scores.append(of_image.every_score[rows, others])
        for b, poses in enumerate(self._in_boxes(images, classes, known, rules)):
            parts[b].append(replace(poses, scores=scores[b]))
        return [
            Poses.concatenate([first, *(replace(part, tentative=np.full(len(part), True)) for part in best)])
            for first, *best in parts
        ]

    def _in_boxes(
        self,
        images: list[EncodedImage],
        classes: list[list[EncodedClass]],
        known: list[KnownBoxes],
        rules: Rules,
    ) -> list[Poses]:
        """One pose for each known box."""
        arrays = box_arrays(known, images)
        if not arrays.boxes.size:
            return [Poses.empty(image.size, None if image.path is None else str(image.path)) for image in images]
        answers = self.engine.decode_known(images[0].features, assemble(classes), arrays)
        results = []
        for b, (raw, image, asked, of_image) in enumerate(zip(answers, images, classes, known, strict=True)):
            raw = replace(raw, boxes=arrays.boxes[b])
            candidates = in_pixels(raw, image, arrays.classes[b], raw.scores, rules.use)
            rows = np.arange(len(of_image.boxes))
            poses = poses_of(candidates, rows, image, asked, rules.use.keypoint_threshold)
            results.append(replace(poses, boxes=of_image.boxes))
        return results

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
        encoded = self.encode_image(image, side=rules.options.side, region=rules.options.region)
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


def _without_skipped(items: Iterator[TrackedFrame | SkippedFrames]) -> Iterator[TrackedFrame]:
    from xpose.video.sources import SkippedFrames

    for item in items:
        if isinstance(item, SkippedFrames):
            message = f"Frame {item.number} at {item.start:.2f} s was skipped: {item.reason}."
            warnings.warn(message, XPoseWarning, stacklevel=2)
        else:
            yield item


def _check_without_selection(options: DetectionOptions) -> None:
    """Check that no option for choosing detections is set."""
    if given := options.choosing():
        raise ConfigError(
            f"{', '.join(given)} and boxes were both given. Every known box gives one pose, whatever its score, so "
            "nothing is chosen. Leave one of them out; poses.filter(threshold=...) selects poses afterwards."
        )


def _one_each(name: str, what: str, given: Iterable[Any] | None, pictures: int) -> list[Any] | None:
    """The entries of an argument that has one for each picture."""
    if given is None:
        return None
    entries = list(given)
    if len(entries) != pictures:
        raise PromptError(f"Got {pictures} pictures and {len(entries)} {what}. {name} needs one for each.")
    return entries


def _pass(asked: list[EncodedClass], numbers: list[int], rules: Rules) -> DecodingPass:
    classes = [asked[n] for n in numbers]
    labels = [entry.names.label for entry in classes]
    required = required_logits(labels, _thresholds(classes, rules), rules.use.temperature)
    return DecodingPass(np.array(numbers), classes, len(asked), beside(classes, rules.rivals), required)


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
    if isinstance(images, (str, bytes, Path, Image.Image, PreparedImage, EncodedImage, np.ndarray)):
        return True
    if type(images).__module__.split(".")[0] == "torch":
        shape = images.shape  # type: ignore[attr-defined]
        return len(shape) < 4 or shape[0] == 1
    return not isinstance(images, Iterable)
