"""Networks from transformers as sources of answers, measured by the same code as ours.

*GroundingDINO* (the papers' tables 8 and 16) has no keypoints, so each keypoint is detected as an object of its own
("left eye"): the point is the centre of the best box inside the object's box; NaN if there is none. *CLIP* (table 7)
does not detect, so it gets the labelled objects and points as square crops. Its answers are the labels with
similarities as scores, so it only serves the protocol `similarity`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image

from xpose.errors import CheckpointError, ConfigError, did_you_mean, first_line, quote
from xpose.evaluation.answers import Answers
from xpose.evaluation.questions import AskedClass, Question, Settings, Task
from xpose.evaluation.sources import AnswerSource
from xpose.geometry import cxcywh_to_xyxy
from xpose.inference.postprocess import suppress_boxes
from xpose.model.checkpoints.calibration import DEFAULT_NMS, DEFAULT_THRESHOLD
from xpose.records import Instance
from xpose.results import Poses

MOST_ANSWERS = 50  # per class, as many as our own networks give
LEAST_POINT_SCORE = 0.05  # minimum, of a point's box
OBJECT, POINT = "a photo of a {object}", "a photo of the {point} of a {object}"
POINT_SIDE = 0.25  # of the box's longer side
LEAST_SIDE = 8.0  # pixels


class TransformersSource(ABC):
    """A source that answers with a network of transformers from a local folder, one picture at a time."""

    kind: ClassVar[str]
    classes: ClassVar[tuple[str, str]]  # of the network and its processor in transformers
    batch = 1

    def __init__(self, folder: str, *, device: str | None = None) -> None:
        self.folder = Path(folder).expanduser()
        if not (self.folder / "config.json").is_file():
            raise CheckpointError(
                f"{quote(self.folder)} holds no config.json. {self.kind} is given as a folder in transformers' form; "
                "nothing is downloaded. Fetch the model first and name its folder."
            )
        import transformers

        kinds = (getattr(transformers, name) for name in self.classes)
        try:
            model, self.processor = (kind.from_pretrained(self.folder, local_files_only=True) for kind in kinds)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise CheckpointError(
                f"{quote(self.folder)} holds no {self.kind} that transformers can read ({first_line(error)}). Download "
                "the whole folder of the model again."
            ) from None
        self.model = model.eval().to(device or "cpu")
        self.name = f"{self.kind} ({self.folder.name})"

    @property
    def identity(self) -> str:
        """The sha256 of all files of the folder that affect its answers."""
        state = hashlib.sha256()
        for path in sorted(self.folder.iterdir()):
            if path.is_file() and path.suffix in (".json", ".safetensors", ".bin", ".txt", ".model"):
                state.update(path.name.encode())
                with open(path, "rb") as file:
                    state.update(hashlib.file_digest(file, "sha256").digest())
        return state.hexdigest()

    def answer(self, tasks: Sequence[Task], pixels: Sequence[np.ndarray], settings: Settings) -> list[Answers]:
        """Each task's answers to its questions."""
        pairs = zip(tasks, pixels, strict=True)
        return [tuple(self._answer(question, image, settings) for question in task.questions) for task, image in pairs]

    @abstractmethod
    def _answer(self, question: Question, pixels: np.ndarray, settings: Settings) -> Poses:
        """The answer to one question about a picture."""


class GroundingDinoSource(TransformersSource):
    """Answers of a GroundingDINO; text prompts only."""

    kind = "GroundingDINO"
    classes = ("GroundingDinoForObjectDetection", "AutoProcessor")

    def _answer(self, question: Question, pixels: np.ndarray, settings: Settings) -> Poses:
        return Poses.concatenate([self._class(asked, question, pixels, settings) for asked in question.asked])

    def _class(self, asked: AskedClass, question: Question, pixels: np.ndarray, settings: Settings) -> Poses:
        boxes, scores = self._boxes(pixels, asked.called)
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] > settings.least_score(DEFAULT_THRESHOLD)][: 4 * MOST_ANSWERS]
        order = suppress_boxes(boxes, order, DEFAULT_NMS)[: question.most or MOST_ANSWERS]
        xy = np.full((len(order), len(asked.names), 2), np.nan)
        confidences = np.full((len(order), len(asked.names)), np.nan)
        for column, name in enumerate(asked.names):
            candidates = self._boxes(pixels, name)
            for row, number in enumerate(order):
                point = _point(boxes[number], *candidates)
                if point is not None:
                    xy[row, column], confidences[row, column] = point
        return Poses(
            boxes=boxes[order],
            scores=scores[order],
            categories=(asked.category.name,) * len(order),
            xy=xy - 0.5,  # boxes use continuous coordinates, a record's points pixel indices
            keypoint_scores=confidences,
            visibility=np.where(np.isfinite(confidences), 2, 0),
            keypoint_names=(tuple(asked.names.values()),) * len(order),
            image_size=(pixels.shape[0], pixels.shape[1]),
        )

    @torch.inference_mode()
    def _boxes(self, pixels: np.ndarray, words: str) -> tuple[np.ndarray, np.ndarray]:
        """All boxes for the words: corners [n, 4] in pixels, and their scores [n]."""
        text = f"{words.lower().replace('_', ' ')}."
        inputs = self.processor(images=pixels, text=text, return_tensors="pt").to(self.model.device)
        outputs = self.model(**inputs)
        # The score of a box is that of the best token.
        scores = outputs.logits[0].sigmoid().amax(-1).float().cpu().numpy()
        corners = cxcywh_to_xyxy(outputs.pred_boxes[0].float().cpu().numpy())
        size = np.tile([pixels.shape[1], pixels.shape[0]], 2)
        return np.clip(corners, 0, 1) * size, scores


