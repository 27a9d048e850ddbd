"""Draw answers to judge by eye: `python benchmarks/judge.py --data DIR --out FOLDER`.

    python benchmarks/judge.py --data DIR --out out/judge --per-set 2 --seed 0
    python benchmarks/judge.py --data DIR --out out/judge --only coco_person --only animal_pose --total 40

Some validation pictures of each set, chosen by the seed, are prompted as in the protocol `as-used`: with words, one
category per prompt, with the settings shipped with the weights. A PNG per picture shows the answers but no labels,
below the prompt; `sheet.png` shows all pictures at a small size, `list.tsv` lists them. The choice does not
depend on the weights or on the answers, so that several weights can be judged on the same pictures.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from rich.progress import track

import xpose
from xpose.evaluation.data import EvaluationData
from xpose.evaluation.protocols import load_protocol
from xpose.evaluation.questions import Task
from xpose.evaluation.sources import DetectorSource
from xpose.inference import Detector
from xpose.results import Poses

SIDE, COLUMNS, TILE = 640, 5, 300  # pixels of a picture's longer side, pictures in a row of the sheet, their size there
PAPER, INK = (255, 255, 255), (31, 41, 51)


def main() -> None:
    """Choose, detect, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, nargs="+", help="folders with the sets")
    parser.add_argument("--only", action="append", default=[], help="a set; left out: all")
    parser.add_argument("--split", default="val")
    parser.add_argument("--weights", help="others than those that come with xpose")
    parser.add_argument("--per-set", type=int, default=2, help="pictures of each set")
    parser.add_argument("--total", type=int, help="at most so many in all, drawn by the seed from those of the sets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    tasks = chosen(EvaluationData.at(given.data, given.split, given.only), given.per_set, given.total, given.seed)
    given.out.mkdir(parents=True, exist_ok=True)
    detector, shown, lines = xpose.load(given.weights), [], ["picture\tasked\tfile"]
    for number, task in enumerate(track(tasks, "asking", transient=True), start=1):
        title, drawing = judged(detector, task, number)
        file = f"{number:03}-{task.record.source}.png"
        drawing.save(given.out / file)
        shown.append(drawing)
        lines.append(f"{task.key}\t{title}\t{file}")
    sheet(shown).save(given.out / "sheet.png")
    (given.out / "list.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(tasks)} pictures of {len({task.record.source for task in tasks})} sets: {given.out}/sheet.png")


def chosen(data: EvaluationData, per_set: int, total: int | None, seed: int) -> list[Task]:
    """Choose tasks of each set by seed and picture names only; adding a set does not change the others' tasks."""
    protocol = load_protocol("as-used")
    sets: dict[str, list[Task]] = {}
    for task in protocol.tasks(data, protocol.usual):
        sets.setdefault(task.record.source, []).append(task)
    drawn = []
    for name, tasks in sorted(sets.items()):
        tasks.sort(key=lambda task: task.key)
        drawn += random.Random(f"{seed}/{name}").sample(tasks, min(per_set, len(tasks)))
    if total is not None and total < len(drawn):
        drawn = random.Random(seed).sample(drawn, total)
    return sorted(drawn, key=lambda task: task.key)


def judged(detector: Detector, task: Task, number: int) -> tuple[str, Image.Image]:
    """The prompt, and the picture with all answers under that title."""
    pixels = task.pixels()
    # Drawing uses the detector's pixel convention, not the labels'.
    settings = replace(load_protocol("as-used").usual, index_pixels=True)
    (answers,) = DetectorSource(detector).answer([task], [pixels], settings)
    poses = Poses.concatenate(answers)
    asked = ", ".join(one.called for question in task.questions for one in question.asked)
    picture = Image.fromarray(pixels)
    factor = max(1.0, SIDE / max(picture.size))
    size = (round(picture.width * factor), round(picture.height * factor))
    drawing = poses.draw(picture.resize(size, Image.Resampling.BICUBIC), legend="none")
    return asked, _titled(drawing, f"{number}. {asked}: {len(poses)} found")


def _titled(picture: Image.Image, title: str) -> Image.Image:
    font = ImageFont.load_default(18)
    page = Image.new("RGB", (max(picture.width, int(font.getlength(title)) + 16), picture.height + 30), PAPER)
    ImageDraw.Draw(page).text((8, 5), title, fill=INK, font=font)
    page.paste(picture, (0, 30))
    return page


def sheet(pictures: Sequence[Image.Image]) -> Image.Image:
    """All pictures at a small size, in rows."""
    rows = max(1, -(-len(pictures) // COLUMNS))
    page = Image.new("RGB", (COLUMNS * TILE, rows * TILE), PAPER)
    for place, picture in enumerate(pictures):
        small = picture.copy()
        small.thumbnail((TILE - 6, TILE - 6), Image.Resampling.LANCZOS)
        page.paste(small, (place % COLUMNS * TILE + 3, place // COLUMNS * TILE + 3))
    return page


if __name__ == "__main__":
    main()
