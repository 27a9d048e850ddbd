"""The public detector and what stands around the network: pictures, prompts, thresholds, prompt banks."""

from xpose.inference.bank import PromptBank
from xpose.inference.detector import Detector, Similarity
from xpose.inference.encoded import EncodedImage
from xpose.inference.loading import load

__all__ = ["Detector", "EncodedImage", "PromptBank", "Similarity", "load"]
