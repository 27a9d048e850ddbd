"""`Poses` in the formats of other programs: COCO, CSV, OpenPose, YOLO-pose, supervision, and plain JSON.

Users call the methods of `Poses`; the functions here do the same for several pictures in one file. Adding a format: a
module with a function on `Poses`, and a method in `table.py`.
"""
