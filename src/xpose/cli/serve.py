"""`xpose serve`: detection over HTTP."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _console, _options, _prompts
from xpose.cli._inputs import absolute
from xpose.cli.demo import HOST, Host
from xpose.errors import ConfigError

if TYPE_CHECKING:
    from xpose.inference import Detector
    from xpose.server.on_ray import Replicas

_KEYS_HELP = "Requests to /v1 need one of the API keys in this file (one in each line), as: Authorization: Bearer KEY"
_QUEUE_HELP = (
    "Pictures that are read, wait or are in the network at most; further requests are told to try again (429)."
)
_DEADLINE_HELP = "Seconds that an answer may take; requests may ask for less."
_BATCH_HELP = (
    "Largest number of pictures of equal size in a call of PyTorch. ONNX Runtime gets one call per CPU thread."
)
Port = Annotated[int, typer.Option(min=0, max=65535, metavar="NUMBER", help="0 selects a free port.")]
Demo = Annotated[bool, typer.Option("--demo", help="Also serve the web demo, at /.")]
Keys = Annotated[Path | None, typer.Option("--keys", metavar="FILE", help=_KEYS_HELP)]
Queue = Annotated[int, typer.Option(min=1, max=100_000, metavar="N", help=_QUEUE_HELP)]
Deadline = Annotated[float, typer.Option(min=1, max=3600, metavar="SECONDS", help=_DEADLINE_HELP)]
_REPLICAS_HELP = "Processes with the network: a number, or MIN:MAX, which follows the number of requests."
ReplicaRange = Annotated[
    str | None, typer.Option("--replicas", metavar="N", help=_REPLICAS_HELP, rich_help_panel=_options.RAY)
]
BatchSize = Annotated[int, typer.Option(min=1, max=256, metavar="N", help=_BATCH_HELP)]


def serve(
    weights: _options.Weights = None,
    device: _options.Device = None,
    dtype: _options.Dtype = None,
    clip: _options.Clip = None,
    host: Host = HOST,
    port: Port = 8000,
    keys: Keys = None,
    demo: Demo = False,
    queue: Queue = 128,
    deadline: Deadline = 30.0,
    batch_size: BatchSize = 8,
    engine: _options.Engine = "local",
    replicas: ReplicaRange = None,
    gpus: _options.Gpus = 0.0,
    address: _options.Address = None,
) -> None:
    """Serve detection over HTTP.

    Only this machine can connect unless --host is given. Each request is one line of JSON on standard error, without
    the content of pictures and prompts. SIGTERM or Ctrl-C stops the server after it has finished what it took.

    Example: xpose serve --port 8000
    """
    from xpose.server.app import make_app, read_keys
    from xpose.server.limits import ServerLimits
    from xpose.server.running import listen, log_to_stderr, run
    from xpose.server.service import Service
    from xpose.serving import address_of

    if demo and keys is not None:
        raise ConfigError(
            "The page of --demo needs no API key, so that --keys would protect nothing. Omit one of them."
        )
    wanted = _replicas(engine, replicas, gpus, address, demo)
    known = [] if keys is None else read_keys(keys)
    limits = ServerLimits(queue=queue, pictures=min(queue, ServerLimits.pictures), deadline=deadline)
    if wanted is not None:
        from xpose.server.on_ray import run_on_ray

        load = partial(_prompts.load_detector, absolute(weights), None, device, dtype, clip and clip.absolute())
        run_on_ray(load, limits, batch_size, known, wanted, host, port, partial(_announce, host=host, keys=known))
        return
    detector = _prompts.load_detector(weights, None, device, dtype, clip)
    door = listen(host, port)
    with _page(detector, demo) as page:
        service = Service(detector, limits, batch_size)
        app = make_app(service, keys=known, page=page)
        service.warm_up()
        if not _console.is_quiet():
            log_to_stderr()
        run(app, door, limits.receive_seconds, deadline + 1, lambda: _announce(address_of(door), host, known))


def _replicas(engine: str, replicas: str | None, gpus: float, address: str | None, demo: bool) -> Replicas | None:
    """The options of Ray, or None for the server in this process."""
    _options.check_engine(engine, {"--replicas": replicas, "--gpus": gpus, "--address": address})
    if engine == "local":
        return None
    if demo:
        raise ConfigError("--demo keeps its visitors in one process, and --engine ray has several. Omit one of them.")
    match = re.fullmatch(r"(\d{1,4})(?::(\d{1,4}))?", replicas or "1")
    least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= least <= most:
        raise typer.BadParameter(f"{replicas!r} is no number or MIN:MAX. Write e.g. 2 or 1:8.", param_hint="--replicas")
    from xpose.server.on_ray import Replicas

    return Replicas(least, most, gpus, address)


@contextlib.contextmanager
def _page(detector: Detector, wanted: bool) -> Iterator[Any]:
    """The web demo, whose temporary files are deleted at the end."""
    if not wanted:
        yield None
        return
    from xpose.demo.controller import Controller
    from xpose.demo.server import make_app, temporary_folder

    with temporary_folder():
        yield make_app(Controller(detector))


def _announce(address: str, host: str, keys: list[str]) -> None:
    _console.show(f"The server is at {address} (stop it with Ctrl-C)")
    if host not in (HOST, "localhost", "::1") and not keys:
        _console.note("Other machines can use it, too, without a key. --keys FILE requires one.")
