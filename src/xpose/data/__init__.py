"""Labelled pictures, from originals to batches.

`datasets` turns originals into records, `collection` keeps prepared sets and makes one of many, `loading` makes batches
of them; `synthetic` draws pictures, `inspection` makes pages to look at. Adding a dataset: docs/data.md.
"""
