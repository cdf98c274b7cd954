"""Flat places that two aligned frames have in common: what a camera made of the same light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from labelgen.core.arrays import Array, Codes, Float, Mask, power
from labelgen.core.response import GAMMA, decode

WINDOW, STRIDE = 5, 3
"""A place is a square window of pixels: its side, and the distance between places, in px."""
PLACES_AT = np.s_[WINDOW // 2 :: STRIDE, WINDOW // 2 :: STRIDE]
"""Rows and columns of the middle of all places."""
MAX_RANGE = 0.08
"""Only flat places, whose codes (0..1) have a smaller range, are used: misalignment and blur hardly
change their means."""
MIN_CODE, MAX_CODE = 0.008, 0.9965
"""A place is lit if some channel of the longer frame has at least the first code (0..1), and not
clipped if all are below the second."""
TOP_CODE = 65535
"""Code of full scale. All frames are converted to 16 bits."""
PLACES = 600
"""Places that are stored for two frames."""
LEVELS = 16
"""Levels of the largest code of the longer frame. Places are stored in equal numbers from each."""


@dataclass(frozen=True)
class FlatPlaces:
    """Codes of two frames at h x w places."""

    short: Float
    """(h, w, 3) mean codes, 0..1, of the shorter frame."""
    long: Float
    """(h, w, 3) mean codes, 0..1, of the longer frame."""
    usable: Mask
    """(h, w, 3) whether a channel is flat in both frames, and not clipped in the longer one."""
    flat: Mask
    """(h, w) whether all channels are, and some is lit in the longer one."""


def flat_places(short: Codes, long: Codes, max_range: float = MAX_RANGE) -> FlatPlaces:
    """Find the flat places of two aligned frames (H, W, 3) uint16."""
    window = np.ones((WINDOW, WINDOW), np.uint8)
    lowest = [cv2.erode(x, window)[PLACES_AT] for x in (short, long)]
    highest = [cv2.dilate(x, window)[PLACES_AT] for x in (short, long)]
    unclipped = highest[1] < MAX_CODE * TOP_CODE
    flat = np.logical_and(
        *(b - a < max_range * TOP_CODE for a, b in zip(lowest, highest, strict=True))
    )
    # Light is averaged, not codes, because the mean of noisy codes is too dark.
    means = (cv2.blur(decode(x), (WINDOW, WINDOW))[PLACES_AT] for x in (short, long))
    short_codes, long_codes = (power(np.maximum(light, 0), 1 / GAMMA) for light in means)
    whole = flat.all(-1) & unclipped.all(-1) & (highest[1].max(-1) >= MIN_CODE * TOP_CODE)
    return FlatPlaces(short_codes, long_codes, flat & unclipped, whole)


def sample_places(places: FlatPlaces) -> Array:
    """Choose up to `PLACES` places that are flat in all channels, from all levels alike.

    Returns
    -------
    (N, 6) float64
        Mean codes (0..1) of R, G, B of the shorter frame and of the longer one.
    """
    rows = np.concatenate([places.short[places.flat], places.long[places.flat]], -1)
    rows = np.random.default_rng(0).permutation(rows)
    level = (rows[:, 3:].max(-1, initial=0) * LEVELS).astype(int)
    order = np.argsort(level, kind="stable")
    first = np.searchsorted(level[order], level[order])
    rank = np.empty(len(rows), int)
    rank[order] = np.arange(len(rows)) - first
    return np.asarray(rows[np.argsort(rank, kind="stable")[:PLACES]], np.float64)
