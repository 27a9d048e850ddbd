"""`xpose demo`: serve the web demo."""

from __future__ import annotations

from typing import Annotated

import typer

from xpose.cli import _console, _options, _prompts

HOST = "127.0.0.1"
_HOST_HELP = "Address to listen at; 0.0.0.0 allows other machines to connect."
_PORT_HELP = "Default: 7860, or a free port if it is in use."


def demo(
    weights: _options.Weights = None,
    device: _options.Device = None,
    dtype: _options.Dtype = None,
    clip: _options.Clip = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help=_HOST_HELP)] = HOST,
    port: Annotated[int | None, typer.Option(min=0, max=65535, metavar="NUMBER", help=_PORT_HELP)] = None,
) -> None:
    """Serve a web page for detecting keypoints with words and clicks.

    No data leaves this machine, and only this machine can open the page unless --host is given. Stop it with Ctrl-C.

    Example: xpose demo
    """
    import os

    from xpose.demo.server import serve_demo

    if _console.debugging():
        os.environ["XPOSE_DEBUG"] = "1"  # also print errors while serving
    detector = _prompts.load_detector(weights, None, device, dtype, clip)

    def ready(address: str) -> None:
        _console.show(f"The page is at {address} (stop it with Ctrl-C)")
        if host not in (HOST, "localhost", "::1"):
            _console.note("Other machines can open it, too: anyone who can reach this address may use it.")

    serve_demo(detector, host, port, ready)
