"""The same server as a deployment of Ray Serve: several replicas, on one machine or on a cluster."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xpose.cluster import connected
from xpose.errors import ConfigError
from xpose.inference.bank import PromptBank
from xpose.server.app import make_app
from xpose.server.banks import Banks
from xpose.server.limits import ServerLimits
from xpose.server.metrics import of_replicas
from xpose.server.running import listen, log_to_stderr
from xpose.server.service import Service
from xpose.serving import address_of

if TYPE_CHECKING:
    from xpose.inference import Detector

NAME = "xpose"  # of the application
Load = Callable[[], "Detector"]  # can be pickled, because replicas are other processes


@dataclass(frozen=True)
class Replicas:
    """How many replicas there are, and what each of them gets.

    Attributes:
        least, most: their number; if they differ, it follows the number of requests.
        gpus: for each replica, such as 1 or 0.25.
        address: of a cluster (`cluster.connected`).
    """

    least: int = 1
    most: int = 1
    gpus: float = 0.0
    address: str | None = None


class _SharedBanks(Banks):
    """The banks of a replica, which finds those of the others in an actor."""

    def __init__(self, most: int, shared: Any) -> None:
        super().__init__(most)
        self._shared = shared

    def put(self, key: str, bank: PromptBank) -> None:
        import ray

        super().put(key, bank)
        ray.get(self._shared.put.remote(key, bank))

    def get(self, key: str) -> PromptBank | None:
        import ray

        bank = super().get(key)
        if bank is not None:
            self._shared.touch.remote(key)
            return bank
        bank = ray.get(self._shared.get.remote(key))
        if bank is not None:
            super().put(key, bank)
        return bank


class _ReplicaService(Service):
    """The service of a replica, whose measurements are those of all replicas."""

    async def measurements(self) -> bytes:
        from ray import serve

        handle = serve.get_deployment_handle(Replica.__name__, NAME)
        return of_replicas(dict(await handle.broadcast("measured").results_async()))


class Replica:
    """One process with the network; Ray Serve gives it requests."""

    def __init__(self, load: Load, limits: ServerLimits, batch_size: int, keys: Sequence[str], shared: Any) -> None:
        self._keys = keys
        self._service = _ReplicaService(load(), limits, batch_size, _SharedBanks(limits.banks, shared))
        log_to_stderr()

    def __serve_build_asgi_app__(self) -> Any:
        app = make_app(self._service, keys=self._keys)
        self._service.warm_up()
        return app

    def measured(self) -> tuple[str, list[Any]]:
        """The name of this replica, and its measurements."""
        from ray import serve

        return serve.get_replica_context().replica_id.unique_id, self._service.metrics.families()


def run_on_ray(
    load: Load,
    limits: ServerLimits,
    batch_size: int,
    keys: Sequence[str],
    replicas: Replicas,
    host: str,
    port: int,
    ready: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or Ctrl-C; `ready` is called with the address.

    Raises:
        ConfigError: the address cannot be used, or no replica could be started.
        MissingExtraError: Ray is not installed.
    """
    with connected(replicas.address, replicas.least, replicas.gpus) as ray:
        from ray import serve

        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        address = f"http://{host}:{port}/"
        if replicas.address is None or port == 0:  # to refuse an address that is in use, and to choose a free port
            with listen(host, port) as door:
                port, address = door.getsockname()[1], address_of(door)
        shared = ray.remote(Banks).options(num_cpus=0, max_restarts=-1).remote(limits.banks)
        quiet = {"log_level": "WARNING", "enable_access_log": False}
        serve.start(http_options={"host": host, "port": port}, logging_config=quiet)
        deployment = serve.deployment(
            **_scaling(replicas, batch_size),
            ray_actor_options={"num_gpus": replicas.gpus},
            max_ongoing_requests=2 * limits.queue,  # a replica itself refuses those that its queue has no place for
            graceful_shutdown_timeout_s=limits.deadline + 1,
            logging_config=quiet,
        )(serve.ingress()(Replica))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            serve.run(deployment.bind(load, limits, batch_size, keys, shared), name=NAME)
            ray.get(shared.touch.remote(""))  # so that the first request need not wait for the actor to start
            ready(address)
            threading.Event().wait()
        except RuntimeError as error:
            last = str(error).strip().splitlines()[-1]
            raise ConfigError(f"Ray Serve could not start the server: {last}") from None
        finally:
            serve.delete(NAME)


def _scaling(replicas: Replicas, batch_size: int) -> dict[str, Any]:
    """The number of replicas; one more for every `batch_size` requests in progress."""
    if replicas.least == replicas.most:
        return {"num_replicas": replicas.least}
    limits = {"min_replicas": replicas.least, "max_replicas": replicas.most}
    return {"autoscaling_config": {**limits, "target_ongoing_requests": batch_size}}
