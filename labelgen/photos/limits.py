"""Limits on the size of images, checked before memory is allocated for them."""

from __future__ import annotations

from labelgen.core.errors import Rejected

MAX_PIXELS = 2**28
"""268 megapixels: a frame of 16-bit RGB then takes 1.6 GB, and its linear light 3.2 GB."""
MAX_BYTES = 16 * MAX_PIXELS
"""Size of a file: 4 GiB, more than `MAX_PIXELS` of 32-bit floating-point RGB take."""


def check_size(height: int, width: int) -> None:
    """Refuse an image that is too large to be processed.

    Raises
    ------
    Rejected
        It has no pixels, or more than `MAX_PIXELS`; the message names no file.
    """
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise Rejected(f"claims {width}x{height} px, expected 1 to {MAX_PIXELS:,} pixels")
