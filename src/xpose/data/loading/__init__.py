"""Labelled pictures on their way into training: the table of all labels, sampling, transforms, batches."""
