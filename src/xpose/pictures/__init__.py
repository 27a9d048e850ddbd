"""Picture files: reading, orientation, colour depth, sizes; and how files are written whole or not at all."""
