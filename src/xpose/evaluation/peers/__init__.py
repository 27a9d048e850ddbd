"""Other systems as sources of answers, so that they are measured by the same code as ours."""

from __future__ import annotations

from xpose.errors import ConfigError, did_you_mean, quote
from xpose.evaluation.sources import AnswerSource

__all__ = ["PEERS", "open_peer"]

PEERS = {"grounding-dino": "GroundingDINO of transformers", "clip": "CLIP of transformers"}


def open_peer(which: str, *, device: str | None = None, batch: int = 1) -> AnswerSource:
    """A peer from `KIND=FOLDER`; FOLDER holds its weights in transformers' form.

    Raises:
        ConfigError: no such kind, or no folder was named.
        CheckpointError: the folder holds no such weights.
    """
    kind, sign, folder = which.partition("=")
    if kind not in PEERS or not sign or not folder:
        raise ConfigError(
            f"--peer is {quote(which)}.{did_you_mean(kind, PEERS)} It must be KIND=FOLDER with one of "
            f"{', '.join(PEERS)}. E.g. --peer grounding-dino=models/grounding-dino-tiny"
        )
    if kind == "clip":
        from xpose.evaluation.peers.clip import ClipSource

        return ClipSource.open(folder, device=device)
    from xpose.evaluation.peers.grounding_dino import GroundingDinoSource

    return GroundingDinoSource.open(folder, device=device)
