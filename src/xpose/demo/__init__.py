"""The web demo: a page where one names keypoints in words, or shows them by clicking, and sees them found.

`xpose demo` starts it. Everything is decided in small modules that know no web page; `page.py` only lays out,
`wiring.py` only connects, and `server.py` only serves:

    uploads     bytes of a file -> a checked picture in memory
    asking      what was typed -> prompts
    sketch      clicks on example pictures -> prompts
    answers     one run of the network -> what the sliders leave of it, downloads; batch does many
    views       all of it as HTML, with every name escaped
    sessions    what belongs to one open page, and when it is forgotten
    desk        one method for each thing that a visitor can do; intake is its half for uploads

Letters as everywhere: N poses, K keypoints. Coordinates are pixels of the upright picture.
"""
