"""The web demo: a page to find keypoints by words, by points clicked in example pictures, or by both.

`xpose demo` starts it. `page.py` lays out components of Gradio and connects them with methods of the controller;
everything is decided in modules that know no web page:

    pictures     an uploaded file -> a checked picture
    words        what was typed -> prompts, and the skeleton that belongs to them
    examples     clicks on example pictures -> prompts
    answers      one run of the network -> what the thresholds keep of it, drawings, tables, files
    samples      photographs to try
    controller   one method for each thing that a visitor can do, and what belongs to one open page
    server       serves the page, and keeps the browser on this host

Letters as everywhere: N poses, K keypoints. Coordinates are pixels of the upright picture.
"""
