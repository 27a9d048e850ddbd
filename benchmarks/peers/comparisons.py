"""What is measured: comparisons and their contestants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from xpose.vocabulary import load_skeleton
from xpose.vocabulary.categories import list_categories

# The engines that run the bundled weights: the name in the tables, and that for `xpose.load`.
ENGINES = {"PyTorch": "torch", "ONNX Runtime": "onnx"}

TORCH = "torch>=2.6,<2.14"
ENVIRONMENTS = {
    "transformers": (TORCH, "transformers>=4.48,<6", "pillow"),
    "mediapipe": ("mediapipe==0.10.21",),
}
OURS = ""  # the environment that runs the command


@dataclass(frozen=True)
class Contestant:
    """One program that is measured: a function of `systems.py` with its settings."""

    name: str
    system: str
    settings: Mapping[str, Any]
    environment: str = OURS


@dataclass(frozen=True)
class Comparison:
    """Contestants that take turns; the first one is the base of the ratios."""

    name: str
    title: str
    contestants: tuple[Contestant, ...]
    note: str = ""
    axis: str = ""  # of a growth curve, whose contestants are named by their place on it
    rounds: int = 7
    calls: int = 3  # per turn
    starts: int = 1  # fresh processes whose first result is timed
    estimate: float = 10.0  # seconds, for the remaining time
    pictures: tuple[str, ...] = ()


def all_comparisons(folder: Path, pictures: Sequence[Path], quick: bool) -> list[Comparison]:
    """Every comparison; the pictures that they need are written to `folder`."""
    size = (256, 341) if quick else (800, 1066)
    photographs = tuple(map(str, (photograph(folder), *pictures)))
    peers = [_same_family(size, photographs), *_mediapipe(photographs), *_top_down(folder, size)]
    growth = [
        _objects(folder),
        _growth("classes", "prompted classes", [(n, {"prompts": words(n)}) for n in (1, 10, 80, 400)], photographs),
        _growth("keypoints", "keypoints", [(n, {"prompts": keypoints(n)}) for n in (5, 17, 68, 133)], photographs),
        _growth(
            "side", "longer side of the input", [_side(n) for n in (256, 384, 512, 640, 800, 1066, 1333)], photographs
        ),
        _growth("batch", "pictures per batch", [(n, {"batch": n}) for n in (1, 2, 4, 8, 16)], photographs),
    ]
    return [_quick(entry) for entry in peers + growth] if quick else peers + growth


def photograph(folder: Path) -> Path:
    """scikit-image's astronaut."""
    path = folder / "astronaut.png"
    if not path.exists():
        from skimage import data

        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(data.astronaut()).save(path)
    return path


