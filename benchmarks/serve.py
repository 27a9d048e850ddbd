"""Measure the HTTP server over loopback: requests that get lost, errors, times, memory, and the gain of batching.

    python benchmarks/serve.py                                  # 64 clients for 60 seconds, without OMP_NUM_THREADS
    python benchmarks/serve.py --clients 8 --seconds 5          # a quick look
    python benchmarks/serve.py -p unipose_swint.pth             # other weights

The server runs in another process, first as `xpose serve` does and then with one picture in the network at a time. Each
client sends one picture after the other, over one connection, and stops when the time is over.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from PIL import Image


class OneByOne:
    """A detector that gains nothing from several calls at once."""

    def __init__(self, detector) -> None:
        self._detector = detector

    def __getattr__(self, name: str):
        return getattr(self._detector, name)

    def side_by_side(self):
        """The detector for one call at a time."""
        return self._detector, 1


def serve_one_by_one(weights: str | None) -> None:
    """The server without batching."""
    from xpose.inference import load
    from xpose.server.app import make_app
    from xpose.server.limits import ServerLimits
    from xpose.server.running import listen, run
    from xpose.server.service import Service

    limits, door = ServerLimits(), listen("127.0.0.1", 0)
    service = Service(OneByOne(load(weights)), limits, batch_size=1)
    app = make_app(service)
    service.warm_up()
    run(app, door, limits.receive_seconds, 30, lambda: print(f"http://127.0.0.1:{door.getsockname()[1]}/", flush=True))


@dataclass
class Load:
    """What the clients saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    lost: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def body_of(side: int) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (side // 32, side // 32, 3), np.uint8)
    Image.fromarray(pixels).resize((side, side)).save(stream, "JPEG")
    parts = (b'name="image"; filename="a.jpg"', stream.getvalue()), (b'name="prompts"', b'[{"object": "person"}]')
    form = b"".join(b"--xx\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % part for part in parts)
    return form + b"--xx--\r\n"


def client(port: int, body: bytes, end: float, load: Load) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    while time.monotonic() < end:
        began = time.perf_counter()
        try:
            connection.request("POST", "/v1/detect", body, {"Content-Type": "multipart/form-data; boundary=xx"})
            answer = connection.getresponse()
            results = json.loads(answer.read()).get("results")
        except (OSError, http.client.HTTPException, ValueError):
            connection.close()
            with load.lock:
                load.lost += 1
            continue
        with load.lock:
            load.statuses[answer.status] += 1
            load.lost += answer.status == 200 and len(results) != 1
            load.seconds += [time.perf_counter() - began] if answer.status == 200 else []
        if answer.status == 429:
            time.sleep(float(answer.headers["Retry-After"]))


def resident_mb(pid: int) -> float:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        return sum(map(int, file.read().rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")


def measure(words: list[str], clients: int, seconds: float, side: int) -> float:
    """Pictures per second of a server."""
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as server:
        try:
            assert server.stdout is not None
            port = int(next(filter(None, (re.search(r"http://[\w.]+:(\d+)/", line) for line in server.stdout)))[1])
            warm_load, load, body = Load(), Load(), body_of(side)
            for into, length in ((warm_load, max(2.0, seconds / 6)), (load, seconds)):
                began, end = time.monotonic(), time.monotonic() + length
                threads = [threading.Thread(target=client, args=(port, body, end, into)) for _ in range(clients)]
                before, used = resident_mb(server.pid), cpu_seconds(server.pid)
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            used = (cpu_seconds(server.pid) - used) / max(1, len(load.seconds))
            rate, after = len(load.seconds) / (time.monotonic() - began), resident_mb(server.pid)
        finally:
            server.send_signal(signal.SIGTERM)
    errors = sum(count for status, count in load.statuses.items() if status not in (200, 429))
    p50, p99 = (statistics.quantiles(load.seconds, n=100)[n] for n in (49, 98))
    print(f"  {rate:.1f} pictures/s, p50 {p50:.2f} s, p99 {p99:.2f} s; {len(load.seconds)} answers, {load.lost} lost")
    print(f"  {1000 * used:.0f} ms of processor time per picture")
    print(f"  {errors} errors, {load.statuses[429]} told to return; memory {before:.0f} -> {after:.0f} MB")
    assert server.returncode == 0
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-p", "--weights")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--one-by-one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_by_one:
        serve_one_by_one(options.weights)
        return
    weights = ["-p", options.weights] if options.weights else []
    load = options.clients, options.seconds, options.side
    print(f"{options.clients} clients, {options.seconds:g} s, pictures of {options.side} x {options.side}")
    print("xpose serve:")
    fast = measure([sys.executable, "-m", "xpose", "-q", "serve", "--port", "0", *weights], *load)
    print("one by one:")
    slow = measure([sys.executable, __file__, "--one-by-one", *weights], *load)
    print(f"gain: {fast / slow:.2f} times")


if __name__ == "__main__":
    main()
