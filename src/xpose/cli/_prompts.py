"""Prompts and the detector, from the options that `detect`, `count` and `prompt save` share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xpose.cli import _console
from xpose.cli._inputs import printable
from xpose.cli._options import PromptOptions
from xpose.errors import ConfigError, PromptError, counted, quote
from xpose.prompts import (
    CombinedPrompt,
    Prompt,
    PromptClass,
    TextPrompt,
    VisualPrompt,
    check_unique,
    prompts_from_pairs,
)

if TYPE_CHECKING:
    from xpose.inference import Detector
    from xpose.inference.encoded import EncodedClass
    from xpose.inference.loading import EngineName

# Parts of the names of settings files of the released script, and the networks that they select.
_PRESETS = {"swint": "xpose-swin-t", "swinl": "xpose-swin-l", "r50": "xpose-r50", "resnet50": "xpose-r50"}
_PRESETS |= {"nano": "xpose-nano"}


def build_prompts(options: PromptOptions, bank: Path | None = None) -> list[Prompt]:
    """The prompts that the options describe; fast, so that mistakes are reported before a network is loaded."""
    objects, skeletons = _words(options.text, "-t"), _words(options.skeleton, "-k")
    examples = _examples(list(options.like or ()), list(options.points or ()))
    prompts = _joined(_texts(objects, skeletons, options), examples)
    if not prompts and bank is None:
        raise PromptError(
            "No prompt was given. Name an object (-t dog), show it (--like dog.jpg --points dog.json), or use a prompt "
            "bank (--bank dogs.safetensors)."
        )
    check_unique(prompts)
    return prompts


def encode(prompts: list[Prompt], bank: Path | None, detector: Detector) -> list[EncodedClass]:
    """The prompts and the classes of the bank, encoded for the detector."""
    from xpose.inference import PromptBank

    encoded = list(detector.encode_prompts(prompts)) if prompts else []
    if bank is not None:
        entries = PromptBank.load(bank).prompts(detector)
        if not entries:
            raise PromptError(f"The prompt bank {quote(bank)} is empty. Make it again with: xpose prompt save")
        shared = {prompt.names.label for prompt in encoded} & {prompt.names.label for prompt in entries}
        if shared:
            raise PromptError(
                f"{quote(min(shared))} was given and is also in the prompt bank {quote(bank)}. Leave one of them out."
            )
        encoded += entries
    return encoded


def show_prompts(prompts: Sequence[Prompt], classes: Sequence[PromptClass]) -> None:
    """List the prompts with their `classes`, and explain how unspecified keypoints were chosen."""
    reasons = False
    for prompt, names in zip(prompts, classes, strict=True):
        facts = [counted(len(names.names), "point") if names.names else "box only"]
        if names.skeleton:
            facts.insert(0, f'skeleton "{names.skeleton}"')
        shots = len(prompt.examples) if isinstance(prompt, CombinedPrompt) else int(isinstance(prompt, VisualPrompt))
        if shots:
            facts.append(counted(shots, "example picture"))
        _console.note(f"Looking for: {printable(names.label)} ({', '.join(facts)})")
        if names.reason:
            reasons = True
            _console.note(f"  Keypoints: {printable(names.reason)}.")
    if reasons:
        _console.note('Other keypoints: -k NAME (list them: xpose skeletons), or --keypoints "beak tip,left eye".')


def load_detector(
    weights: str | None,
    config: Path | None,
    device: str | None,
    dtype: str | None,
    clip: Path | None,
    *,
    engine: EngineName | None = None,
) -> Detector:
    """The detector for the options of a command; ConfigError if `-c` contradicts `-p`."""
    expected = None if config is None else _preset_of(config)
    from xpose.inference import load

    detector = load(weights, device=device, dtype=dtype, clip=clip, engine=engine)
    name = detector.engine.config.name
    if expected is not None and name != expected:
        raise ConfigError(f"-c {config} selects the network {expected}, but the weights belong to {name}. Omit -c.")
    return detector


def _preset_of(config: Path) -> str:
    """The network that a settings file of the released script belongs to, by its name."""
    name = "".join(letter for letter in config.stem.casefold() if letter.isalnum())
    preset = next((preset for key, preset in _PRESETS.items() if key in name), None)
    if preset is None:
        raise ConfigError(
            f"-c {config} selects no known network. Its name must contain one of {', '.join(_PRESETS)}; the file is "
            "never opened, because a Python file could run any code. Omit -c: the weights identify their network."
        )
    _console.note(f"-c {config}: selects {preset} by its name; the file is never opened.")
    return preset


def _words(values: Sequence[str] | None, flag: str) -> list[str] | None:
    """The words of an option that can be repeated and can contain commas."""
    if values is None or not list(values):
        return None
    words = [word.strip() for value in values for word in value.split(",")]
    if not all(words):
        raise PromptError(
            f'{flag} is {quote(",".join(values))}, which contains an empty name. Write e.g. "person,dog".'
        )
    return words


def _texts(objects: list[str] | None, skeletons: list[str] | None, options: PromptOptions) -> list[TextPrompt]:
    if options.keypoints is not None and options.keypoints.strip().lower() == "none":
        keypoints: list[str] | None = []
    else:
        keypoints = _words([options.keypoints] if options.keypoints else None, "--keypoints")
    if objects is not None:
        return prompts_from_pairs(objects, skeletons, keypoints, options.part, options.style)
    if skeletons is not None:
        raise PromptError(
            f"-k {','.join(skeletons)} was given without an object. Each -k belongs to a -t, e.g. -t face -k face."
        )
    if keypoints or options.part or options.style:
        return [TextPrompt(None, None, keypoints, options.part, options.style)]
    return []


def _examples(pictures: list[Path], points: list[Path]) -> dict[str | None, list[VisualPrompt]]:
    """The example pictures of each class, by the name in their points files."""
    from xpose.prompts.annotations import read_points

    if len(pictures) != len(points):
        raise PromptError(
            f"Got {len(pictures)} example picture(s) (--like) and {len(points)} points file(s) (--points). They are "
            "paired by position, so the counts must be equal. Give one --points for each --like."
        )
    shots: dict[str | None, list[VisualPrompt]] = {}
    for picture, file in zip(pictures, points, strict=True):
        content = read_points(file.expanduser())
        try:
            shot = VisualPrompt(picture, **content)
        except PromptError as error:
            raise PromptError(f"{quote(file)}: {error}") from None
        shots.setdefault(shot.name, []).append(shot)
    return shots


def _joined(texts: list[TextPrompt], examples: dict[str | None, list[VisualPrompt]]) -> list[Prompt]:
    """Add examples to the text with their name, or to the only text; others become separate classes."""
    prompts: list[Prompt] = list(texts)
    labels = [text.label for text in texts]
    for name, shots in examples.items():
        if name is None and len(texts) > 1:
            raise PromptError(
                f"An example picture has no name, and there are several objects ({', '.join(labels)}). It must be "
                'clear which of them it shows. Add the name to the points file: {"name": "dog", "keypoints": {...}}.'
            )
        label = labels[0] if name is None and texts else name
        if label in labels:
            index = labels.index(label)
            prompts[index] = CombinedPrompt.of(prompts[index], *shots)
        else:
            prompts.append(CombinedPrompt.of(*shots) if len(shots) > 1 else shots[0])
    return prompts
