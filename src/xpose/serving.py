"""Sockets and web servers, which the web demo and the HTTP server share."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any


def open_socket(host: str, port: int, backlog: int) -> socket.socket:
    """A socket that listens; port 0 selects a free one.

    Raises:
        OSError, OverflowError: the address cannot be used.
    """
    door = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((host, port))
        door.listen(backlog)
    except (OSError, OverflowError):
        door.close()
        raise
    return door


def address_of(door: socket.socket) -> str:
    """The address that a browser on this machine opens."""
    host, port = door.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/"


def ready_server(settings: Any, ready: Callable[[], None]) -> Any:
    """A server of uvicorn with these settings (`uvicorn.Config`), which calls `ready` when it listens."""
    import uvicorn

    class ReadyServer(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            ready()

    return ReadyServer(settings)
