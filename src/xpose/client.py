"""A client for `xpose serve`; it needs only the standard library besides xpose."""

from __future__ import annotations

import base64
import http.client
import io
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, Unpack, overload

import numpy as np
from PIL import Image

from xpose.errors import ConfigError, ImageError, PromptError, XPoseError, quote
from xpose.prompts import CombinedPrompt, Prompt, TextPrompt, VisualPrompt, as_prompts
from xpose.results import Poses
from xpose.vocabulary import Skeleton

if TYPE_CHECKING:
    Picture: TypeAlias = str | Path | bytes | Image.Image | np.ndarray

_TRY_AGAIN = (429, 502, 503)
_LONGEST_PAUSE = 30.0


class ServerError(XPoseError, RuntimeError):
    """A server that did not answer, or that refused the request; `status` is that of HTTP, or None."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class SavedPrompts:
    """Prompts that a server keeps, by the id of their bank."""

    id: str
    classes: tuple[str, ...]


class RemoteOptions(TypedDict, total=False):
    """The options of `Client.detect`; see `DetectionOptions`."""

    threshold: float
    keypoint_threshold: float
    nms: float
    max_instances: int
    best: bool


RemotePrompts: TypeAlias = "str | Prompt | SavedPrompts | Sequence[str | Prompt | SavedPrompts]"


class Client:
    """Detects with a server.

    Args:
        address: of the server, such as "http://127.0.0.1:8000".
        key: an API key, if the server needs one.
        timeout: seconds to wait for an answer.
        retries: how often a request is sent again if the server is busy or cannot be reached. Requests change nothing,
            so that sending them twice does no harm.
    """

    def __init__(self, address: str, *, key: str | None = None, timeout: float = 60.0, retries: int = 5) -> None:
        if not address.startswith(("http://", "https://")):
            raise ConfigError(f"The address is {quote(address)}. It must start with http:// or https://.")
        self.address, self.timeout, self.retries = address.rstrip("/"), timeout, retries
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    @overload
    def detect(  # type: ignore[overload-overlap]  # paths and bytes are sequences, and one picture
        self, images: Picture, prompts: RemotePrompts, **options: Unpack[RemoteOptions]
    ) -> Poses: ...

    @overload
    def detect(
        self, images: Sequence[Picture], prompts: RemotePrompts, **options: Unpack[RemoteOptions]
    ) -> list[Poses]: ...

    def detect(
        self, images: Picture | Sequence[Picture], prompts: RemotePrompts, **options: Unpack[RemoteOptions]
    ) -> Poses | list[Poses]:
        """Find every prompted object, as `Detector.detect` does.

        Args:
            images: a path, the content of a file, a PIL picture or an array gives Poses; a list of them gives a list.
            prompts: words ("person, horse"), prompts, or what `save_prompts` returned.
            **options: see `DetectionOptions`.

        Raises:
            ServerError: the server cannot be reached, or refuses the request.
            ImageError: a picture cannot be read.
        """
        single = isinstance(images, str | Path | bytes | Image.Image | np.ndarray)
        pictures: Sequence[Any] = [images] if single else images  # type: ignore[assignment]
        body = {"images": [_encoded(picture) for picture in pictures], "prompts": _as_json(prompts)}
        body["options"] = {name: value for name, value in options.items() if value is not None}
        results = [Poses.from_dict(values) for values in self._ask("/v1/detect", body)["results"]]
        return results[0] if single else results

    def save_prompts(self, prompts: RemotePrompts) -> SavedPrompts:
        """Have the server encode prompts once, to use them many times.

        Raises:
            ServerError: as for `detect`.
        """
        answer = self._ask("/v1/prompts", {"prompts": _as_json(prompts)})
        return SavedPrompts(answer["id"], tuple(entry["object"] for entry in answer["classes"]))

    def skeletons(self) -> list[dict[str, Any]]:
        """The skeletons that prompts can name."""
        return list(self._ask("/v1/skeletons")["skeletons"])

    def models(self) -> list[dict[str, Any]]:
        """The weights of the server, and what they have learned."""
        return list(self._ask("/v1/models")["models"])

    def _ask(self, path: str, body: object = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body, allow_nan=False).encode()
        request = urllib.request.Request(self.address + path, data, self._headers)
        for attempt in range(self.retries + 1):
            pause = min(_LONGEST_PAUSE, 0.2 * 2**attempt) * (
                0.5 + random.random()
            )  # so that clients do not return together
            try:
                with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                    content: dict[str, Any] = json.load(answer)
                    return content
            except urllib.error.HTTPError as error:
                failure = ServerError(_detail(error), error.code)
                if error.code not in _TRY_AGAIN:
                    raise failure from None
                told = error.headers.get("Retry-After", "")
                pause = max(pause, min(_LONGEST_PAUSE, float(told))) if told.isdecimal() else pause
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason = getattr(error, "reason", None) or error or type(error).__name__
                failure = ServerError(
                    f"{self.address} does not answer ({reason}). Is it running, and the address right?"
                )
            if attempt < self.retries:
                time.sleep(pause)
        raise failure


def _detail(error: urllib.error.HTTPError) -> str:
    """The sentence in an answer of the server."""
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"The server answered with {error.code} {error.reason}."


def _encoded(picture: Any) -> str:
    """The file of a picture in base64; arrays and PIL pictures become PNG files."""
    if isinstance(picture, str | Path):
        try:
            picture = Path(picture).expanduser().read_bytes()
        except OSError as error:
            raise ImageError(
                f"The picture {quote(picture)} cannot be read ({error.strerror}). Check the path."
            ) from None
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    if isinstance(picture, Image.Image):
        stream = io.BytesIO()
        picture.save(stream, "PNG", compress_level=1)
        picture = stream.getvalue()
    if not isinstance(picture, bytes):
        raise ImageError(f"A {type(picture).__name__} is not a picture. Give a path, bytes, an array or a PIL picture.")
    return base64.b64encode(picture).decode()


def _as_json(prompts: RemotePrompts) -> list[dict[str, Any]]:
    entries = prompts if isinstance(prompts, list | tuple) else [prompts]
    return [
        values
        for entry in entries
        for values in (
            [{"bank": entry.id}]
            if isinstance(entry, SavedPrompts)
            else [_prompt_json(prompt) for prompt in as_prompts(entry)]
        )
    ]


def _prompt_json(prompt: Prompt) -> dict[str, Any]:
    if isinstance(prompt, TextPrompt):
        skeleton = prompt.skeleton
        if isinstance(skeleton, Skeleton | Path):
            raise PromptError(
                f"The server cannot know the skeleton {quote(getattr(skeleton, 'name', skeleton))}. Name one of "
                "Client.skeletons(), or give keypoints."
            )
        names = None if prompt.keypoints is None else list(prompt.keypoints)
        words = {"object": prompt.object, "skeleton": skeleton, "keypoints": names}
        words |= {"part": prompt.part, "style": prompt.style}
        return {name: value for name, value in words.items() if value is not None}
    examples = prompt.examples if isinstance(prompt, CombinedPrompt) else (prompt,)
    text = prompt.text if isinstance(prompt, CombinedPrompt) else None
    name = next((example.name for example in examples if example.name), None)
    words = _prompt_json(text) if text is not None else {} if name is None else {"name": name}
    return {**words, "examples": [_example_json(example) for example in examples]}


def _example_json(example: VisualPrompt) -> dict[str, Any]:
    points = {
        name: [x, y, True] if visible else [None, None, False] for name, (x, y, visible) in example.points.items()
    }
    box = {} if example.box is None else {"box": list(example.box)}
    edges = {"edges": [list(edge) for edge in example.edges]} if example.edges else {}
    return {"image": _encoded(example.image), "keypoints": points, **box, **edges}
