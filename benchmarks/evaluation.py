"""Time and memory to score a whole results file: randomly generated people with 17 points.

    python benchmarks/evaluation.py                     # 5,000 pictures with 20 people each, 20 answers per picture
    python benchmarks/evaluation.py --pictures 50 --json out/evaluation.json
    python benchmarks/evaluation.py --check             # also run pycocotools on the same files, which takes longer

Two files in COCO's format are written first; then all that a user waits for is measured in a separate process: reading
both files, checking them, OKS-AP, box AP, and PCK. The memory is the peak of the process. The last line states whether
--seconds and --gibibytes were kept; the exit code is 1 if not.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from xpose.evaluation import PCK, BoxAP, OksAP
from xpose.evaluation.results import read_results, read_truth, score_results
from xpose.vocabulary import load_skeleton


def write_files(folder: Path, pictures: int, objects: int, seed: int = 0) -> None:
    """Write labels, and predictions near them with six digits, as networks write them."""
    random = np.random.default_rng(seed)
    names = load_skeleton("person").keypoints
    labels: dict[str, Any] = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 1280, "height": 960} for i in range(1, pictures + 1)],
        "categories": [{"id": 1, "name": "person", "keypoints": list(names)}],
        "annotations": [],
    }
    answers = []
    for image in range(1, pictures + 1):
        size = random.uniform(20, 300, (objects, 1, 2))
        low = random.uniform(0, (900, 600), (objects, 1, 2))
        places = low + random.uniform(0, 1, (objects, len(names), 2)) * size
        marks = random.choice([0, 1, 2], (objects, len(names), 1), p=[0.3, 0.1, 0.6])
        moved = places + random.normal(0, 0.03, places.shape) * size
        for one in range(objects):
            box = [*low[one, 0].round(2).tolist(), *size[one, 0].round(2).tolist()]
            points = np.concatenate((places[one].round(2), marks[one]), axis=1) * (marks[one] > 0)
            labels["annotations"].append(
                {
                    "id": len(labels["annotations"]) + 1,
                    "image_id": image,
                    "category_id": 1,
                    "bbox": box,
                    "area": round(box[2] * box[3] * 0.6, 2),
                    "iscrowd": 0,
                    "num_keypoints": int((marks[one] > 0).sum()),
                    "keypoints": [int(v) if v.is_integer() else v for v in points.ravel().tolist()],
                }
            )
            flat = np.concatenate((moved[one].round(6), np.full((len(names), 1), 2)), axis=1)
            entry = {"image_id": image, "category_id": 1, "score": round(float(random.random()), 6)}
            answers.append({**entry, "keypoints": flat.ravel().tolist()})
    (folder / "labels.json").write_text(json.dumps(labels))
    (folder / "results.json").write_text(json.dumps(answers))


def measure(folder: Path) -> dict[str, float]:
    """Seconds by stage, the scores, and the peak memory of this process."""
    started = time.perf_counter()
    stages: dict[str, float] = {}

    def lap(name: str) -> None:
        nonlocal started
        stages[f"seconds: {name}"] = time.perf_counter() - started
        started = time.perf_counter()

    truth = read_truth(folder / "labels.json")
    lap("reading the labels")
    results = read_results(folder / "results.json", truth)
    lap("reading the results")
    numbers: dict[str, float] = {}
    for metric, name in ((OksAP(), "OKS-AP"), (BoxAP(), "box AP"), (PCK((0.05, 0.2)), "PCK")):
        numbers |= score_results(truth, results, [metric])
        lap(name)
    total = sum(stages.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if platform.system() == "Darwin" else 1024
    kept = {name: numbers[name] for name in ("AP", "AR", "box AP", "PCK@0.2")}
    return {**stages, "seconds": total, "GiB": peak / 2**30, **kept}


def by_pycocotools(folder: Path) -> dict[str, float]:
    """The same two scores from pycocotools, and the time it took."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    started = time.perf_counter()
    numbers = {}
    with contextlib.redirect_stdout(io.StringIO()):
        labels = COCO(str(folder / "labels.json"))
        answers = labels.loadRes(str(folder / "results.json"))
        for kind, name in (("keypoints", "AP"), ("bbox", "box AP")):
            evaluator = COCOeval(labels, answers, kind)
            evaluator.evaluate()
            evaluator.accumulate()
            evaluator.summarize()
            numbers[name] = float(evaluator.stats[0])
    return {"seconds": time.perf_counter() - started, **numbers}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--objects", type=int, default=20, help="in each picture")
    parser.add_argument("--seconds", type=float, default=20.0, help="the limit for everything together")
    parser.add_argument("--gibibytes", type=float, default=2.0, help="the limit for the memory")
    parser.add_argument("--check", action="store_true", help="compare with pycocotools")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)  # the measured process
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, options.pictures, options.objects)
        # A separate process, so that memory for writing the files does not count.
        command = [sys.executable, __file__, "--measure", str(folder)]
        ours = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        theirs = by_pycocotools(folder) if options.check else {}
    table = Table(
        "",
        "here",
        *(["pycocotools"] if theirs else []),
        title=f"{options.pictures} pictures x {options.objects} people",
    )
    for key, value in ours.items():
        table.add_row(key, f"{value:.4g}", *([f"{theirs[key]:.4g}" if key in theirs else ""] if theirs else []))
    Console().print(table)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"here": ours, "pycocotools": theirs}, indent=2) + "\n")
    fine = ours["seconds"] <= options.seconds and ours["GiB"] <= options.gibibytes
    same = all(abs(ours[key] - theirs[key]) <= 1e-6 for key in theirs if key != "seconds")
    print(f"{'Within' if fine else 'OVER'} {options.seconds:g} seconds and {options.gibibytes:g} GiB.")
    if theirs:
        print(f"AP and box AP are {'equal' if same else 'NOT EQUAL'} to pycocotools' (to 1e-6).")
    return 0 if fine and same else 1


if __name__ == "__main__":
    sys.exit(main())
