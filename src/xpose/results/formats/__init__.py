"""`Poses` in the formats of other programs, one file per format, and `table.py`, which lists them.

Adding a format: a module here with a function from several results to the content of a file, and a row in `table.py`.
"""
