"""The training loop, its losses, and what it writes while it runs."""
