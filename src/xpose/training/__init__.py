"""Training; neither the network nor inference imports this package, so detection never depends on training."""
