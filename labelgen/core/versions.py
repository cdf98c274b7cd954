"""Versions of labelgen and its libraries, which affect the bytes of a dataset."""

from __future__ import annotations

import importlib.metadata
from functools import cache

import cv2
import h5py
import numpy as np
import PIL

import labelgen


def generator() -> str:
    """Return the versions of labelgen and of the libraries that process pixels, as one line."""
    versions = (
        f"numpy {np.__version__}, opencv {cv2.__version__}, pillow {PIL.__version__}, "
        f"hdf5 {h5py.version.hdf5_version}"
    )
    return f"labelgen {labelgen.__version__} ({versions})"


@cache
def installed_version(distribution: str) -> str:
    """Version of an installed package, "" if it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
