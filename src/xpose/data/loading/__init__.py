"""Loading of labelled pictures for training: the pool of all labels, sampling, transforms, batches."""
