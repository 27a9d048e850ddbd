"""What lets one function of this package serve numpy arrays and torch tensors alike: the kind that comes in goes out.

The functions are written with the calls that both libraries spell the same way. Torch is never imported here: who
passes a tensor has imported it already, so that light modules may use geometry at no cost.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

    Array = TypeVar("Array", np.ndarray, torch.Tensor)
else:
    Array = TypeVar("Array")


def namespace(array: Any) -> Any:
    """`torch` for a tensor, `numpy` for an array or one of its numbers.

    Raises:
        TypeError: `array` is neither.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return torch
    if isinstance(array, (np.ndarray, np.generic)):
        return np
    raise TypeError(f"Got {type(array).__name__}; geometry takes numpy arrays and torch tensors. Use numpy.asarray().")


def like(array: Any, values: Any) -> Any:
    """`values` as the kind, device and (if `array` holds fractions) precision of `array`."""
    xp = namespace(array)
    if xp is np:
        dtype = array.dtype if np.issubdtype(array.dtype, np.floating) else np.float64
        return np.asarray(values, dtype=dtype)
    dtype = array.dtype if array.is_floating_point() else xp.get_default_dtype()
    return xp.as_tensor(values, dtype=dtype, device=array.device)


def check_last(array: Any, size: int, name: str, meaning: str) -> None:
    """Refuse an array whose last dimension is not `size`.

    Raises:
        ValueError: it has another size, or no dimension at all.
    """
    namespace(array)
    shape = tuple(array.shape)
    if not shape or shape[-1] != size:
        raise ValueError(f"{name} has shape {shape}; its last dimension must be {size}: {meaning}. Reshape it first.")


def safe_ratio(top: Any, bottom: Any) -> Any:
    """`top / bottom`, and 0 where `bottom` is 0, without a warning and with finite gradients."""
    xp = namespace(bottom)
    empty = bottom == 0
    return xp.where(empty, xp.zeros_like(bottom), top / xp.where(empty, xp.ones_like(bottom), bottom))
