"""Exposure cue: which pixels of the reference are neither clipped nor lost in noise."""

from __future__ import annotations

import numpy as np

from labelgen.arrays import Codes, Mask, highest
from labelgen.recipe import Exposure


def clipped(codes: Codes, settings: Exposure) -> Mask:
    """Pixels (H, W) at which any channel of (H, W, 3) codes is at the clip."""
    top = np.iinfo(codes.dtype).max
    return highest(codes) >= codes.dtype.type(np.ceil(settings.clip * top))


def dark(codes: Codes, settings: Exposure) -> Mask:
    """Pixels (H, W) at which no channel of (H, W, 3) codes rises above the dark limit."""
    top = np.iinfo(codes.dtype).max
    return highest(codes) <= codes.dtype.type(settings.dark * top)