def crowd(folder: Path, people: int) -> tuple[Path, list[tuple[int, int, int, int]]]:
    """A canvas of 1280×960 pixels with so many copies of the photograph, and the box of each of them."""
    columns, rows = (5, 4) if people <= 20 else (10, 5)
    side = min(1280 // columns, 960 // rows)
    corners = [(1280 // columns * (n % columns), 960 // rows * (n // columns)) for n in range(people)]
    path = folder / f"people-{people}.png"
    if not path.exists():
        copy = Image.open(photograph(folder)).resize((side, side), Image.Resampling.LANCZOS)
        canvas = Image.new("RGB", (1280, 960), (128, 128, 128))
        for corner in corners:
            canvas.paste(copy, corner)
        canvas.save(path)
    return path, [(x, y, x + side, y + side) for x, y in corners]


def words(count: int) -> list[dict[str, Any]]:
    """Prompts for so many classes of the vocabulary."""
    return [{"object": entry.name} for entry in list_categories()[:count]]


def keypoints(count: int) -> list[dict[str, Any]]:
    """A prompt for a person with so many keypoints."""
    return [{"object": "person", "keypoints": load_skeleton("person_wholebody").detected.keypoints[:count]}]


def exactly(people: int) -> dict[str, Any]:
    """Options with which a detector returns so many poses, whether or not it recognises the people."""
    return {"threshold": 0.0, "nms": 1.0, "nms_oks": 1.0, "max_instances": people}


def _network(name: str, size: tuple[int, int], **settings: Any) -> Contestant:
    return Contestant(name, "network", {"size": size, **settings})


def _detectors(word: str, **options: Any) -> tuple[Contestant, ...]:
    """The bundled weights in every engine."""
    return tuple(
        Contestant(
            f"xpose-nano ({engine})",
            "detector",
            {"engine": name, "prompts": [{"object": word}], "options": options},
        )
        for engine, name in ENGINES.items()
    )


def _same_family(size: tuple[int, int], pictures: tuple[str, ...]) -> Comparison:
    height, width = size
    return Comparison(
        "swin-t",
        f"The published layout, Swin-T, {height}×{width}",
        (
            _network("xpose-swin-t, float32", size),
            _network("xpose-swin-t, bfloat16", size, dtype="bfloat16"),
            _network("the same network, padded with full masks", size, padded=True),
            Contestant("GroundingDINO, Swin-T (transformers)", "grounding_dino", {"size": size}, "transformers"),
        ),
        "From the decoded picture to the output of the network, with random weights. xpose detects one class with 17 "
        "keypoints. The padded form has 350 classes, 68 keypoints for each and one mask over all queries, as the "
        "published network has; it is our own code. GroundingDINO includes its text encoder with four tokens, has 900 "
        "queries and finds boxes only.",
        rounds=3,
        calls=1,
        estimate=140,
        pictures=pictures,
    )


def _mediapipe(pictures: tuple[str, ...]) -> list[Comparison]:
    solutions = {
        "pose": ("person", 17, "33 keypoints of one person"),
        "face": ("face", 68, "468 keypoints of one face"),
        "hands": ("hand", 21, "21 keypoints of up to two hands"),
    }
    return [
        Comparison(
            f"mediapipe-{kind}",
            f"MediaPipe {kind}",
            (
                *_detectors(word),
                Contestant(f"MediaPipe {kind} 0.10.21", "mediapipe", {"solution": kind}, "mediapipe"),
            ),
            f"From the decoded picture to the result, with trained weights. MediaPipe finds {theirs}, and omits its "
            f"keypoint network where it detects none; xpose finds {points} keypoints of every {word}. Accuracy is not "
            "compared.",
            calls=5,
            starts=3,
            estimate=30,
            pictures=pictures,
        )
        for kind, (word, points, theirs) in solutions.items()
    ]


def _top_down(folder: Path, size: tuple[int, int]) -> list[Comparison]:
    comparisons = []
    for people in (1, 5, 20):
        path, boxes = crowd(folder, people)
        comparisons.append(
            Comparison(
                f"people-{people}",
                f"{people} {'person' if people == 1 else 'people'}: one pass, or one crop for each",
                (
                    *_detectors("person", **exactly(people)),
                    _network("xpose-swin-t, float32", size),
                    Contestant("ViTPose-B (transformers)", "vitpose", {"boxes": boxes}, "transformers"),
                ),
                "From the decoded picture to the keypoints. ViTPose-B is given the boxes, which a detector would have "
                "to find first, and takes all crops as one batch of 256×192 pixels. The weights are random, except "
                "those of xpose-nano.",
                rounds=4,
                calls=1,
                estimate=20 + people,
                pictures=(str(path),),
            )
        )
    return comparisons


def _objects(folder: Path) -> Comparison:
    """The same canvas with more and more people, and as many poses."""
    contestants = tuple(
        Contestant(
            str(people),
            "detector",
            {"options": exactly(people), "prompts": [{"object": "person"}], "picture": str(crowd(folder, people)[0])},
        )
        for people in (1, 5, 20, 50)
    )
    return Comparison("growth-objects", "Objects", contestants, axis="objects in the picture", estimate=16)


def _growth(
    name: str, axis: str, points: Sequence[tuple[int, Mapping[str, Any]]], pictures: tuple[str, ...]
) -> Comparison:
    person = {"prompts": [{"object": "person"}]}
    contestants = tuple(Contestant(str(number), "detector", {**person, **settings}) for number, settings in points)
    return Comparison(
        f"growth-{name}",
        name.capitalize(),
        contestants,
        axis=axis,
        estimate=4 * len(points) + 10,
        pictures=pictures[:1],
    )


def _side(pixels: int) -> tuple[int, Mapping[str, Any]]:
    return pixels, {"options": {"side": pixels}}


def _quick(comparison: Comparison) -> Comparison:
    contestants = comparison.contestants[:2] if comparison.axis else comparison.contestants
    return replace(comparison, contestants=contestants, rounds=2, calls=1, starts=1, estimate=comparison.estimate / 4)
