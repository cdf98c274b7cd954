"""Exposure cue: which pixels of the reference are clipped, and which are too dark to be a label."""

from __future__ import annotations

import numpy as np

from labelgen.core.arrays import Codes, Mask
from labelgen.core.settings import Exposure


def clipped(max_code: Codes, settings: Exposure) -> Mask:
    """Mask (H, W) of the clipped pixels, by the largest code (H, W) of the three channels.

    >>> clipped(np.array([[120, 251, 255]], np.uint8), Exposure(clip=0.98)).tolist()
    [[False, True, True]]
    """
    top = np.iinfo(max_code.dtype).max
    return np.asarray(max_code >= max_code.dtype.type(np.ceil(settings.clip * top)))


def dark(max_code: Codes, settings: Exposure) -> Mask:
    """Mask (H, W) of the pixels that are too dark, by the largest code (H, W) of the channels."""
    top = np.iinfo(max_code.dtype).max
    return np.asarray(max_code <= max_code.dtype.type(settings.dark * top))
