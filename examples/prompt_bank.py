"""Encode prompts once, save and reuse them: python examples/prompt_bank.py PHOTO [WEIGHTS]."""

import sys

import xpose

if len(sys.argv) < 2:
    sys.exit(__doc__)
photo, *weights = sys.argv[1:]

detector = xpose.load(*weights)
bank = xpose.PromptBank.make(detector, ["wren", "eagle", xpose.TextPrompt("nest", keypoints=["rim", "bottom"])])
bank.save("birds.safetensors")  # the same as: xpose prompt save birds.safetensors -t wren,eagle

birds = xpose.PromptBank.load("birds.safetensors")
poses = detector.detect(photo, birds.prompts(detector))  # the words are not encoded again
print(f"{len(poses)} found of {', '.join(birds)}")
