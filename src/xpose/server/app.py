"""The ASGI application: routes, API keys, errors as JSON, one log line per request."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from xpose.errors import ConfigError, missing_extra, quote
from xpose.results.formats.json import json_text
from xpose.server import openapi
from xpose.server.limits import RefusalError, ServerLimits
from xpose.server.parsing import Body, deadline_of, read_body
from xpose.server.service import Service, skeletons

LOG = logging.getLogger("xpose.server")
_DETECT = ("prompts", "options", "deadline")
_FEWEST_CHARACTERS = 16  # of an API key
_NOT_LOGGED = ("/healthz", "/readyz", "/metrics")

Scope = Any
Answer = Callable[[Any], Awaitable[Any]]


def read_keys(path: Path) -> list[str]:
    """The API keys in a file: one in each line, except for empty lines and comments (#).

    Raises:
        ConfigError: the file cannot be read, has no key, or a short one.
    """
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ConfigError(f"The keys cannot be read from {quote(path)} ({reason}). Check the path.") from None
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise ConfigError(f"{quote(path)} has no API key. Write one key in each line.")
    if short := next((number for number, key in enumerate(keys, 1) if len(key) < _FEWEST_CHARACTERS), None):
        raise ConfigError(
            f"Key {short} in {quote(path)} is shorter than {_FEWEST_CHARACTERS} characters. Make one with: "
            "openssl rand -hex 32"
        )
    return keys


def make_app(service: Service, *, keys: Sequence[str] = (), page: Any = None) -> Any:
    """The application.

    Args:
        service: what answers, after `Service.warm_up`; it is closed when the application ends.
        keys: API keys, one of which every request to /v1 must have; none if the server is open.
        page: another ASGI application for all other addresses, such as the web demo.

    Raises:
        MissingExtraError: FastAPI is not installed.
    """
    try:
        from fastapi import FastAPI
    except ImportError:
        raise missing_extra("The server", "fastapi", "serve") from None

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            if page is not None:
                await stack.enter_async_context(page.router.lifespan_context(page))
            yield
            await asyncio.get_running_loop().run_in_executor(None, service.close)

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    described = openapi.document(service.limits, bool(keys))
    app.openapi = lambda: described  # type: ignore[method-assign]
    routes = _Routes(service).by_path()
    for path, (method, endpoint) in routes.items():
        app.add_route(path, endpoint, [method])
    app.add_exception_handler(RefusalError, _refuse)
    app.add_exception_handler(404, _refuse_http)
    app.add_exception_handler(405, _refuse_http)
    if page is not None:
        app.mount("/", page)
    app.add_middleware(_Frame, service=service, keys=keys, routes=[*routes, "/openapi.json"])
    return app


class _Routes:
    """What answers at each address."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def by_path(self) -> dict[str, tuple[str, Answer]]:
        """Method and endpoint by path."""
        return {
            "/v1/detect": ("POST", self.detect),
            "/v1/prompts": ("POST", self.prompts),
            "/v1/skeletons": ("GET", self.skeletons),
            "/v1/models": ("GET", self.models),
            "/healthz": ("GET", self.healthz),
            "/readyz": ("GET", self.readyz),
            "/metrics": ("GET", self.metrics),
        }

    async def detect(self, request: Any) -> Any:
        return _json(await _answered(request, self.service, self.service.detect, _DETECT))

    async def prompts(self, request: Any) -> Any:
        return _json(await _answered(request, self.service, self.service.save_prompts, ("prompts",)))

    async def skeletons(self, _: Any) -> Any:
        return _json(skeletons())

    async def models(self, _: Any) -> Any:
        return _json(self.service.models())

    async def healthz(self, _: Any) -> Any:
        return _json({"status": "alive"})

    async def readyz(self, _: Any) -> Any:
        if not self.service.ready:
            raise RefusalError(503, "The server is starting or stopping.", **{"Retry-After": "1"})
        return _json({"status": "ready"})

    async def metrics(self, _: Any) -> Any:
        from starlette.responses import Response

        text = await self.service.measurements()
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _json(values: object, status: int = 200, headers: Any = None) -> Any:
    from starlette.responses import Response

    return Response(json_text(values), status, headers, "application/json")


async def _refuse(_: Any, error: Any) -> Any:
    return _json({"detail": error.detail}, error.status, error.headers)


async def _refuse_http(request: Any, error: Any) -> Any:
    detail = f"{quote(request.url.path)} is no address of this server. /openapi.json describes all of them."
    if error.status_code == 405:
        detail = f"{quote(request.method)} is not possible here. Use {error.headers['Allow']}."
    return _json({"detail": detail}, error.status_code, error.headers)


async def _answered(
    request: Any, service: Service, work: Callable[[Body], Awaitable[dict[str, Any]]], known: Sequence[str]
) -> dict[str, Any]:
    """Read the body and do the work, before the deadline."""
    limits, began = service.limits, time.perf_counter()
    held = request.scope["xpose.held"]
    with service.metrics.timed("receive"):
        data = await _received(request, held, limits)
    body = await read_body(data, request.headers.get("content-type", ""), known, limits)
    del data
    request.scope["xpose.pictures"] = len(body.images)
    seconds = deadline_of(body, limits)
    try:
        async with asyncio.timeout(max(0.0, seconds - (time.perf_counter() - began))):
            return await work(body)
    except TimeoutError:
        raise RefusalError(504, f"The deadline of {seconds:g} s has passed. Send fewer pictures at once.") from None


async def _received(request: Any, held: _HeldBytes, limits: ServerLimits) -> bytes:
    """The body, which is refused as soon as it is too large or too slow."""
    too_large = RefusalError(413, f"The body is larger than {limits.body_bytes / 1e6:g} MB. Send fewer pictures.")
    # Somewhat larger bodies are read to their end, because most clients read no answer before all is sent.
    most_discarded = 8 * limits.body_bytes
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > most_discarded:
        raise too_large
    from starlette.requests import ClientDisconnect

    parts, count = bytearray(), 0
    try:
        async with asyncio.timeout(limits.receive_seconds):
            async for part in request.stream():
                count += len(part)
                if count > most_discarded:
                    raise too_large
                if count > limits.body_bytes:
                    parts.clear()
                else:
                    held.add(len(part))
                    parts += part
    except TimeoutError:
        raise RefusalError(
            408, f"The body did not arrive within {limits.receive_seconds:g} s. Send it faster, or in smaller parts."
        ) from None
    except ClientDisconnect:
        raise RefusalError(400, "The connection was closed before the body was complete.") from None
    if count > limits.body_bytes:
        raise too_large
    return bytes(parts)


class _HeldBytes:
    """The bytes of one request, counted in the total of all requests."""

    def __init__(self, frame: _Frame) -> None:
        self.frame, self.count = frame, 0

    def add(self, count: int) -> None:
        self.count += count
        self.frame.held += count
        if self.frame.held > self.frame.service.limits.held_bytes:
            raise RefusalError(
                429, "The server holds too many large requests. Try again in 1 s.", **{"Retry-After": "1"}
            )


class _Frame:
    """Around everything: API keys, measurements, the log, and an answer to errors that nobody expected."""

    def __init__(self, app: Any, service: Service, keys: Sequence[str], routes: Sequence[str]) -> None:
        self.app, self.service, self.routes, self.held = app, service, frozenset(routes), 0
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, request_id = time.perf_counter(), 500, secrets.token_hex(8)
        held = scope["xpose.held"] = _HeldBytes(self)
        started = False

        async def send_noted(message: Any) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        route = scope["path"] if scope["path"] in self.routes else "other"
        error: Exception | None = None
        try:
            if self._digests and scope["path"].startswith("/v1/") and not self._has_key(scope):
                way_out = "Send one as: Authorization: Bearer KEY"
                await _send_error(send_noted, 401, f"The request has no valid API key. {way_out}")
            else:
                await self.app(scope, receive, send_noted)
        except Exception as unexpected:  # the client gets a number, and the log the error
            error = unexpected
            if not started:
                await _send_error(send_noted, 500, f"Internal error; it is in the server's log as {request_id}.")
        finally:
            self.held -= held.count
            seconds = time.perf_counter() - began
            self.service.metrics.answered(route, status, seconds)
            if error is not None or route not in _NOT_LOGGED:
                _log(scope, route, request_id, status, seconds, error)

    def _has_key(self, scope: Scope) -> bool:
        header = dict(scope["headers"]).get(b"authorization", b"")
        kind, _, key = header.partition(b" ")
        digest = hashlib.sha256(key.strip()).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]  # all, so that time tells nothing
        return kind.lower() == b"bearer" and any(matches)


def _log(scope: Scope, route: str, request_id: str, status: int, seconds: float, error: Exception | None) -> None:
    """One line of JSON, with nothing that the request contained."""
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "request": request_id,
        "client": (scope.get("client") or ("",))[0],
        "method": scope["method"] if scope["method"].isalpha() else "?",
        "route": route,
        "status": status,
        "seconds": round(seconds, 4),
        "pictures": scope.get("xpose.pictures", 0),
    }
    if error is None:
        LOG.info(json.dumps(line))
    else:
        trace, places = error.__traceback__, []
        while trace is not None:
            places.append(f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}")
            trace = trace.tb_next
        LOG.error(json.dumps({**line, "error": type(error).__name__, "places": places[-8:]}))


async def _send_error(send: Any, status: int, detail: str) -> None:
    headers = [(b"content-type", b"application/json")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json_text({"detail": detail}).encode()})
