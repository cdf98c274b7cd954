"""Read and write image files: formats, headers, pixels, masks, and limits on their size."""
