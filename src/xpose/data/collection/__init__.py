"""Prepared sets on disk and the collections that merge them: store, manifest, leaks, statistics."""
