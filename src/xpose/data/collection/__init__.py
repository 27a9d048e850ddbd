"""Prepared sets on disk, and many of them as one collection: store, manifest, leaks, statistics."""
