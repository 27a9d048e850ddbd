"""The typed settings of a network, stored in `config.json` of a weight folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from xpose.errors import ConfigError, did_you_mean

BackboneName = Literal["swin", "resnet50", "mobilenetv2", "nanodet"]
EncoderName = Literal["deformable", "hybrid"]
_FORMAT = "xpose-1"
_SIZES = "dim heads coarse_heads levels points ffn queries instances object_layers keypoint_layers example_side"
_LEAST = dict.fromkeys([*_SIZES.split(), "pose_map_width"], 1) | {"pose_map": 0}
# Settings that `config.json` held before `calibration.json` existed.
CALIBRATION_KEYS = ("thresholds", "keypoint_threshold", "temperature", "keypoint_temperature", "nms", "rivals")


@dataclass(frozen=True)
class SwinSettings:
    """Sizes of a Swin transformer."""

    dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7


@dataclass(frozen=True)
class XPoseConfig:
    """The architecture of a network. The defaults are those of the released Swin-T checkpoint."""

    name: str = "xpose-swin-t"
    backbone: BackboneName = "swin"
    swin: SwinSettings = field(default_factory=SwinSettings)
    encoder: EncoderName = "deformable"
    prompt_width: int = 512
    prompt_scale: float = 1.0  # unit-length embeddings times the root of their width have elements of about 1
    dim: int = 256
    heads: int = 8
    levels: int = 4
    points: int = 4
    ffn: int = 2048
    encoder_layers: int = 6
    coarse_heads: int = 8  # of the hybrid encoder's attention among image tokens
    fusion_width: int = 1024
    fusion_heads: int = 4
    prompt_ffn: int = 1024
    object_layers: int = 2
    keypoint_layers: int = 4
    queries: int = 900
    instances: int = 50
    query_content: Literal["rank", "token"] = "rank"
    size_prior: Literal["table", "token"] = "table"
    # The unit of a keypoint's steps: logits of the picture's sides, or the sides of its object's box.
    point_steps: Literal["picture", "box"] = "picture"
    # Which layer scores objects: the last one, in which instances do not see each other, or the last object layer,
    # in which all queries do.
    score: Literal["last", "objects"] = "last"
    # Which image tokens become queries: the best ones, or the best of those that score higher than all their
    # neighbours, if every object is meant to be found by several tokens.
    selection: Literal["best", "peaks"] = "best"
    # A learned "none of these" entry among the prompts and the image tokens, wherever one side attends to the other.
    sinks: bool = False
    # Cells per side of the map over an object's box that first locates its keypoints; 0 for no map.
    pose_map: int = 0
    pose_map_width: int = 64
    point_error: bool = False  # whether the network predicts the error of each point
    scaled_logits: bool = False
    visibility_head: bool = False
    prompt_encoder: Literal["clip", "nano"] = "clip"
    example_side: int = 224  # of the cut-outs that our own example encoder sees, in pixels
    image_short: int = 800
    image_long: int = 1333

    def __post_init__(self) -> None:
        faults = [*self._choice_faults(), *self._size_faults()]
        if faults:
            raise ConfigError(f"The network settings of {self.name!r} do not fit:\n  " + "\n  ".join(faults))

    def _choice_faults(self) -> list[str]:
        hints = get_type_hints(XPoseConfig)
        choices = {name: get_args(hint) for name, hint in hints.items() if get_origin(hint) is Literal}
        return [
            f'{name} is "{getattr(self, name)}"; it must be one of {", ".join(allowed)}'
            for name, allowed in choices.items()
            if getattr(self, name) not in allowed
        ]

    def _size_faults(self) -> list[str]:
        faults = [
            f"{name} is {getattr(self, name)}; it must be a whole number of at least {least}"
            for name, least in _LEAST.items()
            if not isinstance(getattr(self, name), int) or getattr(self, name) < least
        ]
        if not 0 < self.prompt_scale < float("inf"):
            faults.append(f"prompt_scale is {self.prompt_scale}; it must be a number above 0")
        if faults:
            return faults
        heads, fusion_heads, hybrid = self.heads, self.fusion_heads, self.encoder == "hybrid"
        rules = (
            ("dim", self.dim % (4 * heads) == 0, f"a multiple of 4 times heads ({heads})"),
            ("fusion_width", self.fusion_width % fusion_heads == 0, f"a multiple of fusion_heads ({fusion_heads})"),
            ("levels", not hybrid or self.levels == 3, "3 for the hybrid encoder"),
            ("levels", hybrid or self.levels >= 4, "at least 4 for the deformable encoder"),
        )
        return [f"{name} is {getattr(self, name)}; it must be {rule}" for name, kept, rule in rules if not kept]

    def to_json(self) -> str:
        """The settings as readable JSON."""
        return json.dumps({"format": _FORMAT, **dataclasses.asdict(self)}, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "config.json") -> XPoseConfig:
        """Read `config.json`, ignoring the calibration in older files; `where` is the file's name in messages.

        Raises:
            ConfigError: the text is not JSON of this format, or has unknown or invalid settings.
        """
        values = {name: value for name, value in read_settings(text, where).items() if name not in CALIBRATION_KEYS}
        refuse_unknown("network settings", values, [entry.name for entry in dataclasses.fields(cls)])
        try:
            if "swin" in values:
                sizes = {k: tuple(v) if isinstance(v, list) else v for k, v in dict(values["swin"]).items()}
                values["swin"] = SwinSettings(**sizes)  # type: ignore[arg-type]
            return cls(**values)
        except TypeError as error:
            raise ConfigError(
                f"The network settings cannot be read: {error}. Compare with a config.json of this version."
            ) from None


def read_settings(text: str, where: str, format: str = _FORMAT) -> dict[str, Any]:
    """The values of one of our JSON files, without `format`."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{where} is not valid JSON ({error}). Take the file from the original weights again."
        ) from None
    if not isinstance(values, dict) or values.pop("format", None) != format:
        raise ConfigError(
            f'{where} has no "format": "{format}". It belongs to another program; see: xpose convert --help'
        )
    return values


def refuse_unknown(what: str, values: Iterable[str], known: Sequence[str]) -> None:
    """Report all unknown setting names together."""
    unknown = [f"unknown setting {key!r}.{did_you_mean(key, known)}" for key in values if key not in known]
    if unknown:
        raise ConfigError(f"The {what} have faults:\n  " + "\n  ".join(unknown))
