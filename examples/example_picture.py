"""Find objects like one in a picture: python examples/example_picture.py PHOTO EXAMPLE POINTS.json [WEIGHTS].

POINTS.json gives the example's points in pixels: {"tip": [103, 40], "stalk": [55, 210]}.
"""

import json
import sys
from pathlib import Path

import xpose

if len(sys.argv) < 4:
    sys.exit(__doc__)
photo, example, points, *weights = sys.argv[1:]

detector = xpose.load(*weights)
prompt = xpose.VisualPrompt(example, keypoints=json.loads(Path(points).read_text("utf-8")), name="leaf")
poses = detector.detect(photo, prompt)
print(f"{len(poses)} like the example, with {', '.join(prompt.points)}")
poses.draw().save("like_the_example.png")
