"""Find objects by words: python examples/words.py PHOTO [WEIGHTS]."""

import sys

import xpose

if len(sys.argv) < 2:
    sys.exit(__doc__)
photo, *weights = sys.argv[1:]

detector = xpose.load(*weights)
poses = detector.detect(photo, "dog")  # keypoints are from the vocabulary; see `xpose skeletons`
print(f"{len(poses)} dogs")
for pose in poses:
    print(f"{pose.category}, score {pose.score:.2f}")
    for name, (x, y, confidence, visibility) in pose.points.items():
        if visibility:
            print(f"  {name}: {x:.1f}, {y:.1f} ({confidence:.2f})")

# Any words and any points can be used; there is no fixed list.
leaf = xpose.TextPrompt("leaf", keypoints=["tip", "stalk", "middle of the blade"])
detector.detect(photo, leaf, threshold=0.05).draw().save("leaves.png")
