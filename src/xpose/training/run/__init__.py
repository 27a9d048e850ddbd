"""One run: its settings, the loop over steps, its state on disk, one process or many."""
