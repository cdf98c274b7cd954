"""Masks of what must not get into a dataset: faces, number plates, a clock burnt into the picture.

``mask.png`` beside the frames holds for all brackets of its folder, ``STEM.mask.png`` for the one
whose first file has that stem. What is not black in it is never used, in none of the frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from labelgen.arrays import Array, Mask
from labelgen.decode import decode_photo
from labelgen.errors import Rejected

MASK = "mask.png"
AROUND = 16
"""px around what is masked that are not labelled either: alignment and motion mix pixels."""


def is_mask(name: str) -> bool:
    """Whether a file is a mask by its name."""
    return name.lower() == MASK or name.lower().endswith(f".{MASK}")


def mask_of(files: Sequence[Path]) -> Path | None:
    """The mask of a bracket with these files, in natural order, if there is one."""
    if not files:
        return None
    folder, stem = files[0].parent, files[0].stem
    names = (f"{stem}.{MASK}", MASK)
    return next((folder / name for name in names if (folder / name).is_file()), None)


def read_mask(path: Path, size: tuple[int, int]) -> Mask:
    """The pixels that must not be used, (H, W) bool.

    Parameters
    ----------
    path : Path
        An image: what is not black, and not transparent, is masked.
    size : (int, int)
        Height and width of the frames, as they are shown.

    Raises
    ------
    Rejected
        It can't be read, or has another size: rather no bracket than what was to be left out.
    """
    codes = decode_photo(path).codes
    masked = codes > 0 if codes.ndim == 2 else (codes > 0).any(-1)
    if masked.shape != size:
        (h, w), (height, width) = masked.shape, size
        raise Rejected(f"{path.name}: {w}x{h} px, the frames {width}x{height}; a mask covers them")
    return masked


def painted(image: Array, masked: Mask) -> Array:
    """Codes or radiance (H, W, 3) with what is masked in black: no step can take it from there."""
    return np.where(masked[..., None], image.dtype.type(0), image)


def around(masked: Mask, px: int = AROUND) -> Mask:
    """What is masked, and so many pixels around it."""
    kernel = np.ones((2 * px + 1, 2 * px + 1), np.uint8)
    return cv2.dilate(masked.astype(np.uint8), kernel) > 0
