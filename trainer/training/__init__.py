"""Train a network: the loop, its losses, and what it writes while it runs."""
