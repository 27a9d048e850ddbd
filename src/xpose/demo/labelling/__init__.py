"""The labelling page (`xpose label`): label the pictures of a folder by clicks, starting from proposals.

`page.py` lays out components of Gradio, `picture.js` adds what Gradio lacks, and `server.py` serves both. All other
modules are independent of Gradio:

    objects      the labels of one picture, and what clicks and keys change in them
    label_file   the COCO file with all labels, and other files with labels or results
    proposals    what the network detects or a file states -> objects to accept or correct
    folder       the pictures of a folder with their labels, and when they are saved
    view         the labels of a picture -> SVG
    controller   one method for each action, and the state of one open page

Coordinates are pixels of the upright picture.
"""
