"""Write a table for the frames of a video in a folder: python examples/video_frames.py FOLDER [WEIGHTS].

Save the frames first, e.g. with: ffmpeg -i clip.mp4 frames/%06d.png
"""

import csv
import sys
from pathlib import Path

import xpose

if len(sys.argv) < 2:
    sys.exit(__doc__)
folder, *weights = sys.argv[1:]
frames = sorted(Path(folder).iterdir(), key=lambda frame: (len(frame.name), frame.name))  # 2 before 10

detector = xpose.load(*weights)
with open("mouse.csv", "w", newline="", encoding="utf-8") as file:
    table = csv.writer(file)
    table.writerow(["frame", "keypoint", "x", "y", "confidence"])
    # An iterator of pictures gives an iterator of results: only one frame is in memory.
    results = detector.detect(iter(frames), xpose.TextPrompt("mouse", keypoints=["nose", "tail base"]), max_instances=1)
    for frame, poses in zip(frames, results, strict=True):
        for pose in poses:
            for name, (x, y, confidence, _) in pose.points.items():
                table.writerow([frame.name, name, f"{x:.1f}", f"{y:.1f}", f"{confidence:.2f}"])
print(f"Wrote mouse.csv, {len(frames)} frames")
