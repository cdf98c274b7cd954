"""Motion cue: the pixels at which an aligned frame does not show what the reference shows.

SS-HDR (arXiv 2203.12311) thresholds the difference of exposure-normalised frames outside of clipped
pixels. SelfHDR (arXiv 2310.01840) does so in the mu-law domain. Here the threshold is higher where
noise, quantisation or a small misalignment explains the difference, by the model of the camera
(`labelgen.labels.difference`) or as measured in the bracket (`labelgen.labels.measured_noise`).
"""

from __future__ import annotations

import cv2
import numpy as np

from labelgen.core.arrays import Bytes, Float, Mask
from labelgen.core.recipe import Recipe
from labelgen.core.tiles import strips
from labelgen.labels.difference import GRADIENT_RADIUS, FramePair, gaussian_radius
from labelgen.labels.measured_noise import COARSE, COARSE_RADIUS, noise_index, scaled_noise

COARSE_THRESHOLD = 0.03
"""Constant allowance (mu-law) for the coarse difference. Noise averages out in it, so that it shows
weak motion over larger areas."""


def receptive_field(recipe: Recipe) -> int:
    """Distance (px) of the farthest pixel that the motion of a pixel depends on."""
    settings = recipe.motion
    difference = gaussian_radius(settings.smooth) + GRADIENT_RADIUS
    if settings.measured:
        difference = max(difference, COARSE_RADIUS)
    # Each consists of an erosion and a dilation, with a radius of (width - 1) / 2.
    opening, closing = settings.speck - 1, settings.close - 1
    return difference + opening + closing + settings.grow // 2


def moving(pair: FramePair, measured: Float | None = None) -> Mask:
    """Mask of the pixels at which an aligned frame does not show what the reference shows.

    Parameters
    ----------
    pair : FramePair
        Reference and other frame.
    measured : (2, 3, LEVELS, GRADIENTS) float32, optional
        Noise of their difference as measured in the bracket
        (`labelgen.labels.measured_noise.MeasuredNoise`).

    Returns
    -------
    (H, W) bool
        True for a moving pixel, and for a pixel that the other frame does not cover.
    """
    settings, other = pair.recipe.motion, pair.other

    def differ(rows: slice) -> Mask:
        mask = np.zeros(other.valid[rows].shape, bool)
        for channel, difference in enumerate(pair.channels(rows)):
            allowed = difference.noise + np.float32(settings.threshold)
            if settings.gradient:
                allowed += difference.gradient * np.float32(settings.gradient)
            if measured is not None:
                scale = scaled_noise(difference) * np.float32(settings.measured)
                index = noise_index(difference)
                fine, coarse = (table[channel].ravel().take(index) * scale for table in measured)
                np.maximum(allowed, fine + np.float32(settings.threshold), out=allowed)
                coarse += np.float32(COARSE_THRESHOLD)
                mask |= np.abs(cv2.GaussianBlur(difference.pixels, *COARSE)) > coarse
            smooth = difference.smooth
            mask |= np.abs(smooth, out=smooth) > allowed
        return mask

    # One channel of a strip at a time: all arrays of it stay in the cache.
    mask: Bytes = np.empty(other.valid.shape, np.uint8)
    for strip, padded in strips(
        len(mask), max(pair.radius, COARSE_RADIUS if settings.measured else 0)
    ):
        mask[strip] = differ(padded)[strip.start - padded.start : strip.stop - padded.start]
    if settings.speck > 1:
        mask = _open_mask(mask, settings.speck)
    if settings.close > 1:
        mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, _disc(settings.close)), np.uint8)
    if settings.grow > 1:
        mask = np.asarray(cv2.dilate(mask, _disc(settings.grow)), np.uint8)
    return mask.view(bool) | ~other.valid


def _open_mask(mask: Bytes, width: int) -> Bytes:
    """Open a mask by a square: remove regions that are narrower than `width` px.

    Erosion and dilation use mirrored anchors. OpenCV's own opening does not, and so shifts the mask
    if the width is even.
    """
    square = np.ones((width, width), np.uint8)
    anchor, mirrored = width // 2, width - 1 - width // 2
    eroded = cv2.erode(mask, square, anchor=(anchor, anchor))
    return np.asarray(cv2.dilate(eroded, square, anchor=(mirrored, mirrored)), np.uint8)


def _disc(width: int) -> Bytes:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
