"""Datasets to batches: reading, mixing, sampling, prefetching."""
