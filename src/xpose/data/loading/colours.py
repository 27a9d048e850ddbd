"""Colour jitter, grey and blur. Brightness, contrast, saturation, hue and grey are one linear map of the colours."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from xpose.pictures.decoding import opencv

_LUMA = np.array([0.299, 0.587, 0.114])
# Luma and two axes of colour (YIQ): hue is a turn of the latter.
_YIQ = np.array([_LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_BACK = np.linalg.inv(_YIQ)


@dataclass(frozen=True)
class Colours:
    """How much colours vary. Factors are drawn from 1/(1 + x) to 1 + x."""

    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.4
    hue: float = 10.0  # degrees to either side
    share: float = 0.8  # of pictures whose colours change
    grey: float = 0.05  # share of pictures without colour
    blur: float = 0.05  # share of pictures that are blurred
    most_blur: float = 1.5  # pixels (standard deviation)

    def faults(self) -> list[str]:
        """What is wrong with the settings, in words."""
        shares = {name: getattr(self, name) for name in ("share", "grey", "blur")}
        faults = [f"{name} is {x}, not a share from 0 to 1" for name, x in shares.items() if not 0 <= x <= 1]
        names = ("brightness", "contrast", "saturation", "hue", "most_blur")
        amounts = {name: getattr(self, name) for name in names}
        return faults + [f"{name} is {x}, not a number from 0 up" for name, x in amounts.items() if not x >= 0]


NO_COLOURS = Colours(share=0.0, grey=0.0, blur=0.0)


def vary_colours(pixels: np.ndarray, colours: Colours, rng: np.random.Generator) -> np.ndarray:
    """The picture in other colours; always the same number of draws, so that settings do not shift each other."""
    draws = rng.random(9)
    change, grey, blur = draws[0] < colours.share, draws[1] < colours.grey, draws[2] < colours.blur
    if change or grey:
        matrix = colour_matrix(colours, draws[3:7] if change else np.full(4, 0.5), grey)
        pixels = np.asarray(opencv().transform(pixels, matrix))
    if blur and colours.most_blur > 0:
        pixels = np.asarray(opencv().GaussianBlur(pixels, (0, 0), max(0.3, colours.most_blur * draws[7])))
    return pixels


def colour_matrix(colours: Colours, draws: np.ndarray, grey: bool) -> np.ndarray:
    """The map [3, 4] of RGB for four draws from 0 to 1; draws of 0.5 change nothing."""
    limits = (colours.brightness, colours.contrast, colours.saturation)
    bright, contrast, saturation = ((1 + x) ** (2 * d - 1) for x, d in zip(limits, draws[:3], strict=True))
    saturation = 0.0 if grey else saturation
    angle = math.radians(colours.hue * (2 * draws[3] - 1))
    turn = saturation * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    middle = np.eye(3)
    middle[1:, 1:] = turn
    linear = _BACK @ middle @ _YIQ * bright * contrast
    return np.column_stack((linear, np.full(3, 128 * (1 - contrast) * bright)))
