"""Every test of this folder that takes `make` runs once on numpy arrays and once on torch tensors."""

import numpy as np
import pytest
import torch


@pytest.fixture(params=["numpy", "torch"])
def make(request):
    """A function from nested lists to an array of the kind under test, in double precision."""
    if request.param == "numpy":
        return lambda values: np.asarray(values, dtype=np.float64)
    return lambda values: torch.as_tensor(np.asarray(values, dtype=np.float64))
