"""Serves the page; a Content-Security-Policy lets the browser load only from this host."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from xpose.demo.controller import Controller
from xpose.demo.pictures import photographs
from xpose.errors import ConfigError, missing_extra
from xpose.serving import address_of, open_socket, ready_server

if TYPE_CHECKING:
    from xpose.inference import Detector

PORT = 7860
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
_CLOSED = ("/gradio_api/proxy", "/gradio_api/stream", "/proxy=")  # unused by the page
_SWEEP_SECONDS = 20.0
# Gradio lacks the first two, and would show their keys; it says "Drop Media Here" for the third.
_TEXTS = {
    "common.complete": "Done",
    "image.no_webcam_support": "This browser gives the page no camera.",
    "upload_text.drop_gallery": "Drop Pictures Here",
}
FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif"]
MONOSPACE = ["ui-monospace", "Consolas", "Menlo", "monospace"]


def make_app(controller: Controller) -> Any:
    """The demo as an ASGI application; a `MissingExtraError` without Gradio."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep(controller))
        try:
            yield
        finally:
            sweeper.cancel()
            controller.sweep(everything=True)

    app = new_app(lifespan)
    from xpose.demo.page import CSS, build

    limits, paths = controller.limits, [str(path) for path in photographs().values()]
    # The page's own message about large files is better than the server's.
    return mount(app, build(controller), CSS, max_file_size=10 * limits.file_bytes, allowed_paths=paths)


def new_app(lifespan: Callable[[Any], Any] | None = None) -> Any:
    """An ASGI application without a page; a `MissingExtraError` without Gradio."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read while Gradio is imported
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        import fastapi
        import gradio  # noqa: F401 - fail before any work
    except ImportError:
        raise missing_extra("The web page", "gradio", "demo") from None
    app = fastapi.FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard)
    return app


def mount(app: Any, page: Any, css: str, **options: Any) -> Any:
    """The application with a page of Gradio at its root."""
    import gradio as gr

    theme = gr.themes.Base(font=FONTS, font_mono=MONOSPACE, primary_hue="blue").set(
        body_text_color_subdued="*neutral_600",  # the theme's own grey is too faint to read
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        input_placeholder_color="*neutral_500",
    )
    app = gr.mount_gradio_app(
        app,
        page,
        path="/",
        theme=theme,
        css=css,
        i18n=gr.I18n(en=_TEXTS),
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
        **options,
    )
    page._queue.sleep_when_free = 0.02  # seconds; by default Gradio looks for new runs a thousand times a second
    page.has_launched = True  # otherwise visitors could name any file of the server as an upload
    return app


class Guard:
    """Middleware that adds headers that limit the browser to this host, and blocks unused addresses."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle a request."""

        async def send_guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        if scope["type"] == "http" and scope["path"].startswith(_CLOSED):
            await send_guarded({"type": "http.response.start", "status": 404})
            await send({"type": "http.response.body"})
        else:
            await self.app(scope, receive, send_guarded)


async def _sweep(controller: Controller) -> None:
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        controller.sweep()


def listen(host: str, port: int | None) -> socket.socket:
    """Open a socket at the given port, or by default at the usual port or a free one."""
    for candidate in (PORT, 0) if port is None else (port,):
        try:
            return open_socket(host, candidate, 128)
        except (OSError, OverflowError) as error:
            reason = f"({getattr(error, 'strerror', None) or error})"
            wrong_host = isinstance(error, socket.gaierror) or getattr(error, "errno", None) == errno.EADDRNOTAVAIL
    address = host if wrong_host else f"{host}, port {port or PORT}"
    other = "" if wrong_host else "--port 0 (any free port), "
    raise ConfigError(
        f"The page cannot be served at {address} {reason}. The address must be a free one of this machine. Try: {other}"
        "--host 127.0.0.1 (this machine only), or --host 0.0.0.0 (other machines, too)"
    )


@contextlib.contextmanager
def temporary_folder() -> Iterator[None]:
    """A folder for Gradio's temporary files, which is deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="xpose-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        yield


def serve_demo(detector: Detector, host: str, port: int | None, ready: Callable[[str], None]) -> None:
    """Serve the demo until Ctrl-C; see `serve`."""
    serve(lambda: make_app(Controller(detector)), lambda: _warm_up(detector), host, port, ready)


def serve(
    make: Callable[[], Any], warm_up: Callable[[], None], host: str, port: int | None, ready: Callable[[str], None]
) -> None:
    """Serve the application that `make` returns until Ctrl-C, and call `ready` with its address once it answers.

    The default port is 7860, or a free one if it is in use; port 0 selects a free one. `warm_up` runs in a thread then.

    Raises:
        MissingExtraError: Gradio is not installed.
        ConfigError: the address cannot be used.
    """
    with contextlib.closing(listen(host, port)) as door, temporary_folder():
        warming = threading.Thread(target=warm_up)

        def started() -> None:
            ready(address_of(door))
            warming.start()

        server = make_server(make(), started)
        try:
            server.run(sockets=[door])
        finally:
            if warming.ident is not None:
                warming.join()


def _warm_up(detector: Detector) -> None:
    """Load the text encoder before the first visitor needs it, unless that would download it."""
    if detector.engine.config.prompt_encoder == "nano":
        with contextlib.suppress(Exception):  # visitors get the error
            detector.detect(np.zeros((480, 640, 3), np.uint8), "object", max_instances=1)


def make_server(app: Any, started: Callable[[], None]) -> Any:
    """A quiet web server that calls `started` when it is ready."""
    import uvicorn

    # An open page keeps a connection; Ctrl-C does not wait for it.
    settings = uvicorn.Config(app, log_level="error", access_log=False, ws="none", timeout_graceful_shutdown=1)
    return ready_server(settings, started)
