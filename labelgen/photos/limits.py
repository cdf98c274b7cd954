"""What we accept from strangers: limits on the size of images."""

from __future__ import annotations

from labelgen.core.errors import Rejected

RAW_SUFFIXES = frozenset({".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"})
MAX_PIXELS = 2**28
"""268 megapixels: a frame of 16-bit RGB is 1.6 GB then, and its linear light 3.2 GB."""
MAX_BYTES = 16 * MAX_PIXELS
"""Of a file: 4 GiB, more than RGB of 32-bit floats take."""


def check_size(height: int, width: int) -> None:
    """Refuse an image that is too large to be worked on, before memory is asked for.

    Raises
    ------
    Rejected
        It has no pixels, or more than `MAX_PIXELS`; the message names no file.
    """
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise Rejected(f"claims {width}x{height} px, expected 1 to {MAX_PIXELS:,} pixels")
