"""How lower precision changes the results on photographs: `python benchmarks/precision.py`.

    python benchmarks/precision.py --dtype bfloat16 --weights xpose-nano-open
    python benchmarks/precision.py --device cuda --dtype float16

The photographs are scikit-image's. It prints the differences from float32 for objects that both precisions find, and
the processor time of encoding a picture and of the rest, alternating between both precisions in one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from skimage import data

import xpose

PHOTOGRAPHS = (("astronaut", "person"), ("astronaut", "face"), ("chelsea", "cat"), ("camera", "person"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights")
    parser.add_argument("--device")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    detectors = [xpose.load(options.weights, device=options.device, dtype=dtype) for dtype in (None, options.dtype)]
    seconds: dict[str, list[list[float]]] = {"encoding": [[], []], "the rest": [[], []]}
    for name, word in PHOTOGRAPHS:
        pixels = getattr(data, name)()
        for turn in range(options.repeats + 1):
            results = []
            for number, detector in enumerate(detectors):
                start = time.process_time()
                encoded = detector.encode_image(pixels)
                middle = time.process_time()
                results.append(detector.detect(encoded, word))
                if turn:  # the first one encodes the words and warms the caches
                    seconds["encoding"][number].append(middle - start)
                    seconds["the rest"][number].append(time.process_time() - middle)
        print(f"{name:<10} {word:<7} {differences(*results)}")
    for part, (exact, lowered) in seconds.items():
        values = (1000 * statistics.median(times) for times in (exact, lowered))
        print("{}: {:.0f} ms in float32, {:.0f} ms in {}".format(part, *values, options.dtype))


def differences(exact: xpose.Poses, lowered: xpose.Poses) -> str:
    """Keypoints in shares of the longer side of the object's box, and scores."""
    if len(exact) != len(lowered) or not len(exact):
        return f"{len(exact)} and {len(lowered)} objects"
    sides = (exact.boxes[:, 2:] - exact.boxes[:, :2]).max(axis=1)
    shares = np.linalg.norm(exact.xy - lowered.xy, axis=-1) / sides[:, None]
    scores = np.abs(exact.scores - lowered.scores).max()
    keypoints = f"median {np.nanmedian(shares):.1%}, mean {np.nanmean(shares):.1%}, largest {np.nanmax(shares):.1%}"
    return f"keypoints: {keypoints} of the box; scores: {scores:.4f}"


if __name__ == "__main__":
    main()
