"""Serving the page: private addresses for pictures and downloads, uploads that never touch the disk, no other host.

What the browser may load is stated in a Content-Security-Policy, so that even a mistake could not reach another host.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from xpose.demo.desk import Desk
from xpose.demo.sessions import SessionError
from xpose.demo.uploads import Limits, too_many_bytes
from xpose.demo.wiring import message
from xpose.errors import ConfigError, XPoseError, missing_extra

if TYPE_CHECKING:
    from xpose.inference import Detector

HOST, PORT = "127.0.0.1", 7860
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
# Gradio's own doors for files; the page has its own, and what nobody uses nobody can misuse.
_CLOSED = ("/gradio_api/upload", "/gradio_api/proxy", "/gradio_api/file", "/gradio_api/stream", "/proxy=", "/file=")
_SWEEP_SECONDS = 20.0
_CHUNK = 1 << 20
_SMALL = Limits(file_bytes=10_000)  # of a click
FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif"]
MONOSPACE = ["ui-monospace", "Consolas", "Menlo", "monospace"]


def make_app(desk: Desk) -> Any:
    """The page and its addresses as an ASGI application.

    Raises:
        MissingExtraError: Gradio is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read while Gradio is imported
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        import fastapi
        import gradio as gr
    except ImportError:
        raise missing_extra("The web demo", "gradio", "demo") from None
    from xpose.demo.page import STATIC, build

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep(desk))
        try:
            yield
        finally:
            sweeper.cancel()
            desk.sessions.forget_all()

    app = fastapi.FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    _add_routes(app, desk)
    app.add_middleware(Guard)
    theme = gr.themes.Base(font=FONTS, font_mono=MONOSPACE, primary_hue="blue").set(
        body_text_color_subdued="*neutral_600",  # the theme's own grey is too faint to read
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        input_placeholder_color="*neutral_500",
    )
    return gr.mount_gradio_app(
        app,
        build(desk),
        path="/",
        theme=theme,
        css=(STATIC / "page.css").read_text("utf-8"),
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size=1,
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
    )


