"""Prompt banks: encoded prompts with their names in one small file, to share and to reuse without the encoders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xpose.errors import CheckpointError, first_line, quote, unknown
from xpose.inference.encoded import EncodedClass
from xpose.pictures.atomic import write_atomically
from xpose.prompts import PromptClass

if TYPE_CHECKING:
    from xpose.inference.detector import Detector, Prompts

_FORMAT = "xpose-prompt-bank-1"


class PromptBank(dict[str, EncodedClass]):
    """Encoded classes by name. A bank belongs to the network that made it."""

    def __init__(self, classes: Mapping[str, EncodedClass], network: str) -> None:
        super().__init__(classes)
        self.network = network

    @classmethod
    def make(cls, detector: Detector, prompts: Prompts) -> PromptBank:
        """Encode prompts with a detector; a class is stored under its label.

        Raises:
            CheckpointError: two classes have the same label.
        """
        encoded = detector.encode_prompts(prompts)
        labels = [entry.names.label for entry in encoded]
        twice = {label for label in labels if labels.count(label) > 1}
        if twice:
            raise CheckpointError(
                f"Two prompts are called {quote(min(twice))}. Join them with +, or give them different names."
            )
        return cls(dict(zip(labels, encoded, strict=True)), detector.engine.fingerprint())

    @property
    def id(self) -> str:
        """A short text that only banks with the same names and tokens share."""
        digest = hashlib.sha256(self.network.encode())
        for entry in self.values():
            digest.update(json.dumps(asdict(entry.names)).encode())
            digest.update(np.ascontiguousarray(entry.object_token).tobytes())
            digest.update(np.ascontiguousarray(entry.keypoint_tokens).tobytes())
        return digest.hexdigest()[:32]

    def save(self, path: str | Path) -> Path:
        """Write a `.safetensors` file atomically.

        Raises:
            XPoseError: the file cannot be written.
        """
        from safetensors.numpy import save_file

        path = Path(path)
        if path.suffix != ".safetensors":
            raise CheckpointError(f"{quote(path)} must end in .safetensors. Rename it.")
        tensors, names = {}, []
        for number, (label, entry) in enumerate(self.items()):
            names.append({"label": label, "names": asdict(entry.names)})
            tensors[f"object.{number}"] = np.ascontiguousarray(entry.object_token, np.float32)
            tensors[f"keypoints.{number}"] = np.ascontiguousarray(entry.keypoint_tokens, np.float32)
        about = {"format": _FORMAT, "network": self.network, "classes": json.dumps(names)}
        write_atomically(path, lambda p: save_file(tensors, p, metadata=about))
        return path

    @classmethod
    def load(cls, path: str | Path) -> PromptBank:
        """Read a bank.

        Raises:
            CheckpointError: the file is missing, damaged, or of another kind.
        """
        from safetensors import SafetensorError, safe_open

        path = Path(path)
        if not path.is_file():
            raise CheckpointError(f"There is no prompt bank {quote(path)}. Make one with: xpose prompt save")
        try:
            with safe_open(path, "np") as file:
                about = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            if about.get("format") != _FORMAT:
                raise ValueError("it is another kind of safetensors file")
            classes = {}
            for number, row in enumerate(json.loads(about["classes"])):
                names = _names(row["names"])
                points = tensors[f"keypoints.{number}"]
                if len(points) != len(names.names):
                    raise ValueError("names and points differ in number")
                classes[str(row["label"])] = EncodedClass(names, tensors[f"object.{number}"], points)
            return cls(classes, about["network"])
        except (SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{quote(path)} cannot be read as a prompt bank ({first_line(error)}). "
                "Make it again with: xpose prompt save"
            ) from None

    def prompts(self, detector: Detector, names: list[str] | None = None) -> list[EncodedClass]:
        """Return all or only the named classes for `detect`.

        Raises:
            CheckpointError: the bank was made with another network, or a name is not in it.
        """
        if self.network != detector.engine.fingerprint():
            raise CheckpointError(
                f"The prompt bank was made with another network than {detector.name}. Make it again with these weights."
            )
        for name in names or []:
            if name not in self:
                raise unknown("class of the prompt bank:", name, self, f"It has {', '.join(self)}.")
        return [self[name] for name in names or self]


def _names(values: dict[str, Any]) -> PromptClass:
    values = {field.name: values[field.name] for field in fields(PromptClass)}  # without those of earlier versions
    tuples = {key: tuple(values[key]) for key in ("names", "canonical", "aliases")}
    edges = tuple((str(a), str(b)) for a, b in values["edges"])
    return PromptClass(**{**values, **tuples, "edges": edges})
