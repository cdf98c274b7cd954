"""EXIF orientation: how a stored image is turned and mirrored for display."""

from __future__ import annotations

import numpy as np

from labelgen.core.arrays import Array, Codes

TRANSPOSED = (5, 6, 7, 8)
"""Orientations that swap height and width."""


def apply_orientation(codes: Codes, orientation: int) -> Codes:
    """Turn a stored image as it is to be displayed.

    Parameters
    ----------
    codes : (H, W) or (H, W, 3) uint8 or uint16
        As stored in the file.
    orientation : int
        EXIF orientation, 1 to 8.

    Returns
    -------
    array of the same dtype
        (W, H, ...) for the orientations in `TRANSPOSED`; contiguous.
    """
    turned: Array = codes
    if orientation in TRANSPOSED:
        turned = turned.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    return np.ascontiguousarray(turned)
