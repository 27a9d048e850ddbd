"""Weights on disk: reading them safely, our own folders, the official layout, and which weights are known."""
