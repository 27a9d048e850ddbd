"""Several classes in one pass, each with its own keypoints: python examples/several_classes.py PHOTO [WEIGHTS]."""

import sys

import xpose
from xpose import TextPrompt

if len(sys.argv) < 2:
    sys.exit(__doc__)
photo, *weights = sys.argv[1:]

detector = xpose.load(*weights)
classes = [
    TextPrompt("person"),  # 17 points
    TextPrompt("face", skeleton="68_face_points"),
    TextPrompt("bicycle", keypoints=["saddle", "handlebar", "front hub", "rear hub"]),
]
poses = detector.detect(photo, classes, threshold={"face": 0.3, "": 0.1})  # "" applies to all others
for name, count in poses.count().items():
    print(f"{name}: {count}")
faces = poses["face"]
print(f"shape of the faces' points: {faces.xy.shape}")

# To use many prompts on one picture, encode it once.
encoded = detector.encode_image(photo)
for words in ("dog", "cat", "horse"):
    print(f"{words}: {len(detector.detect(encoded, words))}")
