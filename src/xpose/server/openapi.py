"""The description of the interface, with examples that work when they are pasted."""

from __future__ import annotations

from typing import Any

from xpose import __version__
from xpose.prompts import MOST_SHOTS
from xpose.server.limits import ServerLimits
from xpose.server.parsing import SHORTEST_DEADLINE

# A picture of 16 x 16 pixels.
PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGUlEQVR4nGM8saWHgRTARJLqUQ2jGoaUBgBpFgIoeoQrbgAAAABJRU5ErkJggg=="
)
_FINE: dict[str, Any] = {"description": "The answer."}
_REFUSALS = {
    400: "The body is malformed.",
    401: "The API key is missing or wrong.",
    404: "There is no such prompt bank.",
    408: "The body arrived too slowly.",
    413: "The request exceeds a limit.",
    415: "The body is neither JSON nor multipart/form-data.",
    422: "A picture, prompt or option cannot be used.",
    429: "The queue is full; Retry-After says when to try again.",
    503: "The server is starting or stopping.",
    504: "The deadline has passed.",
}
_POSTED = (400, 404, 408, 413, 415, 422, 429, 503, 504)


def document(limits: ServerLimits, with_keys: bool) -> dict[str, Any]:
    """The OpenAPI document of a server with these limits."""
    own = (401,) if with_keys else ()
    schemas = _schemas(limits)
    paths = {
        "/v1/detect": {
            "post": _posted("Find objects and their keypoints.", "DetectBody", "DetectForm", "Results", own)
        },
        "/v1/prompts": {"post": _posted("Encode prompts once.", "PromptsBody", "PromptsForm", "SavedPrompts", own)},
        "/v1/skeletons": {"get": _got("The skeletons that prompts can name.", own)},
        "/v1/models": {"get": _got("The weights, and what they have learned.", own)},
        "/healthz": {"get": _got("Whether the process lives.")},
        "/readyz": {"get": _got("Whether requests are answered.", (503,))},
        "/metrics": {"get": _got("Measurements for Prometheus.", media="text/plain")},
    }
    components: dict[str, Any] = {"schemas": schemas}
    if with_keys:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for path, methods in paths.items():
            for operation in methods.values() if path.startswith("/v1/") else ():
                operation["security"] = [{"key": []}]
    about = {"title": "xpose", "version": __version__, "description": "Detects the keypoints of any object."}
    return {"openapi": "3.1.0", "info": about, "paths": paths, "components": components}


def _refused(codes: tuple[int, ...]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {str(code): {"description": _REFUSALS[code], "content": content} for code in codes}


def _posted(summary: str, body: str, form: str, answer: str, own: tuple[int, ...]) -> dict[str, Any]:
    example: dict[str, Any] = {"prompts": [{"object": "dog", "skeleton": "animal"}]}
    if body == "DetectBody":
        example = {"images": [PICTURE], **example, "options": {"threshold": 0.3}}
    content = {
        "application/json": {"schema": {"$ref": f"#/components/schemas/{body}"}, "example": example},
        "multipart/form-data": {
            "schema": {"$ref": f"#/components/schemas/{form}"},
            "encoding": {name: {"contentType": "application/json"} for name in ("prompts", "options", "deadline")},
        },
    }
    fine = {**_FINE, "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{answer}"}}}}
    responses = {"200": fine, **_refused((*_POSTED, *own))}
    return {"summary": summary, "requestBody": {"required": True, "content": content}, "responses": responses}


def _got(summary: str, own: tuple[int, ...] = (), media: str = "application/json") -> dict[str, Any]:
    schema = {"type": "object" if media == "application/json" else "string"}
    return {
        "summary": summary,
        "responses": {"200": {**_FINE, "content": {media: {"schema": schema}}}, **_refused(own)},
    }


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


def _list(items: Any, most: int, least: int = 1) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def _schemas(limits: ServerLimits) -> dict[str, Any]:
    word = {"type": "string", "minLength": 1, "maxLength": 200}
    number, share = {"type": "number"}, {"type": "number", "minimum": 0, "maximum": 1}
    encoded = {"type": "string", "contentEncoding": "base64", "description": "A picture file in base64."}
    file = {"type": "string", "contentMediaType": "application/octet-stream"}
    numbered = {"type": "integer", "minimum": 0, "description": 'The number of a form field "example", from 0.'}
    names = _list(word, limits.points, 0)
    example = _object(
        ["image"],
        image={"anyOf": [encoded, numbered]},
        keypoints={
            "type": "object",
            "additionalProperties": _list({}, 3, 2),
            "description": "Name to [x, y], or [x, y, visible], in pixels of the upright picture.",
        },
        box=_list(number, 4, 4),
        edges=_list(_list(word, 2, 2), limits.points, 0),
    )
    words = _object(
        [],
        object={**word, "description": "What to detect."},
        keypoints={**names, "description": "The keypoints; by default those of the skeleton."},
        skeleton={**word, "description": "See /v1/skeletons; by default what the weights have learned for the object."},
        part=word,
        style=word,
        name={**word, "description": "The name of the class in results, for examples without words."},
        examples=_list(example, MOST_SHOTS, 0),
    )
    bank = _object(["bank"], bank={"type": "string"}, classes=_list(word, limits.classes))
    ref = {"anyOf": [{"$ref": "#/components/schemas/Prompt"}, {"$ref": "#/components/schemas/BankReference"}]}
    shared = _list(ref, limits.classes)
    prompts = {"anyOf": [shared, {**_list(shared, limits.pictures), "description": "Prompts for each picture."}]}
    options = _object(
        [],
        threshold=share,
        keypoint_threshold=share,
        nms=share,
        max_instances={"type": "integer", "minimum": 1, "maximum": limits.poses},
        best={"type": "boolean"},
    )
    more = {
        "prompts": prompts,
        "options": {"$ref": "#/components/schemas/Options"},
        "deadline": {"type": "number", "minimum": SHORTEST_DEADLINE, "maximum": limits.deadline},
    }
    saved = _object(["id", "classes"], id={"type": "string"}, classes={"type": "array", "items": {"type": "object"}})
    examples = _list(file, limits.classes * MOST_SHOTS, 0)
    return {
        "Error": _object(["detail"], detail={"type": "string"}),
        "Prompt": {**words, "minProperties": 1},
        "BankReference": bank,
        "Options": options,
        "DetectBody": _object(["images", "prompts"], images=_list(encoded, limits.pictures), **more),
        "DetectForm": _object(["image", "prompts"], image=_list(file, limits.pictures), example=examples, **more),
        "PromptsBody": _object(["prompts"], prompts=shared),
        "PromptsForm": _object(["prompts"], prompts=shared, example=examples),
        "Results": _object(["results"], results={"type": "array", "items": {"type": "object"}}),
        "SavedPrompts": saved,
    }
