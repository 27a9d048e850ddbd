"""Draw docs/gallery.md and the picture of the README with the bundled weights, failures included.

    python benchmarks/gallery.py --data DIR    # the folder of the sets, as for `xpose eval nano-real`

The photographs are those of scikit-image and matplotlib, and pictures of sets with a free licence that were not used
for training (`val.json`). Examples of the sets are from their training pictures. What a picture shows was written by a
person who looked at it; scores and counts are the program's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import xpose
from xpose import Detector, Poses, TextPrompt, VisualPrompt
from xpose.demo.pictures import FACE_POINTS, photographs
from xpose.prompts import Prompt
from xpose.results import Pose

DOCS = Path(__file__).parents[1] / "docs"
HEIGHT = 360  # of a drawing in the gallery, in pixels
FRONT_HEIGHT = 300  # of a drawing in the README's picture
FONT = 26
GAP = 8

# Terms of the pictures: source, author and licence.
TERMS = {
    "astronaut": "scikit-image: NASA, public domain",
    "photographer": "scikit-image (`camera`): Lav Varshney, CC0",
    "cat": "scikit-image: Stefan van der Walt, CC0",
    "coffee": "scikit-image: Rachel Michetti, CC0, courtesy of Pikolo Espresso Bar",
    "coins": "scikit-image: Brooklyn Museum, no known copyright restrictions",
    "admiral": "matplotlib (`grace_hopper.jpg`): US Navy, public domain",
    "vinegar_fly": "[jgraving/DeepPoseKit-Data](https://github.com/jgraving/DeepPoseKit-Data), Apache License 2.0",
    "fly_pair_predicted": "[talmolab/sleap](https://github.com/talmolab/sleap), BSD 3-Clause Clear License",
    "glue_tubes": "[alexppppp/keypoint_rcnn_training_pytorch]"
    "(https://github.com/alexppppp/keypoint_rcnn_training_pytorch), MIT License",
    "livestock": "[yww0411/Livestock-keypoint-detection](https://github.com/yww0411/Livestock-keypoint-detection), "
    "MIT License",
    "dog_leash": "[ryanloney/dog-pose-estimation](https://github.com/ryanloney/dog-pose-estimation), "
    "Apache License 2.0",
}


@dataclass(frozen=True)
class GalleryItem:
    """A picture with its prompt: words, an example ("astronaut", or the set whose first training label it is), both."""

    name: str  # of the drawing
    photograph: str  # a name, or SET/FILE
    verdict: str
    words: str | None = None
    keypoints: Sequence[str] | None = None
    example: str | None = None

    def prompt(self, data: Path | None) -> Prompt:
        """The prompt for `detect`."""
        text = TextPrompt(self.words, keypoints=self.keypoints) if self.words else None
        if self.example is None:
            assert text is not None
            return text
        if self.example == "astronaut":
            shown = VisualPrompt(photograph("astronaut", None), keypoints=FACE_POINTS, name="face")
        else:
            assert data is not None
            labels = data / self.example / "train.json"
            shown = VisualPrompt.from_coco(labels, 1, pictures=labels.parent / "images")
        return shown if text is None else text + shown

    @property
    def asked(self) -> str:
        """The prompt in the page's words."""
        points = f" ({', '.join(self.keypoints)})" if self.keypoints else ""
        words = f"the word “{self.words}”{points}" if self.words else ""
        return " and ".join(filter(None, (words, f"an example ({self.example})" if self.example else "")))


