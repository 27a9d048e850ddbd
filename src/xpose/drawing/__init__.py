"""Drawings: pure functions on plain values, independent of models, files and vocabulary."""
