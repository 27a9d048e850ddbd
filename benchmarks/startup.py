"""How long `import xpose` and `xpose --help` take: `python benchmarks/startup.py`.

Each command runs in fresh processes; the figure is the best of several, to exclude other load on the machine. The
exit code is 1 if a figure is over its limit. The tests check the cause (which modules are loaded), not the time.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import time

# Commands and their limits in seconds.
CASES = {
    "python -c pass": (["-c", "pass"], None),
    "import xpose": (["-c", "import xpose"], 0.5),
    "xpose --version": (["-m", "xpose", "--version"], 1.5),
    "xpose --help": (["-m", "xpose", "--help"], 1.5),
}


def best_of(arguments: list[str], runs: int) -> float:
    """The shortest of several runs of Python with these arguments, in seconds."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> int:
    """Measure, print a table, and compare with the limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    print(f"Python {platform.python_version()}, {platform.machine()}, best of {runs}")
    slow = False
    for name, (arguments, limit) in CASES.items():
        seconds = best_of(arguments, runs)
        slow = slow or (limit is not None and seconds > limit)
        print(f"{name:<18} {seconds:6.3f} s" + (f"   limit {limit} s" if limit is not None else ""))
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
