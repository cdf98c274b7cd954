"""Where each frame shows what the reference frame shows."""
