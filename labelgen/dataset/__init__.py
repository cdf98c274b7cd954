"""The HDF5 file: its format, how it is written, read and verified."""