def _point(box: np.ndarray, boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, float] | None:
    """The centre and the score of the best box inside the object's."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((centres >= box[:2]) & (centres <= box[2:])).all(-1) & (scores >= LEAST_POINT_SCORE)
    if not inside.any():
        return None
    best = int(np.where(inside, scores, -1).argmax())
    return centres[best], float(scores[best])


class ClipSource(TransformersSource):
    """Similarities by a CLIP model."""

    kind = "CLIP"
    classes = ("CLIPModel", "CLIPProcessor")

    def __init__(self, folder: str, *, device: str | None = None) -> None:
        super().__init__(folder, device=device)
        self._texts: dict[str, torch.Tensor] = {}

    def _answer(self, question: Question, pixels: np.ndarray, settings: Settings) -> Poses:
        (asked,) = question.asked
        parts = [self._object(asked, instance, pixels) for instance in question.truth.instances if not instance.iscrowd]
        return Poses.concatenate(parts) if parts else Poses.empty((pixels.shape[0], pixels.shape[1]))

    def _object(self, asked: AskedClass, instance: Instance, pixels: np.ndarray) -> Poses:
        """The labels of an object with similarities, for its labelled points that the class names.

        A wrong class shares none of these names, so its points take the labelled places in order.
        """
        x, y, width, height = instance.box
        longer = max(width, height)
        labelled = {name: (px, py) for name, (px, py, v) in instance.keypoints.items() if v}
        places = {word: labelled[name] for word, name in asked.names.items() if name in labelled}
        if asked.category != instance.category:
            places = dict(zip(asked.names, labelled.values(), strict=False))
        regions = [_square(pixels, (x + width / 2, y + height / 2), longer)]
        regions += [_square(pixels, (px + 0.5, py + 0.5), POINT_SIDE * longer) for px, py in places.values()]
        words = [OBJECT.format(object=asked.called)]
        words += [POINT.format(point=word, object=asked.called) for word in places]
        likeness = self._likeness(regions, words)
        return Poses(
            boxes=np.array([[x, y, x + width, y + height]]),
            scores=likeness[:1],
            categories=(asked.category.name,),
            xy=np.array([*places.values()], dtype=np.float64).reshape(1, -1, 2),
            keypoint_scores=likeness[None, 1:],
            visibility=np.full((1, len(places)), 2),
            keypoint_names=(tuple(asked.names[word] for word in places),),
            image_size=(pixels.shape[0], pixels.shape[1]),
        )

    @torch.inference_mode()
    def _likeness(self, regions: list[Image.Image], words: list[str]) -> np.ndarray:
        """The cosine of each region with its own words, mapped from -1..1 to 0..1."""
        inputs = self.processor(images=regions, return_tensors="pt").to(self.model.device)
        seen = _plain(self.model.get_image_features(**inputs))
        missing = [text for text in dict.fromkeys(words) if text not in self._texts]
        if missing:
            tokens = self.processor(text=missing, return_tensors="pt", padding=True, truncation=True)
            read = _plain(self.model.get_text_features(**tokens.to(self.model.device)))
            self._texts.update(zip(missing, read, strict=True))
        words_of_regions = torch.stack([self._texts[text] for text in words])
        cosine = torch.nn.functional.cosine_similarity(seen.float(), words_of_regions.float())
        return ((cosine + 1) / 2).clamp(0, 1).cpu().numpy()


def _plain(features: Any) -> torch.Tensor:
    """The embedding; newer versions of transformers wrap it."""
    embedding = features if isinstance(features, torch.Tensor) else features.pooler_output
    assert isinstance(embedding, torch.Tensor)
    return embedding


def _square(pixels: np.ndarray, centre: tuple[float, float], side: float) -> Image.Image:
    """The part of a square that is inside the picture."""
    half = max(side, LEAST_SIDE) / 2
    height, width = pixels.shape[:2]
    x1, y1 = max(0, int(centre[0] - half)), max(0, int(centre[1] - half))
    x2, y2 = min(width, int(np.ceil(centre[0] + half))), min(height, int(np.ceil(centre[1] + half)))
    x1, y1 = min(x1, width - 1), min(y1, height - 1)
    return Image.fromarray(pixels[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)])


PEERS: dict[str, type[TransformersSource]] = {"grounding-dino": GroundingDinoSource, "clip": ClipSource}


def open_peer(which: str, *, device: str | None = None) -> AnswerSource:
    """Open a peer, `KIND=FOLDER`; FOLDER holds weights in transformers' format."""
    kind, _, folder = which.partition("=")
    if kind not in PEERS or not folder:
        raise ConfigError(
            f"--peer is {quote(which)}.{did_you_mean(kind, PEERS)} It must be KIND=FOLDER with one of "
            f"{', '.join(PEERS)}. E.g. --peer grounding-dino=models/grounding-dino-tiny"
        )
    return PEERS[kind](folder, device=device)
