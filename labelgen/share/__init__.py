"""Copy, merge, split, describe, fetch and export datasets, so that they can be shared."""
