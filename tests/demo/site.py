"""The demo served to the tests: in a thread of this process, at a port that the system chooses, with every way to
another host shut."""

from __future__ import annotations

import ipaddress
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.demo.conftest import Forwards, counting_detector

from xpose.demo.controller import Controller
from xpose.demo.pictures import Limits
from xpose.demo.server import listen, make_app, make_server
from xpose.serving import address_of

PATIENCE = 60.0  # seconds; a busy machine is no fault of the code
LIMITS = Limits(file_bytes=900_000, pixels=4_000_000, pictures=6)


@dataclass
class Site:
    """A served demo.

    Attributes:
        address: of the page, with a slash at its end.
        controller: what answers.
        forwards: how often the network ran.
        tried: connections to other hosts that were tried, and refused.
    """

    address: str
    controller: Controller
    forwards: Forwards
    tried: list[str] = field(default_factory=list)

    def get(self, path: str) -> tuple[int, bytes, Any]:
        """Status, body and headers."""
        return self.ask(urllib.request.Request(self.address + path))

    def ask(self, request: urllib.request.Request) -> tuple[int, bytes, Any]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), error.headers


def is_here(host: object) -> bool:
    """Whether a host is this machine."""
    if host in (None, "", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


@contextmanager
def no_other_host(tried: list[str]) -> Iterator[None]:
    """Refuse, and write down, every connection of this process to another host and every search for one."""

    def guard(name: str, place: int) -> Any:
        real = getattr(socket.socket, name)

        def guarded(self: socket.socket, *args: Any) -> Any:
            address = args[place]
            if self.family in (socket.AF_INET, socket.AF_INET6) and not is_here(address[0]):
                tried.append(f"{name} {address}")
                raise OSError(f"the test forbids {name} to {address}")
            return real(self, *args)

        return guarded

    real_lookup = socket.getaddrinfo

    def lookup(host: Any, *args: Any, **options: Any) -> Any:
        if not is_here(host) and host != "0.0.0.0":
            tried.append(f"look up {host}")
            raise OSError(f"the test forbids looking up {host}")
        return real_lookup(host, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        for name, place in (("connect", 0), ("connect_ex", 0), ("sendto", -1)):
            patch.setattr(socket.socket, name, guard(name, place))
        patch.setattr(socket, "getaddrinfo", lookup)
        yield


@contextmanager
def hosted(make: Callable[[], Any], tried: list[str]) -> Iterator[str]:
    """Serve the application that `make` returns; its address. `tried` takes the connections to other hosts."""
    started = threading.Event()
    door = listen("127.0.0.1", 0)
    with no_other_host(tried):
        server = make_server(make(), started.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
        thread.start()
        try:
            assert started.wait(PATIENCE), "the server did not start"
            yield address_of(door)
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            door.close()
    assert not thread.is_alive()
    assert tried == []


@contextmanager
def served() -> Iterator[Site]:
    """A demo with a small detector and narrow limits."""
    detector, forwards = counting_detector()
    controller = Controller(detector, LIMITS)
    tried: list[str] = []
    with hosted(lambda: make_app(controller), tried) as address:
        yield Site(address, controller, forwards, tried)
