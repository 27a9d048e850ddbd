"""The public detector and what stands around the network: pictures, prompts, thresholds, prompt banks."""

from xpose.inference.bank import PromptBank
from xpose.inference.detector import Detector, Similarity
from xpose.inference.encoded import EncodedImage
from xpose.inference.loading import load
from xpose.inference.options import DetectionOptions

__all__ = ["DetectionOptions", "Detector", "EncodedImage", "PromptBank", "Similarity", "load"]
