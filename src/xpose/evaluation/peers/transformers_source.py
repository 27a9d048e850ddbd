"""What networks of transformers share as sources: weights in a local folder, one picture at a time."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from xpose.errors import CheckpointError, first_line, quote
from xpose.evaluation.answers import Answers
from xpose.evaluation.questions import Question, Task
from xpose.evaluation.settings import Settings
from xpose.results import Poses


class TransformersSource(ABC):
    """A source that answers with a network of transformers."""

    kind: ClassVar[str]
    batch = 1

    def __init__(self, model: Any, processor: Any, folder: Path) -> None:
        self.model, self.processor, self.folder = model.eval(), processor, folder
        self.name = f"{self.kind} ({folder.name})"

    @classmethod
    def open(cls, folder: str, *, device: str | None = None) -> Self:
        """From a folder in transformers' form.

        Raises:
            CheckpointError: there is no such folder, or it holds no such network.
        """
        place = Path(folder).expanduser()
        if not (place / "config.json").is_file():
            raise CheckpointError(
                f"{quote(place)} holds no config.json. {cls.kind} is given as a folder in transformers' form; nothing "
                "is downloaded. Fetch the model first and name its folder."
            )
        try:
            model, processor = cls._load(place)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise CheckpointError(
                f"{quote(place)} holds no {cls.kind} that transformers can read ({first_line(error)}). Download the "
                "whole folder of the model again."
            ) from None
        return cls(model.to(device or "cpu"), processor, place)

    @classmethod
    @abstractmethod
    def _load(cls, folder: Path) -> tuple[Any, Any]:
        """The network and its processor."""

    @property
    def identity(self) -> str:
        """The sha256 of all files of the folder that decide its answers."""
        state = hashlib.sha256()
        for path in sorted(self.folder.iterdir()):
            if path.is_file() and path.suffix in (".json", ".safetensors", ".bin", ".txt", ".model"):
                state.update(path.name.encode())
                with open(path, "rb") as file:
                    state.update(hashlib.file_digest(file, "sha256").digest())
        return state.hexdigest()

    def answer(self, tasks: Sequence[Task], pixels: Sequence[np.ndarray], settings: Settings) -> list[Answers]:
        """For each task the answers to its questions."""
        return [
            tuple(self._answer(question, picture, settings) for question in task.questions)
            for task, picture in zip(tasks, pixels, strict=True)
        ]

    @abstractmethod
    def _answer(self, question: Question, pixels: np.ndarray, settings: Settings) -> Poses:
        """The answer to one question about a picture."""
