"""Fine-tuning of given weights on a user's labels: the data, the plan of the run, and what it changed."""
