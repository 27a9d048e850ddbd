"""`xpose demo`: the web page."""

from __future__ import annotations

from typing import Annotated

import typer

from xpose.cli import _console, _prompts

HOST = "127.0.0.1"


def demo(
    weights: _prompts.Weights = None,
    device: _prompts.Device = None,
    dtype: _prompts.Dtype = None,
    clip: _prompts.Clip = None,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Where to listen; 0.0.0.0 lets other machines in.")
    ] = HOST,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=0, max=65535, metavar="NUMBER", help="Left out: 7860, or a free one if that is taken."
        ),
    ] = None,
) -> None:
    """Open a web page: name keypoints in words, or show them by clicking, and see them found.

    Nothing leaves this machine, and only this machine can open the page unless --host says otherwise. Ctrl-C ends it.

    Example: xpose demo
    """
    import os

    from xpose.demo.server import serve

    if _console.debugging():
        os.environ["XPOSE_DEBUG"] = "1"  # faults met while serving are printed as well
    detector = _prompts.load_detector(weights, None, device, dtype, clip)

    def ready(address: str) -> None:
        _console.show(f"The page is at {address} (Ctrl-C ends it)")
        if host not in (HOST, "localhost", "::1"):
            _console.note("Other machines can open it, too: whoever reaches this address may use it.")

    serve(detector, host, port, ready=ready)
