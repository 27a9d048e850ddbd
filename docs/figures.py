"""Draw the figures of the pages Concepts, Prompting guide and The model explained: python docs/figures.py

The detections are those of the bundled weights, and the photographs those of scikit-image and matplotlib. The scores on
the pages are the ones that this program prints.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from PIL import Image
from skimage import data

import xpose
from xpose import Poses, TextPrompt, VisualPrompt
from xpose.drawing.skeletons import draw_skeleton
from xpose.model.checkpoints.known import bundled_weights
from xpose.model.config import XPoseConfig
from xpose.model.presets import CONFIGS
from xpose.vocabulary import load_skeleton

FOLDER = Path(__file__).parent / "images" / "guide"
INK, TEAL, SAND, ROSE = "#263238", "#b2dfdb", "#ffe0b2", "#f8bbd0"
# Where a user would click in the photograph of the admiral, in pixels
CLICKS = {
    "nose tip": (259, 232),
    "left eye outer corner": (328, 187),
    "right eye outer corner": (197, 194),
    "left mouth corner": (302, 283),
    "right mouth corner": (228, 280),
}


@cache
def detector() -> xpose.Detector:
    """The bundled weights."""
    return xpose.load()


@cache
def photograph(name: str) -> np.ndarray:
    """A picture of scikit-image, or the admiral of matplotlib."""
    if name == "admiral":
        return np.asarray(Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("RGB"))
    picture = np.asarray(getattr(data, name)())
    picture = np.where(picture, 255, 0).astype(np.uint8) if picture.dtype == bool else picture
    return np.stack([picture] * 3, axis=-1) if picture.ndim == 2 else picture


def detect(name: str, prompt: Any) -> Poses:
    """The detections, and the best candidate of each class without any; prints the scores."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xpose.XPoseWarning)  # of words that the weights have never learned
        poses = detector().detect(photograph(name), prompt, best=True)
    found = ", ".join(f"{pose.category} {pose.score:.2f}{' (below the threshold)' * pose.tentative}" for pose in poses)
    print(f"{name}: {found}")
    return poses


def panels(name: str, tiles: Sequence[tuple[str, Any]]) -> None:
    """Save pictures in a row, each with a title; all rows have the same width, or less."""
    pictures = [(title, np.asarray(picture)) for title, picture in tiles]
    widths = [picture.shape[1] / picture.shape[0] for _, picture in pictures]
    height = min(3, 7.5 / sum(widths))
    size = (height * sum(widths) + 0.1 * len(tiles), height + 0.45)
    figure, places = plt.subplots(1, len(tiles), figsize=size, width_ratios=widths, layout="constrained")
    for axes, (title, picture) in zip(np.atleast_1d(places), pictures, strict=True):
        axes.imshow(picture, interpolation="lanczos")
        axes.set_title(title, fontsize=9, color=INK)
        axes.axis("off")
    save(figure, f"{name}.jpg")


