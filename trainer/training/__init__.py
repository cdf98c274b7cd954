"""Train a network: the loop, its losses, validation, log and pictures."""
