"""Going on from given weights with the labels of a user: the data, the plan of the run, what it changed."""
