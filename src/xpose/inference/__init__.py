"""The public detector with its options, pre- and post-processing and prompt banks.

`engines/` runs the network; all other modules but `loading` work on arrays without PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpose._lazy import lazy_names

if TYPE_CHECKING:
    from xpose.inference.bank import PromptBank as PromptBank
    from xpose.inference.detector import Detector as Detector
    from xpose.inference.detector import Similarity as Similarity
    from xpose.inference.encoded import EncodedImage as EncodedImage
    from xpose.inference.encoded import PreparedImage as PreparedImage
    from xpose.inference.loading import load as load
    from xpose.inference.options import DetectionOptions as DetectionOptions

__getattr__ = lazy_names(
    __name__,
    {
        "DetectionOptions": "xpose.inference.options",
        "Detector": "xpose.inference.detector",
        "EncodedImage": "xpose.inference.encoded",
        "PreparedImage": "xpose.inference.encoded",
        "PromptBank": "xpose.inference.bank",
        "Similarity": "xpose.inference.detector",
        "load": "xpose.inference.loading",
    },
)
