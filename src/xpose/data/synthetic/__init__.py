"""Pictures drawn with known keypoints: scenes of toys, and shapes that exist nowhere."""

from __future__ import annotations

from xpose.data.synthetic.scenes import Scene, generate, write_synthetic

__all__ = ["Scene", "generate", "write_synthetic"]
