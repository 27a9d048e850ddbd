"""CLIP's encoders in training, beside a network that reads prompts through them.

The encoder of example pictures adds two small parts (for the places of points, and for hidden points), which are always
trained. The towers are frozen unless `schedule.towers` gives them a rate. What learns is a copy; the given encoders
become its moving average, so that they belong to the averaged network, which is tested and saved.
"""

from __future__ import annotations

import copy

from torch import Tensor, nn

from xpose.model.prompting import ClipTextEncoder, ClipVisualPromptEncoder, TextEncoder
from xpose.training.run.schedule import MovingAverage


class Towers:
    """The encoders of a run."""

    def __init__(self, text: TextEncoder, visual: ClipVisualPromptEncoder | None, *, whole: bool) -> None:
        """Copy what learns; `whole` says whether the towers learn too, not only what was added to them."""
        self.given_text = text
        self.whole = whole and isinstance(text, ClipTextEncoder)
        self.text: TextEncoder = copy.deepcopy(text) if self.whole else text
        self.visual = None if visual is None else _copied(visual, whole)
        self.learning = _parts(self.text, self.visual, whole).requires_grad_(True)
        self.given = _parts(text, visual, whole).requires_grad_(False)

    def average(self, decay: float) -> MovingAverage:
        """The moving average of what learns, kept in the encoders that were given."""
        average = MovingAverage(self.learning, decay)
        average.module = self.given.eval()
        return average

    def changed(self) -> None:
        """Forget what the given encoder of words remembers, after a change of its weights."""
        if self.whole and isinstance(self.given_text, ClipTextEncoder):
            self.given_text.cache.clear()


def tensors_to_keep(text: TextEncoder, visual: ClipVisualPromptEncoder | None, *, whole: bool) -> dict[str, Tensor]:
    """What has to be saved beside the network, under the official names: all that training may have changed."""
    tensors = {} if visual is None else visual.state_dict_official()
    if not whole:
        return {name: value for name, value in tensors.items() if not name.startswith("clip_model.")}
    return tensors | (text.state_dict_official() if isinstance(text, ClipTextEncoder) else {})


def _copied(visual: ClipVisualPromptEncoder, whole: bool) -> ClipVisualPromptEncoder:
    if whole:
        return copy.deepcopy(visual)
    small = ClipVisualPromptEncoder(visual.tower)  # the tower stays one and the same
    small.pos_proj, small.padding = copy.deepcopy(visual.pos_proj), copy.deepcopy(visual.padding)
    return small


def _parts(text: TextEncoder, visual: ClipVisualPromptEncoder | None, whole: bool) -> nn.ModuleDict:
    parts: dict[str, nn.Module] = {}
    if visual is not None:
        parts |= {"pos_proj": visual.pos_proj, "padding": visual.padding}
        parts |= {"visual": visual.tower} if whole else {}
    if whole and isinstance(text, ClipTextEncoder):
        parts["text"] = text.tower
    return nn.ModuleDict(parts)
