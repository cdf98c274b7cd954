"""Recognise brackets of the same scene by the difference hash [1]_ of their reference frames.

The frame is downsampled to 9 x 8 px. Each of the 64 bits is set if a pixel is brighter than its
left neighbour. Exposure, response and camera shake hardly change the hash.

References
----------
.. [1] N. Krawetz, "Kind of Like That", hackerfactor.com, 2013.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from labelgen.core.arrays import Codes

SIZE = 9, 8
"""Width and height (px) of the downsampled frame."""
MIN_DIFFERENCE, MIN_SHARE = 0.005, 0.3
"""A frame has a hash if at least this share of its neighbours differ by more than this share of
full scale. Dark or clipped frames have none: they would look like any other."""
MAX_DISTANCE = 12
"""Bits of 64 in which two frames of the same scene may differ; unrelated ones differ in 32."""
BLOCK = 256
"""Number of hashes that are compared with all others at once."""
BIT_COUNTS = np.array([k.bit_count() for k in range(1 << 16)], np.uint8)
"""Number of set bits of every 16-bit number."""


def scene_hash(codes: Codes) -> str:
    """Return the hash of a frame.

    Parameters
    ----------
    codes : (H, W, 3) uint8 or uint16
        Codes of the frame.

    Returns
    -------
    str
        16 hexadecimal digits; empty if the frame shows too little.
    """
    # Averages over areas, so that details smaller than a pixel of the result do not matter.
    small = cv2.resize(codes, SIZE, interpolation=cv2.INTER_AREA).astype(np.float32).mean(-1)
    differences = (small[:, 1:] - small[:, :-1]) / np.float32(np.iinfo(codes.dtype).max)
    if (np.abs(differences) > MIN_DIFFERENCE).mean() < MIN_SHARE:
        return ""
    return np.packbits(differences > 0).tobytes().hex()


def similar_scenes(hashes: Sequence[str]) -> list[tuple[int, int]]:
    """Find pairs of frames that show the same scene.

    Parameters
    ----------
    hashes : sequence of str
        As `scene_hash` returns them, none empty.

    Returns
    -------
    list of (int, int)
        Indices of the frames. Equal hashes are paired with the first of them only.

    Examples
    --------
    >>> similar_scenes(["00000000000000ff", "ffffffffffff0000", "00000000000000fe"])
    [(2, 0)]
    """
    values = np.array([int(text, 16) for text in hashes], np.uint64)
    distinct, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    pairs = [(int(first[k]), i) for i, k in enumerate(inverse.tolist()) if first[k] != i]
    for start in range(0, len(distinct), BLOCK):
        bits = distinct[start : start + BLOCK, None] ^ distinct
        words = bits.view(np.uint16).reshape(*bits.shape, 4)
        distance = sum(BIT_COUNTS[words[..., k]] for k in range(4))
        near = np.argwhere(distance <= MAX_DISTANCE) + np.array([start, 0])
        pairs += first[near[near[:, 0] < near[:, 1]]].tolist()
    return [(a, b) for a, b in pairs]
