"""`xpose demo`: serve the web demo."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated

import typer

from xpose.cli import _console, _options, _prompts

HOST = "127.0.0.1"
_HOST_HELP = "Address to listen at; 0.0.0.0 allows other machines to connect."
_PORT_HELP = "Default: 7860, or a free port if it is in use."
Host = Annotated[str, typer.Option(metavar="ADDRESS", help=_HOST_HELP)]
Port = Annotated[int | None, typer.Option(min=0, max=65535, metavar="NUMBER", help=_PORT_HELP)]


def demo(
    weights: _options.Weights = None,
    device: _options.Device = None,
    dtype: _options.Dtype = None,
    clip: _options.Clip = None,
    host: Host = HOST,
    port: Port = None,
) -> None:
    """Serve a web page for detecting keypoints with words and clicks.

    No data leaves this machine, and only this machine can open the page unless --host is given. Stop it with Ctrl-C.

    Example: xpose demo
    """
    from xpose.demo.server import serve_demo

    detector = _prompts.load_detector(weights, None, device, dtype, clip)
    serve_demo(detector, host, port, announce(host))


def announce(host: str) -> Callable[[str], None]:
    """A function that prints the address of a page that is served at `host`."""
    if _console.debugging():
        os.environ["XPOSE_DEBUG"] = "1"  # also print errors while serving

    def ready(address: str) -> None:
        _console.show(f"The page is at {address} (stop it with Ctrl-C)")
        if host not in (HOST, "localhost", "::1"):
            _console.note("Other machines can open it, too: anyone who can reach this address may use it.")

    return ready
