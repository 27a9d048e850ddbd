"""Compare `xpose batch` in one process on one core with two workers on Ray: rates, memory, and whether rows are equal.

    python benchmarks/batch.py                           # 20,000 pictures
    python benchmarks/batch.py --pictures 500            # a quick look
    python benchmarks/batch.py --corrupt 0.05            # with damaged files, which must all be listed

The pictures are random parts of scikit-image's photographs, 128 to 256 pixels wide, as JPEG files in tar files. The
network is the bundled one with a smaller input, so that 20,000 pictures are affordable. Rates are those of the whole
command with its start, which takes most of the time of a quick look on Ray. Memory is the largest sum over all
processes, in which shared memory counts once.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from xpose.model.checkpoints.known import bundled_weights

SHARD = 100
IN_TAR = 1000


@dataclass
class Outcome:
    """What a run took, and what it made."""

    seconds: float
    memory: int  # bytes
    folder: Path

    def rows(self) -> list[str]:
        """All rows, sorted."""
        import pyarrow.parquet

        return sorted(map(json.dumps, pyarrow.parquet.read_table(self.folder / "shards").to_pylist()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--corrupt", type=float, default=0.0, help="the share of damaged files")
    parser.add_argument("--side", type=int, default=128, help="the short side of the network's input")
    parser.add_argument("--words", default="person")
    parser.add_argument("--keypoints", help="only these, which makes the network faster")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        damaged = write_pictures(folder / "in", given.pictures, given.corrupt)
        command = [sys.executable, "-m", "xpose", "batch", folder / "in", "-t", given.words, "-q"]
        command += ["--keypoints", given.keypoints] if given.keypoints else []
        command += ["-p", smaller_weights(folder / "weights", given.side), "--shard-size", str(SHARD)]
        local = run([*command, "-o", folder / "local"], folder / "local", {0})
        command += ["--engine", "ray", "--workers", "2"]
        on_ray = run([*command, "-o", folder / "ray"], folder / "ray", os.sched_getaffinity(0))
        print(f"{given.pictures:,} pictures, {len(damaged):,} of them damaged, network input {given.side} pixels")
        for title, outcome in (("one process, one core", local), ("Ray, two workers", on_ray)):
            rate = given.pictures / outcome.seconds
            print(f"{title:<22} {rate:6.1f} pictures/s {outcome.seconds:8.1f} s {outcome.memory / 1e9:6.2f} GB")
        print(f"ratio {local.seconds / on_ray.seconds:.2f}")
        print(f"files are equal: {digests(local.folder) == digests(on_ray.folder)}")
        print(f"sorted rows are equal: {local.rows() == on_ray.rows()}")
        for outcome in (local, on_ray):
            assert failed(outcome.folder) == damaged, "other pictures failed than those that are damaged"
        print("exactly the damaged pictures are in the list of failed ones")


def write_pictures(folder: Path, count: int, corrupt: float) -> set[str]:
    """Tar files with pictures; the names of the damaged ones."""
    try:
        from skimage import data
    except ImportError:
        sys.exit('The photographs come with scikit-image, which is missing: pip install "xpose[examples]"')
    photographs = [Image.fromarray(array) for array in (data.astronaut(), data.chelsea(), data.coffee())]
    folder.mkdir()
    chance, damaged = np.random.default_rng(0), set[str]()
    for start in range(0, count, IN_TAR):
        path = folder / f"{start // IN_TAR:04}.tar"
        with tarfile.open(path, "w") as tar:
            for number in range(start, min(start + IN_TAR, count)):
                photograph = photographs[number % len(photographs)]
                side = int(chance.integers(150, 300))
                x, y = (int(chance.integers(0, size - side + 1)) for size in photograph.size)
                width = int(chance.integers(128, 257))
                stream = io.BytesIO()
                photograph.crop((x, y, x + side, y + side)).resize((width, width)).save(stream, "JPEG", quality=90)
                content = stream.getvalue()
                if chance.random() < corrupt:
                    content = content[: int(chance.integers(0, len(content) // 2))]
                    damaged.add(f"{path}#{number}.jpg")
                info = tarfile.TarInfo(f"{number}.jpg")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return damaged


def smaller_weights(folder: Path, side: int) -> Path:
    """The bundled weights with a smaller input."""
    shutil.copytree(bundled_weights()["xpose-nano"], folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"image_short": side, "image_long": 2 * side}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def run(command: list[object], out: Path, cores: set[int]) -> Outcome:
    """Run a command on these cores."""
    start, most = time.monotonic(), 0
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [str(word) for word in command], env=environment, preexec_fn=lambda: os.sched_setaffinity(0, cores)
    )
    while process.poll() is None:
        most = max(most, memory(process.pid))
        time.sleep(1)
    seconds = time.monotonic() - start
    manifest = json.loads((out / "manifest.json").read_text())
    if not manifest["complete"]:
        sys.exit("xpose batch failed.")
    return Outcome(seconds, most, out)


def memory(root: int) -> int:
    """The memory of a process and of those below it, in bytes."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
    below, total = {root}, 0
    while more := {number for number, parent in parents.items() if parent in below} - below:
        below |= more
    for number in below:
        try:
            lines = Path(f"/proc/{number}/smaps_rollup").read_text().splitlines()
            total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except OSError:
            continue
    return total


def digests(folder: Path) -> list[str]:
    """The digests of the shards, in order."""
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((folder / "shards").glob("*.parquet"))]


def failed(folder: Path) -> set[str]:
    """The pictures that failed."""
    path = folder / "failed.jsonl"
    return {json.loads(line)["picture"] for line in path.read_text().splitlines()} if path.exists() else set()


if __name__ == "__main__":
    main()
