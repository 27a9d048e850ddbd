"""The typed settings of a network: what `config.json` of a weight folder holds."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from xpose.errors import ConfigError, did_you_mean

BackboneName = Literal["swin", "resnet50", "mobilenetv2", "nanodet"]
EncoderName = Literal["deformable", "hybrid"]


@dataclass(frozen=True)
class SwinSettings:
    """Sizes of a Swin transformer."""

    dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7


@dataclass(frozen=True)
class XPoseConfig:
    """Everything that decides the shapes and the rules of a network.

    The defaults are those of the released Swin-T checkpoint.
    """

    name: str = "xpose-swin-t"
    backbone: BackboneName = "swin"
    swin: SwinSettings = field(default_factory=SwinSettings)
    encoder: EncoderName = "deformable"
    prompt_width: int = 512
    prompt_scale: float = 1.0  # embeddings of length 1 times the root of their width have numbers of about 1
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
    # What a keypoint's steps are measured in: logits of the picture's sides, or the sides of its object's box.
    point_steps: Literal["picture", "box"] = "picture"
    # Which layer says how sure an object is: the last one, where every instance is alone with its keypoints, or the
    # last object layer, where all queries see each other.
    score: Literal["last", "objects"] = "last"
    # Which image tokens become queries: the best ones, or the best of those that score higher than all their
    # neighbours, where every object is meant to be found by several tokens.
    selection: Literal["best", "peaks"] = "best"
    # A learned "none of these" beside the prompts and beside the image tokens, wherever one side attends to the other.
    sinks: bool = False
    # Cells per side of the map over an object's box in which its keypoints are looked for first; 0 for no map.
    pose_map: int = 0
    pose_map_width: int = 64
    point_error: bool = False  # whether the network says how far off it expects a point to be
    scaled_logits: bool = False
    visibility_head: bool = False
    prompt_encoder: Literal["clip", "nano"] = "clip"
    example_side: int = 224  # of the cut-outs that our own example encoder sees, in pixels
    image_short: int = 800
    image_long: int = 1333
    nms: float = 0.9  # of boxes that overlap by more than this only the best is answered, where a call does not say
    # Written by `xpose calibrate`. What a score has to pass, by class name; "" is the rule for all others.
    thresholds: dict[str, float] = field(default_factory=dict)
    keypoint_threshold: float = 0.0
    # Classes that objects may rather be than what a prompt asks for, where a call does not say; see inference.rivals.
    rivals: tuple[str, ...] = ()
    # What logits of objects and of points are divided by before they become scores; 1 changes nothing.
    temperature: float = 1.0
    keypoint_temperature: float = 1.0

    def __post_init__(self) -> None:
        faults = [*self._choice_faults(), *self._size_faults(), *self._calibration_faults()]
        if faults:
            raise ConfigError(f"The network settings of {self.name!r} do not fit:\n  " + "\n  ".join(faults))

    def _choice_faults(self) -> list[str]:
        choices = {
            "backbone": get_args(BackboneName),
            "encoder": get_args(EncoderName),
            "query_content": ("rank", "token"),
            "size_prior": ("table", "token"),
            "point_steps": ("picture", "box"),
            "score": ("last", "objects"),
            "selection": ("best", "peaks"),
            "prompt_encoder": ("clip", "nano"),
        }
        return [
            f'{key} is "{getattr(self, key)}"; it must be one of {", ".join(allowed)}'
            for key, allowed in choices.items()
            if getattr(self, key) not in allowed
        ]

    def _size_faults(self) -> list[str]:
        faults = [
            f"{key} is {getattr(self, key)}; it must be a whole number of at least 1"
            for key in (
                "dim",
                "heads",
                "coarse_heads",
                "levels",
                "points",
                "ffn",
                "queries",
                "instances",
                "object_layers",
                "keypoint_layers",
                "example_side",
            )
            if not isinstance(getattr(self, key), int) or getattr(self, key) < 1
        ]
        for key, least in (("pose_map", 0), ("pose_map_width", 1)):
            if not isinstance(getattr(self, key), int) or getattr(self, key) < least:
                faults.append(f"{key} is {getattr(self, key)}; it must be a whole number of at least {least}")
        if not 0 < self.prompt_scale < float("inf"):
            faults.append(f"prompt_scale is {self.prompt_scale}; it must be a number above 0")
        if not faults and self.dim % (4 * self.heads):
            faults.append(f"dim is {self.dim}; it must be a multiple of 4 times heads ({self.heads})")
        if not faults and self.fusion_width % self.fusion_heads:
            faults.append(
                f"fusion_width is {self.fusion_width}; it must be a multiple of fusion_heads ({self.fusion_heads})"
            )
        if not faults and self.encoder == "deformable" and self.levels < 4:
            faults.append(
                f"levels is {self.levels}; the deformable encoder has three backbone levels and at least one more"
            )
        if not faults and self.encoder == "hybrid" and self.levels != 3:
            faults.append(f"levels is {self.levels}; the hybrid encoder works on exactly three backbone levels")
        return faults

    def _calibration_faults(self) -> list[str]:
        faults = [
            f"{key} is {getattr(self, key)!r}; it must be a number above 0"
            for key in ("temperature", "keypoint_temperature")
            if not _is_number(getattr(self, key)) or not 0 < getattr(self, key) < float("inf")
        ]
        if not isinstance(self.rivals, tuple) or not all(isinstance(one, str) and one.strip() for one in self.rivals):
            faults.append(f"rivals is {self.rivals!r}; it must be a list of names")
        if not isinstance(self.thresholds, dict):
            return [*faults, f"thresholds is {self.thresholds!r}; it must hold numbers by class name"]
        shares = {f'the threshold of "{name}"': value for name, value in self.thresholds.items()}
        return faults + [
            f"{what} is {value!r}; it must be a number from 0 to 1"
            for what, value in {"keypoint_threshold": self.keypoint_threshold, "nms": self.nms, **shares}.items()
            if not _is_number(value) or not 0 <= value <= 1
        ]

    def to_json(self) -> str:
        """The settings as readable JSON."""
        values = dataclasses.asdict(self)
        if not self.rivals:
            del values["rivals"]  # so that versions that know none can read what needs none
        return json.dumps({"format": "xpose-1", **values}, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "config.json") -> XPoseConfig:
        """Settings from `config.json`; `where` is what messages call the file.

        Raises:
            ConfigError: the text is no JSON object, or names a setting that does not exist.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(
                f"{where} is not valid JSON ({error}). Take the file from the original weights again."
            ) from None
        if not isinstance(values, dict) or values.pop("format", None) != "xpose-1":
            raise ConfigError(
                f'{where} has no "format": "xpose-1". It belongs to another program; see: xpose convert --help'
            )
        return cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> XPoseConfig:
        """Settings from plain values; all unknown names are reported together."""
        known = {f.name for f in dataclasses.fields(cls)}
        strange = [f"unknown setting {key!r}.{did_you_mean(key, known)}" for key in values if key not in known]
        if strange:
            raise ConfigError("The network settings have faults:\n  " + "\n  ".join(strange))
        values = dict(values)
        try:
            if "swin" in values:
                sizes = {k: tuple(v) if isinstance(v, list) else v for k, v in dict(values["swin"]).items()}
                values["swin"] = SwinSettings(**sizes)  # type: ignore[arg-type]
            if isinstance(values.get("rivals"), list):
                values["rivals"] = tuple(values["rivals"])
            return cls(**values)
        except TypeError as error:
            raise ConfigError(
                f"The network settings cannot be read: {error}. Compare with a config.json of this version."
            ) from None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
