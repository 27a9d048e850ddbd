"""Weights on disk: safe reading, our own folders, the official layout and the list of known weights."""
