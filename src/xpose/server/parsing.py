"""The body of a request as pictures, prompts and options. Everything here is untrusted."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xpose.errors import PromptError, XPoseError, did_you_mean, quote
from xpose.inference.options import DetectionOptions
from xpose.pictures.reading import picture_from_bytes
from xpose.prompts import MOST_SHOTS, CombinedPrompt, Prompt, TextPrompt, VisualPrompt, check_unique
from xpose.server.limits import RefusalError, ServerLimits, check_at_most
from xpose.vocabulary import list_skeletons

if TYPE_CHECKING:
    import numpy as np

SHORTEST_DEADLINE = 1  # seconds
OPTIONS = ("threshold", "keypoint_threshold", "nms", "max_instances", "best")
_TEXT_FIELDS = ("object", "skeleton", "keypoints", "part", "style")
_EXAMPLE_FIELDS = ("image", "keypoints", "box", "edges")
_BANK_FIELDS = ("bank", "classes")


@dataclass(frozen=True)
class BankReference:
    """Prompts that were posted before: the id of their bank, and the names of the wanted classes, or None for all."""

    bank: str
    classes: tuple[str, ...] | None


Asked = list[Prompt | BankReference]  # the prompts of one picture


@dataclass
class Body:
    """The fields of a body, still unchecked.

    Attributes:
        values: by name, from JSON.
        images: the content of pictures to search.
        examples: the content of example pictures, which prompts refer to by their number.
    """

    values: dict[str, Any]
    images: list[bytes] = field(default_factory=list)
    examples: list[bytes] = field(default_factory=list)


async def read_body(data: bytes, content_type: str, known: Sequence[str], limits: ServerLimits) -> Body:
    """The fields of a body in JSON or multipart/form-data; `known` are the fields with values."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json":
        values = _parse_json(data, "The body", limits)
        _check_fields(values, (*known, "images") if "options" in known else known, "the body")
        images = values.pop("images", [])
        if not isinstance(images, list):
            raise RefusalError(422, f'"images" is {_shown(images)}. It must be a list of pictures in base64.')
        check_at_most(len(images), limits.pictures, "picture")
        return Body(values, [_decoded(image, f"Picture {n}") for n, image in enumerate(images, start=1)])
    if kind == "multipart/form-data":
        return await _read_multipart(data, content_type, known, limits)
    shown = f"is {quote(kind)}" if kind else "is missing"
    raise RefusalError(415, f"The content type {shown}. Send application/json or multipart/form-data.")


async def _read_multipart(data: bytes, content_type: str, known: Sequence[str], limits: ServerLimits) -> Body:
    from starlette.datastructures import Headers, UploadFile
    from starlette.formparsers import MultiPartException, MultiPartParser

    async def stream() -> Any:
        yield data

    most = limits.pictures + limits.classes * 5
    parser = MultiPartParser(
        Headers({"content-type": content_type}), stream(), max_files=most, max_fields=most, max_part_size=len(data)
    )
    parser.spool_max_size = len(data) + 1  # files stay in memory
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError, LookupError) as error:
        reason = str(getattr(error, "message", "") or error or type(error).__name__)[:150].rstrip(".")
        raise RefusalError(400, f"The multipart body cannot be read ({reason}).") from None
    body = Body({})
    files = {"image": body.images, "example": body.examples}
    allowed = (*known, *(files if "options" in known else ["example"]))
    for name, part in form.multi_items():
        _check_fields({name: part}, allowed, "the form")
        if name in files:
            files[name].append(await part.read() if isinstance(part, UploadFile) else part.encode())
            continue
        text = await part.read() if isinstance(part, UploadFile) else part.encode("utf-8", "surrogatepass")
        if name in body.values:
            raise RefusalError(422, f"The field {quote(name)} was sent twice. Send it once.")
        body.values[name] = _parse_json(text, f"The field {quote(name)}", limits, of_object=False)
    _check_fields(body.values, known, "the form")
    check_at_most(len(body.images), limits.pictures, "picture")
    return body


def _parse_json(data: bytes, what: str, limits: ServerLimits, *, of_object: bool = True) -> Any:
    """Strict JSON: UTF-8, no NaN, not too deep or with too many values, without names that occur twice."""
    check_at_most(data.count(b",") + data.count(b":"), limits.json_values, "value in JSON", "values in JSON", 413)
    try:
        values = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_pairs)
    except RecursionError:
        raise RefusalError(400, f"{what} is nested more than {limits.json_depth} levels deep.") from None
    except ValueError as error:  # also for wrong UTF-8 and endless numbers
        raise RefusalError(400, f"{what} is not valid JSON ({str(error)[:100].rstrip('.')}).") from None
    _check_values(values, what, limits.json_depth)
    if of_object and not isinstance(values, dict):
        raise RefusalError(422, f"{what} is {_shown(values)}. It must be a JSON object.")
    return values


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {quote(next(n for n in names if names.count(n) > 1))!a} occurs twice in an object")
    return values


