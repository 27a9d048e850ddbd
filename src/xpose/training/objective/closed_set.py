"""What the ablations compare object alignment with: a classifier that knows the training classes by number only.

Shape letters as in `xpose.model.types`; T = queries or tokens.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from xpose.errors import TrainingError
from xpose.model import XPose
from xpose.model.layers import Linear


class ClosedSetClassifier(nn.Module):
    """Class scores by a linear map, in the place of the similarity with object prompts.

    Its prompt is always the list of all training classes, in the same order: column l of the scores is class l. Classes
    that an image's dataset does not label are masked in its prompt.
    """

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.output = Linear(dim, classes)
        nn.init.constant_(self.output.bias, -math.log(99))  # a score of 0.01: at first nearly all is background

    def forward(self, features: Tensor, prompts: Tensor, mask: Tensor | None) -> Tensor:
        """Logits [B, T, L] of features [B, T, C]; of the prompts [B, L, C] only the number counts.

        Raises:
            TrainingError: the prompt is not the list of the training classes.
        """
        classes = self.output.out_features
        if prompts.shape[1] != classes:
            raise TrainingError(
                f"The prompt has {prompts.shape[1]} classes, this closed-set network was trained on {classes}. "
                "It knows classes by number only: give all of them, in the order of training, and mask those not "
                "wanted."
            )
        logits = self.output(features)
        return logits if mask is None else logits.masked_fill(~mask[:, None], float("-inf"))


def close(model: XPose, classes: int) -> XPose:
    """Replace both object similarities of a network (of the query selection and of the decoder) by classifiers."""
    like = model.heads.norm.weight
    for part in (model.selection, model.heads):
        classifier = ClosedSetClassifier(model.config.dim, classes).to(like.device, like.dtype)
        part.add_module("similarity", classifier)
    return model


def is_closed(state: dict[str, Tensor] | XPose) -> bool:
    """Whether a network, or a state dict, is a closed-set one."""
    names = state.state_dict() if isinstance(state, nn.Module) else state
    return any(name.endswith("heads.similarity.output.weight") for name in names)
