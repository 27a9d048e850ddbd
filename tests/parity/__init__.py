"""Fixtures computed with the reference network; see README.md."""