SECTIONS = {
    "Words": [
        GalleryItem("astronaut-face", "astronaut", "A face with 68 keypoints.", "face"),
        GalleryItem("admiral-face", "admiral", "Glasses and a cap do no harm.", "face"),
        GalleryItem("horse", "livestock/horse_dao-13-5-_000.webp", "Both forelegs are put on the same one.", "horse"),
        GalleryItem("sheep", "livestock/sheep_left-206-_050.webp", "The legs are only roughly right.", "sheep"),
        GalleryItem(
            "flies", "fly_pair_predicted/pair_0902.webp", "Two flies, each with its own keypoints.", "fruit fly"
        ),
        GalleryItem(
            "glue", "glue_tubes/IMG_4916_8d196f124bb369dda22069f7a80f4acb.webp", "Two touching objects.", "glue tube"
        ),
    ],
    "Examples, and words with examples": [
        GalleryItem(
            "fly-example",
            "vinegar_fly/fly_091.webp",
            "The example on the left is the whole prompt: it shows 32 keypoints.",
            example="vinegar_fly",
        ),
        GalleryItem(
            "admiral-example",
            "admiral",
            "Eight keypoints were clicked in one face.",
            example="astronaut",
        ),
        GalleryItem(
            "glue-both",
            "glue_tubes/IMG_4924_aaf627d6074788e2d1858b3d060263a1.webp",
            "The words name what the example shows.",
            "glue tube",
            ["head", "tail"],
            "glue_tubes",
        ),
    ],
    "Failures": [
        GalleryItem(
            "photographer-person",
            "photographer",
            "The head is right. Arms and hips are guesses, as for most people in close-up.",
            "person",
        ),
        GalleryItem(
            "admiral-person",
            "admiral",
            "One person is detected twice, with shoulders and hips on the face and the chest.",
            "person",
        ),
        GalleryItem("astronaut-hand", "astronaut", "The face is taken for a hand.", "hand"),
        GalleryItem("cat", "cat", "Eyes and nose are right. The ears are too low, the throat is on the nose.", "cat"),
        GalleryItem(
            "cat-example",
            "cat",
            "A human face as the example: the cat's face is found, but not its mouth.",
            example="astronaut",
        ),
        GalleryItem("coffee-face", "coffee", "Reflections in a spoon are taken for a face.", "face"),
        GalleryItem(
            "coins",
            "coins",
            "These weights have never learned coins, or anything similar. A warning says so.",
            "coin",
            ["centre"],
        ),
        GalleryItem(
            "dog",
            "dog_leash/IMG_7578_img053.webp",
            "Dogs were learned, but not from pictures like this one. "
            "[Twelve labelled pictures](twelve-pictures.md) are the remedy.",
            "dog",
        ),
        GalleryItem(
            "glue-missed",
            "glue_tubes/IMG_4933_232fc146af27b8a16627114bf02ced8f.webp",
            "An object in full view is missed.",
            "glue tube",
        ),
    ],
}
FRONT = {"a word: horse": "horse", "an example": "admiral-example", "a word and an example": "glue-both"}


