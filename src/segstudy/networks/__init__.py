"""Networks by name, their weights, their checkpoints."""
