"""Grey images of frames, in which their geometry is found."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from labelgen.core.arrays import Bytes, Codes, Float
from labelgen.core.bracket import Stack
from labelgen.core.response import GAMMA, clipped_mu_law

FULL_RESOLUTION_PIXELS = 3e5
"""Frames of more pixels are compared at half their resolution where that is accurate enough."""
CONTRAST_LIMIT, CONTRAST_GRID = 2.0, (8, 8)
"""Clip limit and grid of the adaptive histogram equalisation (CLAHE)."""


def to_grey(image: NDArray[Any]) -> NDArray[Any]:
    """Mean (H, W) of the channels of (H, W, 3), same dtype."""
    return np.asarray(cv2.transform(image, np.full((1, 3), 1 / 3, np.float32)))


def grey_at_exposure(codes: Codes, stops: float) -> Bytes:
    """Grey image (H, W) uint8 of codes (H, W, 3), exposed longer by a number of stops.

    Codes have gamma 2.2, so a gain of light is a gain of codes. What becomes too bright clips.
    """
    gain = 2.0 ** (stops / GAMMA) * 255 / np.iinfo(codes.dtype).max
    return to_grey(cv2.convertScaleAbs(codes, alpha=gain))


def equalised_grey(codes: Codes, stops: float) -> Bytes:
    """Grey image as by `grey_at_exposure`, with its local contrast equalised."""
    equalise = cv2.createCLAHE(CONTRAST_LIMIT, CONTRAST_GRID)
    return np.asarray(equalise.apply(grey_at_exposure(codes, stops)), np.uint8)


def mu_law_pair(stack: Stack, i: int) -> tuple[Float, Float]:
    """Grey mu-law images (H, W) float32 of the reference and of frame i.

    Both are clipped where the longer of the two clips.
    """
    longer = stack.longer_ev(i)
    reference, other = (
        to_grey(clipped_mu_law(stack.codes[k], stack.ev[k], longer)) for k in (stack.reference, i)
    )
    return reference, other


def image_gradient(image: Float) -> tuple[Float, Float]:
    """Change per pixel of an image (H, W, ...) float32 in x and in y, same shape (Sobel)."""
    return (
        cv2.Sobel(image, cv2.CV_32F, 1, 0, scale=1 / 8),
        cv2.Sobel(image, cv2.CV_32F, 0, 1, scale=1 / 8),
    )