def _check_values(value: Any, what: str, depth: int) -> None:
    """Refuse JSON that is too deep, or has infinite numbers or half characters."""
    if depth < 0:
        raise RefusalError(400, f"{what} is nested too deeply.")
    if isinstance(value, float) and not math.isfinite(value):
        raise RefusalError(400, f"{what} has a number that is too large.")
    if isinstance(value, int) and abs(value) > 2**53:
        raise RefusalError(400, f"{what} has a number that is too large.")
    if isinstance(value, str) and not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise RefusalError(400, f"{what} has half of a character (a lone surrogate).")
    if isinstance(value, dict):
        _check_values([*value, *value.values()], what, depth)
    elif isinstance(value, list):
        for entry in value:
            _check_values(entry, what, depth - 1)


def _shown(value: object) -> str:
    return quote(json.dumps(value)) if value is not None else "missing or null"


def _check_fields(values: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    for name, value in values.items():
        if name not in known:
            hint = did_you_mean(name, known)
            raise RefusalError(422, f"Unknown field {quote(name)} of {what}.{hint} Known: {', '.join(known)}.")
        if value is None:
            raise RefusalError(422, f"{quote(name)} of {what} is null. Give a value, or omit the field.")


def _decoded(value: object, what: str) -> bytes:
    """The content of a picture in base64, with or without the prefix of a data URL."""
    if not isinstance(value, str):
        raise RefusalError(422, f"{what} is {_shown(value)}. It must be the content of a picture file in base64.")
    text = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        way_out = "Send the content of the file, because the server opens no paths and addresses."
        raise RefusalError(422, f"{what} is {quote(value[:60])}, which is not base64. {way_out}") from None


def decode_picture(content: bytes, what: str, limits: ServerLimits) -> np.ndarray:
    """The pixels of a picture; refused if it is empty, too large or damaged."""
    if not content:
        raise RefusalError(422, f"{what} is empty. Send the content of a picture file.")
    with refusing():
        return picture_from_bytes(content, what, most_pixels=limits.pixels)


@contextmanager
def refusing(what: str = "") -> Iterator[None]:
    """Turn errors that a user can correct into refusals; `what` comes before the message."""
    try:
        yield
    except XPoseError as error:
        raise RefusalError(422, what + " ".join(str(error).split())) from None


def asked_of(body: Body, limits: ServerLimits) -> list[Asked]:
    """The prompts of each picture; one list for all pictures if they share their prompts.

    The prompts of the body are a list of prompts, or a list of such lists with one for each picture.
    """
    given = body.values.get("prompts")
    if not isinstance(given, list) or not given:
        raise RefusalError(422, f'"prompts" is {_shown(given)}. It must be a list such as [{{"object": "dog"}}].')
    check_at_most(_words(given), limits.words, "word")
    if not any(isinstance(entry, list) for entry in given):
        return [_prompts(given, body, limits)]
    if len(given) != len(body.images):
        raise RefusalError(
            422, f"There are {len(body.images)} pictures and {len(given)} lists of prompts. Send one list for each."
        )
    return [_prompts(entries, body, limits) for entries in given]


def _words(value: Any) -> int:
    """The number of texts and names, except for contents of pictures."""
    if isinstance(value, list):
        return sum(map(_words, value))
    if isinstance(value, dict):
        return sum(len(v) if name == "keypoints" and isinstance(v, dict) else _words(v) for name, v in value.items())
    return isinstance(value, str)


def _prompts(entries: Any, body: Body, limits: ServerLimits) -> Asked:
    if not isinstance(entries, list) or not entries:
        raise RefusalError(422, f"The prompts of a picture are {_shown(entries)}. They must be a list with a prompt.")
    check_at_most(len(entries), limits.classes, "prompt for one picture", "prompts for one picture")
    asked = [_prompt(entry, f"Prompt {n}", body, limits) for n, entry in enumerate(entries, start=1)]
    with refusing():
        check_unique([entry for entry in asked if not isinstance(entry, BankReference)])
    return asked


def _prompt(entry: Any, what: str, body: Body, limits: ServerLimits) -> Prompt | BankReference:
    if not isinstance(entry, dict):
        raise RefusalError(422, f'{what} is {_shown(entry)}. It must be an object such as {{"object": "dog"}}.')
    if "bank" in entry:
        return _bank(entry, what)
    _check_fields(entry, (*_TEXT_FIELDS, "name", "examples", *_BANK_FIELDS), what)
    examples = entry.get("examples", [])
    if not isinstance(examples, list):
        raise RefusalError(422, f'"examples" of {what} is {_shown(examples)}. It must be a list of objects.')
    texts = {name: entry[name] for name in _TEXT_FIELDS if entry.get(name) is not None}
    with refusing(f"{what}: "):
        if not isinstance(texts.get("keypoints", []), list):
            raise PromptError(f"keypoints is {_shown(texts['keypoints'])}. It must be a list of names.")
        check_at_most(len(texts.get("keypoints", [])), limits.points, "keypoint in a prompt", "keypoints in a prompt")
        _check_skeleton(texts.get("skeleton"))
        name = entry.get("name")
        if name is not None and (texts or not examples):
            raise PromptError('"name" is for prompts of example pictures alone. Use "object" for words.')
        check_at_most(len(examples), MOST_SHOTS, "example in a prompt", "examples in a prompt")
        shots = [VisualPrompt(name=name, **_example(example, what, body, limits)) for example in examples]
        if not texts and len(shots) == 1:
            return shots[0]
        text = [TextPrompt(**texts)] if texts or not shots else []
        return CombinedPrompt.of(*text, *shots) if shots else text[0]


def _bank(entry: Mapping[str, Any], what: str) -> BankReference:
    _check_fields(entry, _BANK_FIELDS, f"{what}, which names a bank")
    bank, classes = entry["bank"], entry.get("classes")
    if not isinstance(bank, str):
        raise RefusalError(422, f'"bank" of {what} is {_shown(bank)}. It must be the id that POST /v1/prompts gave.')
    if classes is None:
        return BankReference(bank, None)
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise RefusalError(422, f'"classes" of {what} is {_shown(classes)}. It must be a list of names.')
    return BankReference(bank, tuple(classes))


def _check_skeleton(name: object) -> None:
    """Skeletons are named; files are refused because those of the server are private."""
    if name is None:
        return
    known = {known for skeleton in list_skeletons() for known in (skeleton.name, *skeleton.also)}
    if not isinstance(name, str) or name not in known:
        hint = did_you_mean(name, known) if isinstance(name, str) else ""
        raise PromptError(f"Unknown skeleton {_shown(name)}.{hint} GET /v1/skeletons lists them.")


def _example(example: Any, what: str, body: Body, limits: ServerLimits) -> dict[str, Any]:
    if not isinstance(example, dict):
        raise RefusalError(422, f"An example of {what} is {_shown(example)}. It must be an object with an image.")
    _check_fields(example, _EXAMPLE_FIELDS, f"an example of {what}")
    image, points = example.get("image"), example.get("keypoints", {})
    if not isinstance(points, dict):
        raise PromptError(f'keypoints of an example is {_shown(points)}. It must be {{"left eye": [x, y], ...}}.')
    check_at_most(len(points), limits.points, "keypoint in an example", "keypoints in an example")
    if isinstance(image, int) and not isinstance(image, bool):
        if not 0 <= image < len(body.examples):
            raise PromptError(
                f"The image of an example is {image}, but the form has {len(body.examples)} fields called "
                '"example". They are counted from 0.'
            )
        content = body.examples[image]
    else:
        content = _decoded(image, f"The example picture of {what}")
    given = {name: example[name] for name in ("box", "edges") if example.get(name) is not None}
    return {"image": decode_picture(content, f"example picture of {what}", limits), "keypoints": points, **given}


def options_of(body: Body, limits: ServerLimits) -> DetectionOptions:
    """The options of a request."""
    values = body.values.get("options", {})
    if not isinstance(values, dict):
        raise RefusalError(422, f'"options" is {_shown(values)}. It must be an object such as {{"threshold": 0.3}}.')
    _check_fields(values, OPTIONS, "options")
    if not isinstance(values.get("best", False), bool):
        raise RefusalError(422, f'"best" is {_shown(values["best"])}. It must be true or false.')
    if isinstance(values.get("threshold"), dict):
        raise RefusalError(422, f'"threshold" is {_shown(values["threshold"])}. It must be a number from 0 to 1.')
    with refusing():
        options = DetectionOptions(**values)
    if options.max_instances is not None:
        check_at_most(options.max_instances, limits.poses, "pose in max_instances", "poses in max_instances")
    return options


def deadline_of(body: Body, limits: ServerLimits) -> float:
    """The seconds that the answer may take."""
    seconds = body.values.get("deadline")
    if seconds is None:
        return limits.deadline
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not SHORTEST_DEADLINE <= seconds <= limits.deadline
    ):
        rule = f"It must be a number of seconds from {SHORTEST_DEADLINE:g} to {limits.deadline:g}."
        raise RefusalError(422, f'"deadline" is {_shown(seconds)}. {rule}')
    return float(seconds)
