"""Words and an example picture for one class: python examples/words_and_example.py PHOTO EXAMPLE POINTS.json [WEIGHTS].

The names in POINTS.json are also used as words, so they must be meaningful: {"tip": [103, 40], ...}.
"""

import json
import sys
from pathlib import Path

import xpose

if len(sys.argv) < 4:
    sys.exit(__doc__)
photo, example, points, *weights = sys.argv[1:]

keypoints = json.loads(Path(points).read_text("utf-8"))
words = xpose.TextPrompt("leaf", keypoints=list(keypoints))
shown = xpose.VisualPrompt(example, keypoints=keypoints)  # `+` joins up to five

detector = xpose.load(*weights)
poses = detector.detect(photo, words + shown, max_instances=10)
print(f"{len(poses)} leaves by words and example")
poses.draw().save("words_and_example.png")
