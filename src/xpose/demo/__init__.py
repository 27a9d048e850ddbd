"""The web demo: a page that detects keypoints from words, points clicked in example pictures, or both.

`xpose demo` starts it. `page.py` lays out components of Gradio, and `events.py` connects them with methods of the
controller. All other modules are independent of Gradio:

    pictures        an uploaded file -> a checked picture; samples to try
    words           typed words -> prompts, and their skeleton
    examples        clicks on example pictures -> prompts
    example_files   files with the points of examples, written and read
    answers         candidates of one run -> poses above the thresholds, drawings, tables, files
    controller      one method for each action of a visitor, and the state of one open page
    server          serves the page, and limits the browser to this host

Shapes: N poses, K keypoints. Coordinates are pixels of the upright picture.
"""
