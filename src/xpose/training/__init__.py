"""Training; nothing here is imported by the network or by inference, so what detects never depends on what trains."""
