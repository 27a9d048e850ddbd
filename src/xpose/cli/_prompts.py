"""What to look for, from the options that `detect`, `count` and `prompt save` share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpose.cli import _console
from xpose.cli._inputs import printable
from xpose.errors import ConfigError, PromptError, quote
from xpose.prompts import MOST_SHOTS, CombinedPrompt, Prompt, TextPrompt, VisualPrompt, prompts_from_pairs

if TYPE_CHECKING:
    from xpose.inference import Detector

WHAT, HOW = "What to look for", "Weights and device"

Objects = Annotated[
    list[str] | None,
    typer.Option(
        "-t",
        "--text",
        metavar="WORDS",
        rich_help_panel=WHAT,
        help='Objects, e.g. "wren" or "person,dog". Several kinds compete for each place of the picture.',
    ),
]
Skeletons = Annotated[
    list[str] | None,
    typer.Option(
        "-k",
        "--skeleton",
        metavar="NAMES",
        rich_help_panel=WHAT,
        help="Which set of keypoints each object has, in the order of -t: names from `xpose skeletons`, or .toml files "
        "of yours. Left out: chosen by the object, and named.",
    ),
]
Keypoints = Annotated[
    str | None,
    typer.Option(
        "--keypoints",
        metavar="NAMES",
        rich_help_panel=WHAT,
        help='Only these points, in your own words, e.g. "beak tip,left eye"; with -k some of that set.',
    ),
]
Like = Annotated[
    list[Path] | None,
    typer.Option(
        "--like",
        metavar="PICTURE",
        rich_help_panel=WHAT,
        help=f"An example picture; up to {MOST_SHOTS}, each with its --points. With -t as well, both count.",
    ),
]
Points = Annotated[
    list[Path] | None,
    typer.Option(
        "--points",
        metavar="FILE.json",
        rich_help_panel=WHAT,
        help='Where the points of the example are: {"left eye": [x, y], ...} in pixels.',
    ),
]
Bank = Annotated[
    Path | None,
    typer.Option(
        "--bank",
        metavar="FILE",
        rich_help_panel=WHAT,
        help="Everything in a file made by `xpose prompt save`.",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "-p",
        "--weights",
        metavar="WEIGHTS",
        rich_help_panel=HOW,
        help="Weight folder or file, bundled name, or owner/name on the Hugging Face hub: see `xpose models`.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "-c",
        metavar="FILE",
        rich_help_panel=HOW,
        help="For command lines of the released script: the network, by the file's name. The file is never opened.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        rich_help_panel=HOW,
        help='Where to compute: "cpu", "cuda" (NVIDIA), "mps" (Mac). Left out: the best that is there.',
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="TYPE",
        rich_help_panel=HOW,
        help='"float32" (usual), "bfloat16" (quicker on newer hardware, a little less exact) or "float64".',
    ),
]
Clip = Annotated[
    Path | None,
    typer.Option(
        "--clip",
        metavar="FOLDER",
        rich_help_panel=HOW,
        help="CLIP ViT-B/32, for weight files that were stripped of it.",
    ),
]


@dataclass(frozen=True)
class Asked:
    """The prompts of a command, and the bank whose prompts come on top."""

    prompts: tuple[Prompt, ...]
    bank: Path | None = None


@dataclass
class _Examples:
    """The example pictures of one class."""

    name: str | None
    shots: list[VisualPrompt] = field(default_factory=list)


def build_prompts(
    objects: Sequence[str] | None,
    skeletons: Sequence[str] | None,
    keypoints: str | None,
    like: Sequence[Path] | None,
    points: Sequence[Path] | None,
    bank: Path | None = None,
) -> Asked:
    """The classes that the options name; quick, so that mistakes show before any network is loaded.

    Raises:
        PromptError: nothing to look for, counts that do not fit, or a word, name or points file with a fault.
    """
    texts = _texts(
        _words(objects, "-t"), _words(skeletons, "-k"), _words([keypoints] if keypoints else None, "--keypoints")
    )
    prompts = _joined(texts, _examples(list(like or ()), list(points or ())))
    if not prompts and bank is None:
        raise PromptError(
            "Nothing to look for was given. Name it in words (-t dog), show it (--like dog.jpg --points dog.json), or "
            "take a prompt bank (--bank dogs.safetensors)."
        )
    labels = [prompt.resolved.label for prompt in prompts]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise PromptError(
            f"{quote(twice)} is asked for more than once. Results go by name, so each is asked for once. "
            'Say it differently, e.g. "human face,cat face".'
        )
    return Asked(tuple(prompts), bank)


def encode(asked: Asked, detector: Detector) -> list[Any]:
    """All prompts as the detector takes them.

    Raises:
        PromptError: a class of the bank has the name of another prompt.
        CheckpointError: the bank is damaged, or was made with other weights.
    """
    from xpose.inference import PromptBank

    encoded: list[Any] = list(detector.encode_prompts(list(asked.prompts))) if asked.prompts else []
    if asked.bank is not None:
        entries = PromptBank.load(asked.bank).prompts(detector)
        if not entries:
            raise PromptError(f"The prompt bank {quote(asked.bank)} is empty. Make it again with: xpose prompt save")
        shared = {one.names.label for one in encoded} & {one.names.label for one in entries}
        if shared:
            raise PromptError(
                f"{quote(min(shared))} is in the prompt bank {quote(asked.bank)} and is asked for beside it. Results "
                "go by name, so each is asked for once. Leave one of them out."
            )
        encoded += entries
    return encoded


def say_what_is_looked_for(asked: Asked) -> None:
    """Name the classes, and above all the keypoints that the user has not named."""
    for prompt in asked.prompts:
        names = prompt.resolved
        count = len(names.names)
        how = f"{count} point{'' if count == 1 else 's'}" if count else "box only"
        if names.skeleton:
            how = f'skeleton "{names.skeleton}", {how}'
        shots = len(prompt.examples) if isinstance(prompt, CombinedPrompt) else int(isinstance(prompt, VisualPrompt))
        if shots:
            how += f", {shots} example picture{'s' if shots > 1 else ''}"
        _console.note(f"Looking for: {printable(names.label)} ({how})")
        if names.reason:
            _console.note(f"  {'Note' if names.is_fallback else 'Keypoints'}: {printable(names.reason)}.")
    if any(prompt.resolved.reason for prompt in asked.prompts):
        _console.note('Other keypoints: -k NAME (list them: xpose skeletons), or --keypoints "beak tip,left eye".')


def load_detector(
    weights: str | None, config: Path | None, device: str | None, dtype: str | None, clip: Path | None
) -> Detector:
    """The detector for the options of a command.

    Raises:
        XPoseError: a name, a device or a type does not exist, or `-c` and `-p` disagree.
    """
    wanted = None if config is None else preset_of(config)
    from xpose.inference import load

    detector = load(weights, device=device, dtype=dtype, clip=clip)
    name = detector.engine.config.name
    if wanted is not None and name != wanted:
        raise ConfigError(
            f"-c {config} means the network {wanted}, but the weights {quote(detector.name)} are of {name}. Both must "
            "be the same. Leave -c out: the weights know their network."
        )
    return detector


def preset_of(config: Path) -> str:
    """The network that a settings file of the released script means, by its name alone; the file is never opened.

    Raises:
        ConfigError: the name means no network.
    """
    name = "".join(letter for letter in config.stem.casefold() if letter.isalnum())
    known = {
        "swint": "xpose-swin-t",
        "swinl": "xpose-swin-l",
        "r50": "xpose-r50",
        "resnet50": "xpose-r50",
        "nano": "xpose-nano",
    }
    found = next((preset for key, preset in known.items() if key in name), None)
    if found is None:
        raise ConfigError(
            f"-c {config} means no known network. Its name must hold one of {', '.join(known)}; the file itself is "
            "never opened, since settings in Python could run any code. Leave -c out: the weights know their network."
        )
    _console.note(f"-c {config}: taken as {found} by its name; the file is never opened.")
    return found


def _words(values: Sequence[str] | None, flag: str) -> list[str] | None:
    """The words of an option that may be repeated and may hold commas."""
    if values is None or not list(values):
        return None
    words = [word.strip() for value in values for word in value.split(",")]
    if not all(words):
        raise PromptError(
            f"{flag} is {quote(','.join(values))}, where a name is empty. Names are separated by single commas. "
            'Write e.g. "person,dog".'
        )
    return words


def _texts(objects: list[str] | None, skeletons: list[str] | None, keypoints: list[str] | None) -> list[TextPrompt]:
    if objects is None:
        if skeletons is not None:
            raise PromptError(
                f"-k {','.join(skeletons)} names keypoints of no object. Each -k belongs to a -t. "
                "Write e.g. -t face -k 68_face_points."
            )
        return [] if keypoints is None else [TextPrompt(keypoints=keypoints)]
    plain = prompts_from_pairs(objects, skeletons)
    if keypoints is None:
        return plain
    return [TextPrompt(prompt.object, skeleton=prompt.skeleton, keypoints=keypoints) for prompt in plain]


def _examples(pictures: list[Path], points: list[Path]) -> list[_Examples]:
    """The example pictures by the name in their points file."""
    from xpose.prompts.annotations import read_points

    if len(pictures) != len(points):
        raise PromptError(
            f"Got {len(pictures)} example picture(s) (--like) and {len(points)} file(s) of points (--points). They are "
            "paired by position, so the counts must be equal. Give each --like its --points."
        )
    classes: dict[str | None, _Examples] = {}
    for picture, file in zip(pictures, points, strict=True):
        content = read_points(file.expanduser())
        try:
            shot = VisualPrompt(picture, **content)
        except PromptError as error:
            raise PromptError(f"{quote(file)}: {error}") from None
        classes.setdefault(shot.name, _Examples(shot.name)).shots.append(shot)
    return list(classes.values())


def _joined(texts: list[TextPrompt], examples: list[_Examples]) -> list[Prompt]:
    """Examples join the text of their name, or the only text; others are classes by themselves."""
    prompts: list[Prompt] = list(texts)
    labels = [text.resolved.label for text in texts]
    for group in examples:
        if group.name is None and len(texts) > 1:
            raise PromptError(
                f"An example picture has no name, and there are several objects ({', '.join(labels)}). It must be "
                'clear which of them it shows. Add it to the points file: {"name": "dog", "keypoints": {...}}.'
            )
        if group.name is None and texts:
            place: int | None = 0
        else:
            place = labels.index(group.name) if group.name in labels else None
        if place is not None:
            prompts[place] = CombinedPrompt.of(_pointed(prompts[place], group.shots), *group.shots)
        else:
            prompts.append(CombinedPrompt.of(*group.shots) if len(group.shots) > 1 else group.shots[0])
    return prompts


def _pointed(prompt: Prompt, shots: list[VisualPrompt]) -> Prompt:
    """A text without keypoints of its own takes those that the examples show: they are what the user wants."""
    if not isinstance(prompt, TextPrompt) or prompt.skeleton is not None or prompt.keypoints is not None:
        return prompt
    names = list(dict.fromkeys(name for shot in shots for name in shot.points))
    if not names:
        return prompt
    if all(re.fullmatch(r"p\d+", name) for name in names):
        raise PromptError(
            f"The points of the example for {quote(prompt.object)} have no names. Words and examples are joined point "
            'by point, so they need names: {"left eye": [x, y], ...}. Name them, or leave -t out.'
        )
    return TextPrompt(prompt.object, keypoints=names)
