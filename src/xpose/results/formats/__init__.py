"""`Poses` in the formats of other programs, one file per format, and `table.py`, which lists them.

To add a format, write a module with a function that encodes results as a file, and add a row to `table.py`.
"""
