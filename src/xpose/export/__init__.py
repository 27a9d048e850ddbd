"""Exports networks for other runtimes, after a comparison of their results with PyTorch's.

`graphs.py` defines what is exported, `files.py` writes it, and `parity.py` compares the results.
`inference/engines/graphs.py` runs the files.
"""
