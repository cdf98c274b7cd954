"""Read and write single image files, with limits on what strangers hand us."""
