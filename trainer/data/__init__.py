"""Turn datasets into batches: reading, mixing, sampling, prefetching."""
