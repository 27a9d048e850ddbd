"""Picture files: reading, orientation, colour depth, sizes; and how files are written whole or not at all.

This is the only part of the package that opens a picture.
"""

# Endings by which folders are searched, and the decoders of Pillow that may be used. Its others are left alone: some
# of them start other programs.
PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
