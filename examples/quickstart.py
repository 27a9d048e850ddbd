"""The main job once, from a picture and words to named points: `make demo`.

The picture is drawn here, so that nothing has to be downloaded. No trained weights are bundled yet, so the network
runs on fixed random ones: the points mean nothing, and the program says so.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from xpose.model import PromptEmbeddings, XPose, presets
from xpose.model.prompting import NanoTextEncoder

WIDTH, HEIGHT = 448, 320
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OBJECTS = ["bird"]
KEYPOINTS = ["beak", "eye", "breast", "tail", "left foot", "right foot"]
COLOURS = ["#d62728", "#1f77b4", "#9467bd", "#e377c2", "#2ca02c", "#ff7f0e"]
NOTICE = "No trained weights are bundled yet: the points below are meaningless; this only shows that everything runs."

Points = list[tuple[float, float]]


def draw_a_bird() -> Image.Image:
    """A robin on the grass."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), "#cfe8f7")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 260, WIDTH, HEIGHT), fill="#8fbf6a")
    for foot in (205, 240):
        draw.line((foot, 215, foot, 268), fill="#6b4a2b", width=4)
        draw.line((foot - 10, 270, foot + 8, 268), fill="#6b4a2b", width=4)
    draw.polygon([(270, 160), (375, 185), (370, 205), (265, 200)], fill="#6d5a48")  # tail
    draw.ellipse((140, 110, 300, 230), fill="#8a7460")  # body
    draw.ellipse((135, 125, 225, 228), fill="#d9713c")  # breast
    draw.ellipse((130, 65, 215, 145), fill="#8a7460")  # head
    draw.ellipse((134, 85, 185, 145), fill="#d9713c")
    draw.polygon([(133, 100), (105, 108), (134, 114)], fill="#40352b")  # beak
    draw.ellipse((157, 88, 169, 100), fill="black")
    draw.ellipse((160, 90, 164, 94), fill="white")
    return picture


def as_input(picture: Image.Image) -> torch.Tensor:
    """The picture as the network takes it: [1, 3, height, width], normalised."""
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(HEIGHT, WIDTH, 3)
    scaled = pixels.permute(2, 0, 1).float() / 255
    return ((scaled - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None])[None]


def seeded_network() -> XPose:
    """The small network with the same random weights every time."""
    torch.manual_seed(0)
    model = presets.xpose_nano()
    with torch.no_grad():
        for parameter in model.heads.point.parameters():
            if not parameter.any():  # a fresh network starts with all points of an object in one place
                parameter.normal_(0, 0.2)
    return model.eval()


def with_points(picture: Image.Image, instances: list[Points]) -> Image.Image:
    """The picture with the points of all instances, over a legend and a line that says that they mean nothing."""
    canvas = Image.new("RGB", (WIDTH, HEIGHT + 44), "#333333")
    canvas.paste(picture)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(12)
    for points in instances:
        for (x, y), colour in zip(points, COLOURS, strict=True):
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour, outline="white")
    left = 8.0
    for name, colour in zip(KEYPOINTS, COLOURS, strict=True):
        draw.ellipse((left, HEIGHT + 8, left + 8, HEIGHT + 16), fill=colour, outline="white")
        draw.text((left + 13, HEIGHT + 5), name, fill="white", font=font)
        left += draw.textlength(name, font=font) + 28
    draw.text((8, HEIGHT + 24), "untrained weights: the points are meaningless", fill="white", font=font)
    return canvas


def main() -> None:
    """Draw, detect, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/quickstart.png"), help="where the picture goes")
    out = parser.parse_args().out

    picture = draw_a_bird()
    words = NanoTextEncoder()
    prompts = PromptEmbeddings.from_lists([words.encode(OBJECTS)], [words.encode(KEYPOINTS)])
    model = seeded_network()
    image = as_input(picture)

    with torch.inference_mode():
        model(image, prompts)  # the first call fills caches
        start = time.perf_counter()
        found = model(image, prompts)
    seconds = time.perf_counter() - start

    instances: list[Points] = (found.keypoints[0] * torch.tensor([WIDTH, HEIGHT])).tolist()
    print(NOTICE)
    print(f"{model.config.name}, {WIDTH} x {HEIGHT} pixels, {seconds * 1000:.0f} ms, asked for: {', '.join(OBJECTS)}")
    print(f"{len(instances)} instances, the points of the first:")
    for name, (x, y) in zip(KEYPOINTS, instances[0], strict=True):
        print(f"  {name:<12} x {x:6.1f}  y {y:6.1f}")
    out.parent.mkdir(parents=True, exist_ok=True)
    with_points(picture, instances).save(out)
    print(f"Wrote {out}")


if __name__ == "__main__":
    main()