class Guard:
    """Adds the headers that keep the browser on this host, and closes doors that the page does not use."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"].startswith(_CLOSED):
            await _plain(404, "There is nothing here.")(scope, receive, send)
            return

        async def send_guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self.app(scope, receive, send_guarded)


def _add_routes(app: Any, desk: Desk) -> None:
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse, Response, StreamingResponse

    async def upload(request: Any) -> Any:
        key, slot = request.path_params["key"], request.path_params["slot"]
        name = unquote(request.headers.get("x-name", "picture"))
        number = request.headers.get("x-number", "0")
        try:
            desk.sessions.get(key)  # before anything is read
            data = await _body(request, name, desk.limits)
            place = int(number) if number.isdecimal() else 0
            found = await run_in_threadpool(desk.receive, key, slot, name, place, data)
        except XPoseError as error:
            return JSONResponse({"message": str(error)}, 410 if isinstance(error, SessionError) else 422)
        return JSONResponse({"id": found})

    async def picture(request: Any) -> Any:
        try:
            data = desk.picture(request.path_params["key"], request.path_params["id"])
        except SessionError as error:
            return _plain(410, str(error))
        if data is None:
            return _plain(404, "There is no such picture.")
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})

    async def download(request: Any) -> Any:
        key, tab, name = (request.path_params[part] for part in ("key", "tab", "name"))
        try:
            file = await run_in_threadpool(desk.file, key, tab, name)
        except XPoseError as error:
            return _plain(410, str(error))
        if file is None:
            return _plain(404, "There is no such file yet. Run first.")
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        if isinstance(file.content, bytes):
            return Response(file.content, media_type=file.kind, headers=headers)
        return StreamingResponse(_pieces(file.content), media_type=file.kind, headers=headers)

    async def act(request: Any) -> Any:
        try:
            body = await _body(request, "the click", _SMALL)
        except XPoseError:
            body = b""
        return await run_in_threadpool(_part, _acted, desk, request.path_params["key"], body)

    async def batch(request: Any) -> Any:
        return await run_in_threadpool(_part, desk.batch, request.path_params["key"])

    async def close(request: Any) -> Any:
        desk.sessions.close(request.path_params["key"])
        return Response(status_code=204)

    app.add_route("/xpose/{key}/act", act, methods=["POST"])
    app.add_route("/xpose/{key}/batch", batch, methods=["GET"])
    app.add_route("/xpose/{key}/close", close, methods=["POST"])
    app.add_route("/xpose/{key}/upload/{slot}", upload, methods=["POST"])
    app.add_route("/xpose/{key}/picture/{id}", picture, methods=["GET"])
    app.add_route("/xpose/{key}/file/{tab}/{name}", download, methods=["GET"])


def _acted(desk: Desk, key: str, body: bytes) -> str:
    try:
        action = json.loads(body)
    except (ValueError, RecursionError):
        action = None
    return desk.on_pad(key, desk.act, action if isinstance(action, dict) else {})


def _part(make: Callable[..., str], *values: Any) -> Any:
    """A part of the page, made by the desk; mistakes are messages."""
    from starlette.responses import JSONResponse

    try:
        html = make(*values)
    except Exception as error:
        html = message(error)
    return JSONResponse({"html": html}, headers={"Cache-Control": "no-store"})


def _plain(status: int, text: str) -> Any:
    from starlette.responses import PlainTextResponse

    return PlainTextResponse(text, status)


async def _body(request: Any, name: str, limits: Limits) -> bytes:
    """The request's body, never more than the limit.

    Raises:
        ImageError: it is larger.
    """
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > limits.file_bytes:
            raise too_many_bytes(name, limits)
        pieces.append(piece)
    return b"".join(pieces)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """The content of an open file that somebody else may read at the same time."""
    place = 0
    while piece := _piece(file, place):
        place += len(piece)
        yield piece


def _piece(file: IO[bytes], place: int) -> bytes:
    with contextlib.suppress(ValueError):  # closed: the visitor has left
        file.seek(place)
        return file.read(_CHUNK)
    return b""


async def _sweep(desk: Desk) -> None:
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        desk.sessions.sweep()


def listen(host: str, port: int | None) -> socket.socket:
    """A socket for the page: the port that is asked for, else the usual one, else one that is free.

    Raises:
        ConfigError: the address cannot be used.
    """
    wrong_host = False
    for wanted in (PORT, 0) if port is None else (port,):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        found = socket.socket(family, socket.SOCK_STREAM)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((host, wanted))
            found.listen(128)
        except (OSError, OverflowError) as error:
            found.close()
            reason = getattr(error, "strerror", None) or str(error)
            wrong_host = isinstance(error, socket.gaierror) or getattr(error, "errno", None) == errno.EADDRNOTAVAIL
        else:
            return found
    if wrong_host:
        raise ConfigError(
            f"The page cannot be served at {host} ({reason}). The address must be one of this machine. Try: --host "
            "127.0.0.1 (this machine alone), or --host 0.0.0.0 (other machines, too)"
        )
    place = "a free port" if port == 0 else f"port {PORT if port is None else port}"
    raise ConfigError(
        f"The page cannot be served at {host}, {place} ({reason}). The address must be one of this machine "
        "and the port free. Try: --port 0 (any free port), or --host 127.0.0.1"
    )


def serve(
    detector: Detector,
    host: str = HOST,
    port: int | None = None,
    *,
    limits: Limits | None = None,
    ready: Callable[[str], None] = print,
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        detector: what finds things.
        host: the address to listen at; the usual one can be reached from this machine only.
        port: None takes the usual one, or a free one where that is taken; 0 always takes a free one.
        limits: what visitors may bring.
        ready: is called with the page's address once it answers.

    Raises:
        MissingExtraError: Gradio is not installed.
        ConfigError: the address cannot be used.
    """
    with contextlib.closing(listen(host, port)) as door, tempfile.TemporaryDirectory(prefix="xpose-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # nothing goes there, and if ever something did, it goes with us
        warm_up = threading.Thread(target=_warm_up, args=[detector])

        def started() -> None:
            ready(address_of(door))
            warm_up.start()

        server = make_server(make_app(Desk(detector, limits)), started)
        try:
            server.run(sockets=[door])
        finally:
            if warm_up.ident is not None:
                warm_up.join()


def _warm_up(detector: Detector) -> None:
    """Load what is loaded late, so that the first visitor does not wait for it; never where it would be fetched."""
    if detector.model.config.prompt_encoder == "nano":
        with contextlib.suppress(Exception):  # whoever asks for the same gets the message
            detector.detect(np.zeros((480, 640, 3), np.uint8), "object", max_instances=1)


def address_of(door: socket.socket) -> str:
    """Where the browser finds the page."""
    host, port = door.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/"


def make_server(app: Any, started: Callable[[], None]) -> Any:
    """A quiet web server that says when it is ready."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            started()

    # An open page keeps a connection; Ctrl-C does not wait for it.
    config = uvicorn.Config(app, log_level="error", access_log=False, ws="none", timeout_graceful_shutdown=1)
    return Server(config)
