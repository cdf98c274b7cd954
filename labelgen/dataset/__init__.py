"""The HDF5 file: its columns, and how it is written, read and verified."""
