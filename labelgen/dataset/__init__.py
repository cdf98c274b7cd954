"""The dataset file (HDF5): its columns and header; writing, reading and verifying it."""
