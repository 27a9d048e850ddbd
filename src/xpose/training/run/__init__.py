"""A single run: settings, the loop over steps, the state on disk, one or many processes."""