def save(figure: Figure, name: str) -> None:
    """Write a small file."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"pil_kwargs": {"quality": 82}} if name.endswith(".jpg") else {}
    figure.savefig(FOLDER / name, dpi=150, bbox_inches="tight", facecolor="white", **options)
    plt.close(figure)


def answers(name: str, *prompts: tuple[str, Any], part: Any = np.s_[:, :]) -> list[tuple[str, np.ndarray]]:
    """A tile with a part of the picture for each prompt, with the scores in its title."""
    tiles = []
    for title, prompt in prompts:
        poses = detect(name, prompt)
        drawn = np.asarray(poses.draw(photograph(name), legend="none", labels=False))
        tiles.append((f"{title}\nscore {', '.join(f'{score:.2f}' for score in poses.scores)}", drawn[part]))
    return tiles


def terms() -> None:
    """The terms of the page Concepts, pointed at in a detection."""
    picture = photograph("astronaut")
    labels = {
        "right eye outer corner": (108, 80),
        "left eye outer corner": (332, 92),
        "nose tip": (108, 140),
        "left mouth corner": (332, 136),
        "chin centre": (332, 180),
    }
    (pose,) = detect("astronaut", "face")
    figure, axes = plt.subplots(figsize=(7, 3.2))
    axes.imshow(picture[30:210, 120:320], extent=(120, 320, 210, 30))
    x1, y1, x2, y2 = pose.box
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color="#00897b", linewidth=2))
    for name, place in labels.items():
        point = pose.points[name]
        axes.plot(point.x, point.y, "o", color="#ff7043", markeredgecolor="white", markersize=7)
        point_at(axes, f"keypoint “{name}”\nconfidence {point.score:.2f}", (point.x, point.y), place)
    point_at(axes, f"pose of the class “face”\nbox, score {pose.score:.2f}", (x2, y1 + 4), (332, 48))
    axes.set_xlim(-15, 455)
    axes.axis("off")
    save(figure, "terms.jpg")


def point_at(axes: Axes, text: str, place: tuple[float, float], label: tuple[float, float]) -> None:
    """Write a label and a line from it to a place in the picture."""
    side = "right" if label[0] < place[0] else "left"
    axes.annotate(
        text,
        place,
        label,
        fontsize=9,
        color=INK,
        ha=side,
        va="center",
        arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.8},
    )


def scores() -> None:
    """The scores of several words in one picture, next to the thresholds of the weights."""
    words = ["face", "person", "hand", "cat", "dog", "bird"]
    joint = {pose.category: float(pose.score) for pose in detect("astronaut", words)}
    alone = {word: max(float(pose.score) for pose in detect("astronaut", word)) for word in words}
    thresholds = detector().calibration.thresholds
    figure, axes = plt.subplots(figsize=(6.4, 2.9))
    for row, word in enumerate(words):
        axes.barh(row - 0.2, alone[word], 0.35, color="#00897b", label="prompted alone" if not row else None)
        axes.barh(row + 0.2, joint[word], 0.35, color="#ffb74d", label="prompted together" if not row else None)
        least = thresholds.get(word, thresholds[""])
        axes.plot([least, least], [row - 0.4, row + 0.4], color=INK, label="threshold" if not row else None)
    axes.set_yticks(range(len(words)), words)
    axes.invert_yaxis()
    axes.set_xlabel("highest score in the picture of the astronaut")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    save(figure, "scores.png")


def guide() -> None:
    """The pictures of the prompting guide."""
    panels("words", answers("chelsea", ("“cat”", "cat"), ("“kitten”", "kitten"), ("“cat face”", "cat face")))
    own = TextPrompt("face", keypoints=["left eye outer corner", "right eye outer corner", "nose tip"])
    head = np.s_[20:220, 120:320]
    tiles = answers("astronaut", ("“face”, 68 keypoints", "face"), ("“face”, three keypoints", own), part=head)
    panels("keypoints", [*tiles, *answers("astronaut", ("“person, face”", "person, face"))])
    hands = answers("astronaut", ("“hand”", "hand"), ("“hand, face”", "hand, face"), part=np.s_[:440, 80:400])
    panels("confusion", hands)
    example = VisualPrompt(photograph("admiral"), keypoints=CLICKS, name="example")
    both = TextPrompt("face", keypoints=list(CLICKS)) + VisualPrompt(
        photograph("admiral"), keypoints=CLICKS, name="face"
    )
    shown, axes = plt.subplots(figsize=(5.12, 6), dpi=100)
    axes.imshow(photograph("admiral"))
    axes.plot(*zip(*CLICKS.values(), strict=True), "o", color="#ff7043", markeredgecolor="white", markersize=11)
    axes.set_position((0, 0, 1, 1))
    axes.axis("off")
    shown.canvas.draw()
    marked = np.asarray(shown.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[attr-defined]
    plt.close(shown)
    results = answers("astronaut", ("the example as the prompt", example), ("words and example", both), part=head)
    panels("example", [("the example,\nwith five clicks", marked), *results])
    cup = TextPrompt("cup", keypoints=["handle", "rim"])
    rocket = TextPrompt("rocket", keypoints=["tip", "base"])
    tiles = [
        *answers("coffee", ("“cup”", cup)),
        *answers("rocket", ("“rocket”", rocket)),
        *answers("horse", ("“horse”", "horse")),
    ]
    panels("never-learned", tiles)


def box(axes: Axes, at: tuple[float, float], size: tuple[float, float], text: str, colour: str) -> None:
    """A part of the network."""
    axes.add_patch(
        FancyBboxPatch(at, *size, boxstyle="round,pad=0.02,rounding_size=0.12", facecolor=colour, edgecolor=INK)
    )
    axes.text(at[0] + size[0] / 2, at[1] + size[1] / 2, text, ha="center", va="center", fontsize=7.5, color=INK)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """What flows from one part to the next."""
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": INK, "shrinkA": 1, "shrinkB": 1})


def model() -> None:
    """The parts of the network from left to right, with the sizes of two presets."""
    large = CONFIGS["xpose-swin-t"]
    nano = XPoseConfig.from_json((bundled_weights()["xpose-nano"] / "config.json").read_text("utf-8"))
    figure, axes = plt.subplots(figsize=(11, 3.2))
    top, bottom, size = 2.5, 0.4, (1.75, 0.95)
    box(axes, (0, top), size, "picture", "white")
    box(axes, (2.15, top), size, f"backbone, neck\n{large.levels} / {nano.levels} levels", TEAL)
    box(axes, (0, bottom), size, "words or\nexample pictures", "white")
    box(axes, (2.15, bottom), size, f"prompt encoder\n{large.prompt_width} / {nano.prompt_width} values", SAND)
    box(axes, (4.4, 1.45), size, f"encoder\n{large.encoder_layers} / {nano.encoder_layers} layers", TEAL)
    box(axes, (6.6, 1.45), size, f"query selection\n{large.queries} / {nano.queries} queries", TEAL)
    box(axes, (8.8, 1.45), size, f"object decoder\n{large.object_layers} / {nano.object_layers} layers", TEAL)
    box(axes, (11, 1.45), size, f"keypoint decoder\n{large.keypoint_layers} / {nano.keypoint_layers} layers", TEAL)
    box(axes, (13.2, 1.45), size, f"at most {large.instances} / {nano.instances}\ninstances", "white")
    for x in (6.15, 8.35, 10.55, 12.75):
        arrow(axes, (x, 1.925), (x + 0.45, 1.925))
    for y in (top, bottom):
        arrow(axes, (1.75, y + 0.475), (2.15, y + 0.475))
    arrow(axes, (3.9, top + 0.4), (4.45, 2.35))
    arrow(axes, (3.9, bottom + 0.6), (4.45, 1.5))
    axes.text(4.05, 3.05, "image tokens", fontsize=8, color=INK)
    axes.text(4.05, 0.6, "object and keypoint tokens", fontsize=8, color=INK)
    for x in (7.5, 9.7, 11.9):
        axes.plot([x, x], [0.69, 1.42], color=INK, linewidth=0.8, linestyle=":")
    axes.plot([6.95, 11.9], [0.69, 0.69], color=INK, linewidth=0.8, linestyle=":")
    axes.text(7.6, 0.8, "scores are similarities to the tokens", fontsize=8, color=INK)
    axes.set_xlim(-0.1, 15.05)
    axes.set_ylim(0.2, 3.6)
    axes.set_aspect("equal")
    axes.axis("off")
    save(figure, "model.png")


if __name__ == "__main__":
    terms()
    scores()
    guide()
    model()
    skeleton = draw_skeleton(load_skeleton("animal"), 520)
    skeleton.quantize(64).save(FOLDER / "skeleton.png", optimize=True)
