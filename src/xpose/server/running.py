"""The socket, slow clients, and the end of the process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from xpose.errors import ConfigError, missing_extra
from xpose.server.app import LOG
from xpose.serving import open_socket, ready_server

PORT = 8000
_SLOW = json.dumps({"detail": "The header of the request did not arrive in time. Send it faster."}).encode()
_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_SLOW), _SLOW)
)


def listen(host: str, port: int) -> socket.socket:
    """An open socket; port 0 selects a free one.

    Raises:
        ConfigError: the address cannot be used.
    """
    try:
        return open_socket(host, port, 512)
    except OSError as error:
        raise ConfigError(
            f"The server cannot listen at {host}, port {port} ({error.strerror or error}). The address must be a free "
            "one of this machine. Try another --port, --host 127.0.0.1 (this machine only) or --host 0.0.0.0."
        ) from None


def run(
    app: Any, door: socket.socket, receive_seconds: float, finish_seconds: float, ready: Callable[[], None]
) -> None:
    """Serve until SIGTERM or Ctrl-C; requests that have begun get up to `finish_seconds` then.

    A client that takes more than `receive_seconds` for the header of a request is disconnected.
    """
    server = make_server(app, receive_seconds, finish_seconds, ready)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # which uvicorn raises again when it has finished
    with contextlib.closing(door):
        server.run(sockets=[door])


def make_server(app: Any, receive_seconds: float, finish_seconds: float, ready: Callable[[], None]) -> Any:
    """A server of uvicorn, which calls `ready` when it listens."""
    try:
        import uvicorn
        from uvicorn.protocols.http.h11_impl import H11Protocol
    except ImportError:
        raise missing_extra("The server", "uvicorn", "serve") from None

    class ImpatientProtocol(H11Protocol):
        """Closes a connection on which the header of a request, from its first byte or the start, takes too long."""

        _watch: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch = self.loop.call_later(receive_seconds, self._give_up)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            answering = self.cycle is not None and not self.cycle.response_complete
            if answering and self._watch is not None:
                self._watch.cancel()
                self._watch = None
            elif not answering and self._watch is None:
                self._watch = self.loop.call_later(receive_seconds, self._give_up)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._watch is not None:
                self._watch.cancel()
            super().connection_lost(exc)

        def _give_up(self) -> None:
            if not self.transport.is_closing():
                self.transport.write(_TOO_SLOW)
                self.transport.close()

    settings = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, round(finish_seconds)),
    )
    return ready_server(settings, ready)


def log_to_stderr() -> None:
    """Write one line of JSON for each request to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    LOG.handlers, LOG.propagate = [handler], False
    LOG.setLevel(logging.INFO)
