"""Labelled pictures: originals become records (`datasets`), prepared sets one collection (`collection`), and both batches
(`loading`); `synthetic` draws pictures, `inspection` makes pages to look at them. Adding a dataset: docs/data.md.
"""