def main() -> None:
    """Detect, draw, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--out", type=Path, default=DOCS, help="folder of the documentation")
    given = parser.parse_args()
    detector, panels = xpose.load("xpose-nano"), {}
    drawings = given.out / "images" / "gallery"
    drawings.mkdir(parents=True, exist_ok=True)
    answers = {}
    for item in (item for items in SECTIONS.values() for item in items):
        poses = answers[item.name] = answer(detector, item, given.data)
        drawn = drawing(item, poses, given.data)
        drawn.save(drawings / f"{item.name}.jpg", quality=82)
        panels[item.name] = drawn
    front(panels).save(drawings / "front.jpg", quality=85)
    (given.out / "gallery.md").write_text(page(answers), encoding="utf-8")
    print(f"Written: {given.out / 'gallery.md'}")


def photograph(name: str, data: Path | None) -> Image.Image:
    """A photograph of scikit-image or matplotlib, or a picture of a set."""
    if "/" in name:
        assert data is not None
        folder, file = name.split("/")
        return Image.open(data / folder / "images" / file).convert("RGB")
    if name in ("cat", "coffee", "coins"):
        from skimage import data as samples  # heavy

        return Image.fromarray(getattr(samples, name)()).convert("RGB")
    path = next(path for file, path in photographs().items() if Path(file).stem == name)
    return Image.open(path).convert("RGB")


def answer(detector: Detector, item: GalleryItem, data: Path | None) -> Poses:
    """The detections."""
    return detector.detect(photograph(item.photograph, data), item.prompt(data))


def drawing(item: GalleryItem, poses: Poses, data: Path | None) -> Image.Image:
    """The picture with its detections, to the right of the example if there is one."""
    drawn = poses.draw(scaled(photograph(item.photograph, data), HEIGHT), legend="none")
    return row([scaled(example(item.prompt(data)), HEIGHT // 2), drawn]) if item.example else drawn


def row(pictures: Sequence[Image.Image]) -> Image.Image:
    """The pictures in a row, with the lower edges aligned."""
    height = max(picture.height for picture in pictures)
    whole = Image.new("RGB", (sum(picture.width + GAP for picture in pictures) - GAP, height), "white")
    left = 0
    for picture in pictures:
        whole.paste(picture, (left, height - picture.height))
        left += picture.width + GAP
    return whole


def example(prompt: Prompt) -> Image.Image:
    """The example of a prompt with its keypoints, cut out."""
    shown = prompt if isinstance(prompt, VisualPrompt) else next(iter(prompt.examples))
    picture = shown.image if isinstance(shown.image, Image.Image) else Image.open(shown.image).convert("RGB")
    names = tuple(shown.points)
    box = np.array(shown.region(*picture.size), np.float32)
    poses = Poses(
        boxes=box[None],
        scores=np.ones(1, np.float32),
        categories=(shown.label,),
        xy=np.array([[shown.points[name][:2] for name in names]], np.float32),
        keypoint_scores=np.ones((1, len(names)), np.float32),
        visibility=np.full((1, len(names)), 2, np.uint8),
        keypoint_names=(names,),
        image_size=(picture.height, picture.width),
    )
    margin = 0.15 * max(box[2] - box[0], box[3] - box[1])
    wide = box + np.array([-margin, -margin, margin, margin])
    edges = np.clip(wide, 0, [*picture.size] * 2).round().astype(int)
    factor = HEIGHT / (edges[3] - edges[1])
    large = poses.draw(scaled(picture, round(picture.height * factor)), legend="none", boxes=False, labels=False)
    return large.crop(tuple((edges * factor).round().astype(int).tolist()))


def scaled(picture: Image.Image, height: int) -> Image.Image:
    """The picture with this height."""
    return picture.resize((round(picture.width * height / picture.height), height), Image.Resampling.LANCZOS)


def front(panels: dict[str, Image.Image]) -> Image.Image:
    """The picture of the README: one panel for each kind of prompt, with a caption below."""
    return row([captioned(scaled(panels[name], FRONT_HEIGHT), caption) for caption, name in FRONT.items()])


def captioned(picture: Image.Image, caption: str) -> Image.Image:
    """The picture with a line of text below."""
    whole = Image.new("RGB", (picture.width, picture.height + 2 * FONT), "white")
    whole.paste(picture, (0, 0))
    at = (picture.width / 2, picture.height + FONT)
    ImageDraw.Draw(whole).text(at, caption, fill="black", font=ImageFont.load_default(FONT), anchor="mm")
    return whole


def summary(item: GalleryItem, poses: Poses) -> str:
    """The prompt and what was detected."""
    found = [f"score {pose.score:.2f} with {points_of(pose)} keypoints" for pose in poses]
    return f"Prompt: {item.asked}. Detected: {', '.join(found) or 'nothing'}."


def points_of(pose: Pose) -> str:
    """How many of the keypoints are present."""
    return f"{sum(point.v > 0 for point in pose.points.values())} of {len(pose.points)}"


def page(answers: dict[str, Poses]) -> str:
    """The gallery."""
    parts = [INTRODUCTION.strip()]
    for title, items in SECTIONS.items():
        parts.append(f"## {title}")
        for item in items:
            parts.append(f"![{item.asked}](images/gallery/{item.name}.jpg)")
            parts.append(f"{item.verdict} *{summary(item, answers[item.name])}*")
    used = {item.photograph.partition("/")[0] for items in SECTIONS.values() for item in items}
    used |= {item.example for items in SECTIONS.values() for item in items if item.example}
    rows = [f"| {name} | {terms} |" for name, terms in TERMS.items() if name in used]
    parts.append("\n".join(["## Terms of the pictures", "", "| picture | source and terms |", "|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


INTRODUCTION = """
# Gallery

What the bundled weights `xpose-nano` detect in pictures that were not used for training, at their own thresholds. The
pictures were chosen by hand to show strengths and weaknesses, so this page says nothing about how often each occurs;
the [model card](../src/xpose/model/bundled/xpose-nano/README.md) does. The photographs come with scikit-image and
matplotlib; the others are validation pictures of sets whose training pictures come from the same cameras.

`python benchmarks/gallery.py --data DIR` draws the page again, with the sets of `xpose eval nano-real` in `DIR`.
"""

if __name__ == "__main__":
    main()
