"""What decides the bytes of a dataset besides brackets and recipe: versions."""

from __future__ import annotations

import importlib.metadata
from functools import cache

import cv2
import h5py
import numpy as np
import PIL

import labelgen


def generator() -> str:
    """Labelgen and the libraries that touch pixels, with their versions."""
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
