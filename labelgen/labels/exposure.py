"""Exposure cue: which pixels of the reference are neither clipped nor lost in noise."""

from __future__ import annotations

import numpy as np

from labelgen.core.arrays import Codes, Mask
from labelgen.core.settings import Exposure


def clipped(level: Codes, settings: Exposure) -> Mask:
    """Pixels (H, W) at which the largest code of all channels, (H, W), is at the clip."""
    top = np.iinfo(level.dtype).max
    return np.asarray(level >= level.dtype.type(np.ceil(settings.clip * top)))


def dark(level: Codes, settings: Exposure) -> Mask:
    """Pixels (H, W) at which the largest code of all channels, (H, W), is too dark."""
    top = np.iinfo(level.dtype).max
    return np.asarray(level <= level.dtype.type(settings.dark * top))
